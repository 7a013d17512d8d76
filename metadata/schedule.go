package metadata

import (
	"slices"

	"github.com/ringcore/ringcore/metadata/ring"
)

// pair is the direction of a transfer: from one node to another. One of the two is
// empty for an added and for a dropped slot.
type pair struct{ from, to ring.NodeID }

// begins picks the transfers to begin now. Pairs of nodes take turns, in the order of
// their first partitions, so that the first source's partitions do not fill all the
// receiver's places while the other sources wait. idle is true if no partition without
// an open transfer needs a step.
func begins(s *State, v view) (begin []Transfer, idle bool) {
	waiting := make(map[pair][]ring.Step)
	var turns []pair
	idle = true
	for i := range s.Ring.Q() {
		p := ring.Partition(i)
		if _, open := s.Transfer(p); open {
			continue
		}
		next, more := s.nextStep(p)
		if !more {
			continue
		}
		idle = false
		if missing(s, next, v) {
			continue
		}
		x := pair{next.From, next.To}
		if waiting[x] == nil {
			turns = append(turns, x)
		}
		waiting[x] = append(waiting[x], next)
	}
	load := newLoad(s, v)
	for len(turns) > 0 {
		turns = slices.DeleteFunc(turns, func(x pair) bool { // each takes its turn, and drops out when it can take no more
			if len(waiting[x]) == 0 || !load.take(x) {
				return true
			}
			begin = append(begin, Transfer{ID: v.session(), Step: waiting[x][0]})
			waiting[x] = waiting[x][1:]
			return false
		})
	}
	return begin, idle
}

// missing reports whether a node that step needs is not up.
func missing(s *State, step ring.Step, v view) bool {
	return slices.ContainsFunc(needs(s, step), func(id ring.NodeID) bool { return !v.up(id) })
}

// load counts the open transfers of each node and pair.
type load struct {
	s       *State
	in, out map[ring.NodeID]int
	pairs   map[pair]int
}

// newLoad counts what is under way. What waits for a node that is down costs
// nobody anything, and must not keep the others waiting.
func newLoad(s *State, v view) *load {
	l := &load{s: s, in: make(map[ring.NodeID]int), out: make(map[ring.NodeID]int), pairs: make(map[pair]int)}
	for i := range s.Transfers {
		if step := s.Transfers[i].Step; !missing(s, step, v) {
			l.count(pair{step.From, step.To})
		}
	}
	return l
}

func (l *load) count(x pair) {
	l.pairs[x]++
	if x.to != "" {
		l.in[x.to]++
	}
	if x.from != "" {
		l.out[x.from]++
	}
}

// take counts a transfer if both nodes have room for it.
func (l *load) take(x pair) bool {
	from, to := l.s.LimitsOf(x.from), l.s.LimitsOf(x.to)
	switch {
	case x.to != "" && l.in[x.to] >= to.In, x.from != "" && l.out[x.from] >= from.Out:
		return false
	case x.to != "" && x.from != "" && l.pairs[x] >= min(from.Pair, to.Pair):
		return false
	}
	l.count(x)
	return true
}
