package ring

import "slices"

// vacancies are the exchanges by which nodes get places. Those between two nodes are alike but
// for their cost, so that it is enough to know how many there are of each; the
// number after the last node's stands for room in a list.
type vacancies struct {
	b *board
	// count[(i*(len(nodes)+1)+j)*3+cost+1] is by how many exchanges of that cost, -1 to 1, node i
	// can get a place from j. Each change of a list goes through count.
	count []int32
}

func newVacancies(b *board) *vacancies {
	m := len(b.nodes)
	v := &vacancies{b: b, count: make([]int32, m*(m+1)*3)}
	for p := range b.q {
		v.add(p, 1)
	}
	return v
}

// add counts the exchanges in p's list in, with d = 1, or out, with d = -1.
func (v *vacancies) add(p int, d int32) {
	b := v.b
	m := len(b.nodes)
	row := b.row(p)
	room := make([]bool, len(b.zones))
	for z := range room {
		room[z] = b.room(p, z)
	}
	for i := range b.nodes {
		if b.has(p, i) {
			continue
		}
		zone, cost := b.nodes[i].zone, b.cost(p, i)
		counts := v.count[i*(m+1)*3 : (i+1)*(m+1)*3]
		if room[zone] {
			counts[m*3+cost+1] += d
			continue
		}
		for _, j := range row {
			if j != none && b.yields(p, zone, b.nodes[j].zone) {
				counts[int(j)*3+cost-b.cost(p, int(j))+1] += d
			}
		}
	}
}

// cost is 1 if a place in p's list is a move for node i, else 0.
func (b *board) cost(p, i int) int {
	if b.held(p, i) {
		return 0
	}
	return 1
}

func (v *vacancies) each(i int, fn func(next, partition, slot, cost int) bool) {
	m := len(v.b.nodes)
	if i == m {
		return
	}
	counts := v.count[i*(m+1)*3 : (i+1)*(m+1)*3]
	for next := range m + 1 {
		for cost := -1; cost <= 1; cost++ {
			if counts[next*3+cost+1] > 0 {
				if !fn(next, none, none, cost) {
					return
				}
				break
			}
		}
	}
}

func (v *vacancies) ends(i int) bool {
	return i == len(v.b.nodes) || v.b.nodes[i].count > v.b.nodes[i].want
}

// locate is a list and slot where node i can get a place from j at that cost. Owners are
// asked last.
func (v *vacancies) locate(i, j, cost int) (partition, slot int) {
	b := v.b
	zone, owned := b.nodes[i].zone, none
	for _, p := range b.order {
		if b.has(p, i) || b.room(p, zone) != (j == len(b.nodes)) {
			continue
		}
		if j == len(b.nodes) {
			if b.cost(p, i) == cost {
				return p, none
			}
			continue
		}
		if b.cost(p, i)-b.cost(p, j) != cost || !b.has(p, j) || !b.yields(p, zone, b.nodes[j].zone) {
			continue
		}
		for s, node := range b.row(p) {
			if node == int32(j) && s > 0 {
				return p, s
			}
		}
		if owned == none {
			owned = p
		}
	}
	return owned, 0
}

// pull carries out a chain from its end back to its source. Where its exchanges take
// place is settled before the first one: none of them spoils another.
func (v *vacancies) pull(links []link, end int) {
	for at := end; links[at].from != none; at = links[at].from {
		links[at].partition, links[at].slot = v.locate(links[at].from, at, links[at].step)
	}
	b := v.b
	for l := links[end]; l.from != none; l = links[end] {
		v.add(l.partition, -1)
		slot := l.slot
		if slot == none {
			slot = slices.Index(b.row(l.partition), none)
		} else {
			b.take(l.partition, slot)
		}
		b.put(l.partition, slot, l.from)
		v.add(l.partition, 1)
		end = l.from
	}
}
