package ring

import (
	"cmp"
	"slices"
)

// share sets every node's exact share of the q*k places: in proportion to
// weight, at most q for a node, and within q*least and q*most for a zone. What a
// bound takes from one is shared out among the others by weight.
func (b *board) share() {
	total := int64(b.q * b.k)
	free := make([]int, len(b.zones))
	for z := range free {
		free[z] = z
	}
	for len(free) > 0 {
		var nodes []int
		for _, z := range free {
			nodes = append(nodes, b.zones[z].nodes...)
		}
		b.proportion(nodes, total)
		bound := b.tightZones(free)
		if len(bound) == 0 {
			return
		}
		for z, places := range bound {
			b.proportion(b.zones[z].nodes, places)
			total -= places
		}
		free = slices.DeleteFunc(free, func(z int) bool { return bound[z] > 0 })
	}
}

// tightZones are those of the free zones whose share is surely at a bound, with
// that bound in places. When what lies above the upper bounds outweighs what lies
// below the lower ones, the others' shares can only grow: the upper bounds are final; else the lower.
func (b *board) tightZones(free []int) map[int]int64 {
	upper, lower := make(map[int]int64), make(map[int]int64)
	var over, under int64
	for _, z := range free {
		zone := &b.zones[z]
		var num int64
		for _, i := range zone.nodes {
			num += b.nodes[i].num
		}
		den := b.nodes[zone.nodes[0]].den
		most, least := int64(b.q*zone.most), int64(b.q*zone.least)
		if num > most*den {
			over += num - most*den
			upper[z] = most
		} else if num < least*den {
			under += least*den - num
			lower[z] = least
		}
	}
	if over >= under {
		return upper
	}
	return lower
}

// proportion shares places out among nodes by weight, at most q to each.
func (b *board) proportion(nodes []int, places int64) {
	nodes = slices.Clone(nodes)
	slices.SortStableFunc(nodes, func(i, j int) int { return cmp.Compare(b.nodes[j].weight, b.nodes[i].weight) })
	var weight int64
	for _, i := range nodes {
		weight += b.nodes[i].weight
	}
	capped := 0 // the heaviest reach q first
	for _, i := range nodes {
		if places*b.nodes[i].weight < int64(b.q)*weight {
			break
		}
		places -= int64(b.q)
		weight -= b.nodes[i].weight
		capped++
	}
	den := max(weight, 1)
	for at, i := range nodes {
		n := &b.nodes[i]
		n.den, n.num = den, places*n.weight
		if at < capped {
			n.num = int64(b.q) * den
		}
	}
}

// round makes whole numbers of the shares, the next below or above, first for
// zones and then for the nodes within. Who has as much as the upper one already
// gets it: that saves a move.
func (b *board) round() {
	zones := make([]portion, len(b.zones))
	for z, zone := range b.zones {
		for _, i := range zone.nodes {
			zones[z].num += b.nodes[i].num
			zones[z].have += b.nodes[i].count
		}
		zones[z].den = b.nodes[zone.nodes[0]].den
	}
	for z, places := range apportion(zones, b.q*b.k) {
		nodes := make([]portion, 0, len(b.zones[z].nodes))
		for _, i := range b.zones[z].nodes {
			n := &b.nodes[i]
			nodes = append(nodes, portion{num: n.num, den: n.den, have: n.count})
		}
		for at, want := range apportion(nodes, places) {
			b.nodes[b.zones[z].nodes[at]].want = want
		}
	}
}

// portion is a fraction to be rounded, and what its holder has now.
type portion struct {
	num, den int64
	have     int
}

// full reports whether p's holder has what rounding up would give it.
func (p portion) full() bool { return int64(p.have)*p.den >= p.num }

// apportion rounds each of parts down or up so that they add up to total, which
// lies between the sums of both.
func apportion(parts []portion, total int) []int {
	whole := make([]int, len(parts))
	var broken []int
	for i, p := range parts {
		whole[i] = int(p.num / p.den)
		total -= whole[i]
		if p.num%p.den > 0 {
			broken = append(broken, i)
		}
	}
	slices.SortStableFunc(broken, func(i, j int) int {
		x, y := parts[i], parts[j]
		if x.full() != y.full() {
			if x.full() {
				return -1
			}
			return 1
		}
		return cmp.Compare((y.num%y.den)*x.den, (x.num%x.den)*y.den)
	})
	for _, i := range broken[:min(total, len(broken))] {
		whole[i]++
	}
	return whole
}
