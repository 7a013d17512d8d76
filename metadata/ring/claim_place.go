package ring

// fill gives empty places to nodes that want more.
func (b *board) fill() {
	for _, p := range b.order {
		for s := range b.k {
			if b.place[p*b.k+s] != none {
				continue
			}
			best := none
			for i := range b.nodes {
				n := &b.nodes[i]
				if n.count < n.want && b.room(p, n.zone) && !b.has(p, i) && (best == none || b.better(i, best, p, s)) {
					best = i
				}
			}
			if best != none {
				b.put(p, s, best)
			}
		}
	}
}

// better reports whether slot s of p should go to node i rather than to j: for
// slot 0 who lacks owned partitions; then who lacks the larger part of its places,
// in 32nds, so that all fill up together; then who meets those in the list less often elsewhere.
func (b *board) better(i, j, p, s int) bool {
	x, y := &b.nodes[i], &b.nodes[j]
	if s == 0 {
		if lacks := b.lacksOwned(i); lacks != b.lacksOwned(j) {
			return lacks
		}
	}
	lx, ly := x.want-x.count, y.want-y.count
	if px, py := 32*lx/x.want, 32*ly/y.want; px != py {
		return px > py
	}
	if mx, my := b.meetings(p, i)*y.want, b.meetings(p, j)*x.want; mx != my {
		return mx < my
	}
	if lx*y.want != ly*x.want {
		return lx*y.want > ly*x.want
	}
	return scatter(x.seed, p) > scatter(y.seed, p)
}

// lacksOwned reports whether node i owns less than its share, rounded down.
func (b *board) lacksOwned(i int) bool { return b.nodes[i].owned < b.nodes[i].want/b.k }

// meetings is how often node i is in a list with one that is in p's.
func (b *board) meetings(p, i int) int {
	sum := 0
	for _, j := range b.row(p) {
		if j != none {
			sum += int(b.together[i*len(b.nodes)+int(j)])
		}
	}
	return sum
}

// scatter is a number that looks random and depends on seed and p only.
func scatter(seed uint64, p int) uint64 {
	x := seed + uint64(p+1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// handOver gives places of nodes that have too many directly to those that have
// too few. A node takes first where it meets the others least often, so that it shares its
// partitions evenly with all of them; and it makes an owner give way only if that
// one owns too much, or if nothing else is left.
func (b *board) handOver() {
	surplus := 0
	for _, n := range b.nodes {
		surplus += max(0, n.count-n.want)
	}
	for i := range b.nodes {
		lack := b.nodes[i].want - b.nodes[i].count
		if lack <= 0 || surplus == 0 {
			continue
		}
		// The first limit is an eighth of the meetings with each other node that places at random would bring.
		for limit := 1 + b.nodes[i].want*b.k/(8*len(b.nodes)); limit < b.q; limit += 1 + limit/4 {
			b.takeOver(i, limit, false)
		}
		b.takeOver(i, b.q, true)
		surplus -= lack - (b.nodes[i].want - b.nodes[i].count)
	}
}

// takeOver hands node i places, until it has enough, in lists whose other nodes
// it meets limit times at most. An owner gives way without need only by force.
func (b *board) takeOver(i, limit int, force bool) {
	n := &b.nodes[i]
	if n.count >= n.want {
		return
	}
	start := int(n.seed % uint64(b.q))
	for _, p := range b.order {
		p = (p + start) % b.q
		if b.has(p, i) || b.room(p, n.zone) {
			continue // room here means that nothing would be freed: augment fills it
		}
		if s := b.giver(p, i, force); s != none && b.meetsMost(p, i, s) <= limit {
			b.take(p, s)
			b.put(p, s, i)
			if n.count == n.want {
				return
			}
		}
	}
}

// meetsMost is how often node i meets the one that it meets most often among
// those in p's list, slot s aside.
func (b *board) meetsMost(p, i, s int) int {
	most := 0
	for t, j := range b.row(p) {
		if t != s && j != none {
			most = max(most, int(b.together[i*len(b.nodes)+int(j)]))
		}
	}
	return most
}

// giver is the slot of p whose node should make way for node i, or none. A slot 0
// is given if its owner owns too much and i too little, else only by force and
// if there is no other.
func (b *board) giver(p, i int, force bool) int {
	best, surplus := none, 0
	for s, j := range b.row(p) {
		if j == none {
			continue
		}
		from := &b.nodes[j]
		if from.count <= from.want || !b.yields(p, b.nodes[i].zone, from.zone) {
			continue
		}
		switch {
		case s == 0 && from.owned*b.k > from.want && b.lacksOwned(i):
			return 0
		case s == 0 && force:
			best = 0
		case s > 0 && from.count-from.want >= surplus:
			best, surplus = s, from.count-from.want
		}
	}
	return best
}

// augment serves those that still want more by chains that cost limit at most: a
// node takes a place from another, which takes one from a third, until one has too many or
// a list has room. Cost is the number of moves, of places whose node had none in that
// list. It is called twice. What keep left costs nothing, so that no chain can cost less: the
// first call, with limit 0, adds all that cost nothing, as where zones have changed
// and keep has chosen badly. Then the direct steps of fill and handOver cost one each, and nothing
// costs less at that time. So the state is a cheapest one throughout, as chains asks for, and the
// whole moves no more than it must for what each node is to hold.
func (b *board) augment(c *chains, limit int) {
	var v *vacancies // made when it is needed: counting all exchanges takes as long as a few searches
	for budget := 0; budget <= limit; budget++ {
		lacking := false
		for i := range b.nodes {
			n := &b.nodes[i]
			for n.count < n.want {
				if v == nil {
					v = newVacancies(b)
				}
				end := c.find(v, []int{i}, budget)
				if end == none {
					lacking = true
					break
				}
				v.pull(c.links, end)
			}
		}
		if !lacking {
			return
		}
	}
}
