package metadata

import (
	"cmp"
	"slices"

	"github.com/ringcore/ringcore/metadata/ring"
)

// Wait is what waits for one node that is not up.
type Wait struct {
	Node       ring.NodeID
	Partitions []ring.Partition // whose next step needs it, under way or not; ascending
}

// Waits are the nodes that are not up and without which some partition cannot come nearer to its target,
// sorted by id. Whatever needs others only goes on, so nothing else waits for them.
func (s *State) Waits(up func(ring.NodeID) bool) []Wait {
	waiting := make(map[ring.NodeID][]ring.Partition)
	for i := range s.Ring.Q() {
		p := ring.Partition(i)
		step, more := s.pending(p)
		if !more {
			continue
		}
		for _, id := range needs(s, step) {
			if !up(id) {
				waiting[id] = append(waiting[id], p)
			}
		}
	}
	waits := make([]Wait, 0, len(waiting))
	for id, partitions := range waiting {
		waits = append(waits, Wait{id, partitions})
	}
	slices.SortFunc(waits, func(a, b Wait) int { return cmp.Compare(a.Node, b.Node) })
	return waits
}

// pending is the step that p is at, or the next one that it is to make.
func (s *State) pending(p ring.Partition) (ring.Step, bool) {
	if t, open := s.Transfer(p); open {
		return t.Step, true
	}
	if s.Target == nil {
		return ring.Step{}, false
	}
	return s.nextStep(p)
}

// Moves reports whether a step of p is under way, or is to come.
func (s *State) Moves(p ring.Partition) bool {
	_, more := s.pending(p)
	return more
}
