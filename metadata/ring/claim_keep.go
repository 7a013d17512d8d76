package ring

import (
	"cmp"
	"slices"
)

// keep enters of current what may stay: members, once each, at most k, within
// the bounds of their zones. Where some must go, the owner stays if it can, then those
// whose node is furthest below its share.
func (b *board) keep(current [][]NodeID) {
	index := make(map[NodeID]int, len(b.nodes))
	for i, n := range b.nodes {
		index[n.id] = i
	}
	current = current[:min(len(current), b.q)]
	rows := make([][]int, len(current)) // members of each list, none for others, in slot order
	held := make([]int, len(b.nodes))   // places in current that may still be kept
	for p, list := range current {
		for s, id := range list {
			i, ok := index[id]
			if !ok || slices.Contains(rows[p], i) {
				i = none
			} else {
				held[i]++
				b.had[p*len(b.nodes)+i] = true
			}
			rows[p] = append(rows[p], i)
			if s < b.k {
				b.before[p*b.k+s] = int32(i)
			}
		}
	}
	above := func(i int) int { return held[i] - int(b.nodes[i].num/b.nodes[i].den) }
	for _, p := range b.order {
		if p >= len(rows) {
			continue
		}
		b.keepRow(p, rows[p], above)
		for _, i := range rows[p] {
			if i != none && !b.has(p, i) {
				held[i]--
				b.chosen = true
			}
		}
	}
}

// keepRow enters what may stay of one list. Everyone keeps the slot, unless the
// list is full: then it closes up.
func (b *board) keepRow(p int, row []int, above func(i int) int) {
	var slots []int // of row, in order of preference
	for s, i := range row {
		if i != none {
			slots = append(slots, s)
		}
	}
	slices.SortStableFunc(slots, func(s, t int) int {
		if s == 0 || t == 0 {
			return cmp.Compare(s, t)
		}
		return cmp.Compare(above(row[s]), above(row[t]))
	})
	// Entering a node at any empty place counts its zone; the places are set right below.
	kept := make([]int, 0, b.k)
	for _, s := range slots {
		if b.room(p, b.nodes[row[s]].zone) {
			b.put(p, len(kept), row[s])
			kept = append(kept, s)
		}
	}
	for s := range kept {
		b.take(p, s)
	}
	slices.Sort(kept)
	for at, s := range kept {
		to := s
		if len(kept) == b.k {
			to = at
		} else if s >= b.k {
			to = slices.Index(b.row(p), none) // those of lower slots are in place already
		}
		b.put(p, to, row[s])
	}
}
