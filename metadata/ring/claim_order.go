package ring

import "slices"

// arrange orders the lists, slot by slot: every node gets its part of the slot,
// rounded down or up, with as few changes as possible. So the shares are even for
// services with any number of replicas.
func (b *board) arrange() {
	for s := range b.k - 1 {
		b.restore(s)
		t := newTally(b, s)
		t.shift(t.over, t.under, 1)
		t.shift(t.over, t.hasRoom, len(b.nodes))
		t.shift(t.canGive, t.under, len(b.nodes))
	}
}

// restore gives slot s back to who had it before, wherever that node is behind.
func (b *board) restore(s int) {
	for p := range b.q {
		before := b.before[p*b.k+s]
		if before == none {
			continue
		}
		if at := slices.Index(b.row(p), before); at > s {
			b.swap(p, s, at)
		}
	}
}

// tally counts who holds one slot. A node holds it in held[i] lists and should in
// least[i] to most[i], an equal part of its places from that slot on.
type tally struct {
	b                 *board
	slot              int
	held, least, most []int
	to                func(i int) bool // where chains may end
}

func newTally(b *board, slot int) *tally {
	m := len(b.nodes)
	t := &tally{b: b, slot: slot, held: make([]int, m), least: make([]int, m), most: make([]int, m)}
	rest := make([]int, m)
	for p := range b.q {
		for _, i := range b.row(p)[slot:] {
			rest[i]++
		}
		t.held[b.row(p)[slot]]++
	}
	slots := b.k - slot
	for i := range rest {
		t.least[i] = rest[i] / slots
		t.most[i] = (rest[i] + slots - 1) / slots
	}
	return t
}

func (t *tally) over(i int) bool    { return t.held[i] > t.most[i] }
func (t *tally) under(i int) bool   { return t.held[i] < t.least[i] }
func (t *tally) hasRoom(i int) bool { return t.held[i] < t.most[i] }
func (t *tally) canGive(i int) bool { return t.held[i] > t.least[i] }

// shift takes the slot from nodes that satisfy from and gives it to such that
// satisfy to, by chains of exchanges within lists, until there are none or no
// chain is left that costs limit at most.
func (t *tally) shift(from, to func(i int) bool, limit int) {
	t.to = to
	c := newChains(len(t.held), -len(t.held))
	for budget := 0; budget <= limit; budget++ {
		for {
			var sources []int
			wanted := false
			for i := range t.held {
				if from(i) {
					sources = append(sources, i)
				}
				wanted = wanted || to(i)
			}
			if len(sources) == 0 || !wanted {
				return
			}
			end := c.find(t, sources, budget)
			if end == none {
				break
			}
			t.exchange(c.links, end)
		}
	}
}

// each offers the slot of every list where node i has it to the nodes behind. It
// costs a change if the node there is the one of before.
func (t *tally) each(i int, fn func(next, partition, slot, cost int) bool) {
	b := t.b
	for _, p := range b.order {
		row := b.row(p)
		if row[t.slot] != int32(i) {
			continue
		}
		before := b.before[p*b.k+t.slot]
		for s := t.slot + 1; s < b.k; s++ {
			cost := 0
			switch before {
			case int32(i):
				cost = 1
			case row[s]:
				cost = -1
			}
			if !fn(int(row[s]), p, s, cost) {
				return
			}
		}
	}
}

func (t *tally) ends(i int) bool { return t.to(i) }

// exchange carries out a chain from its end back to its source.
func (t *tally) exchange(links []link, end int) {
	t.held[end]++
	for l := links[end]; l.from != none; l = links[end] {
		t.b.swap(l.partition, t.slot, l.slot)
		end = l.from
	}
	t.held[end]--
}
