package vnodes

import (
	"github.com/ringcore/ringcore/metadata/ring"
)

// moves reports whether a service with n replicas has data that s moves: to new
// nodes for move and swap, into the other replicas for drop, to the new one for add.
func (s *Session) moves(n int) bool {
	switch s.Kind {
	case ring.StepSwap:
		return s.Slot < n && n <= s.Other
	default:
		return s.Slot < n
	}
}

// drives reports whether node carries s out: the source of data that leaves, the
// newcomer of an added slot.
func (s *Session) drives(node ring.NodeID) bool {
	if s.Kind == ring.StepAdd {
		return s.To == node
	}
	return s.From == node
}

// involved are the services whose data s moves under ring r.
func (m *Manager) involved(s *Session, r *ring.Ring) []*service {
	var all []*service
	for _, svc := range m.services {
		if s.moves(svc.replicas(r)) {
			all = append(all, svc)
		}
	}
	return all
}

// targets are the nodes that take the data: one, or for a drop all that stay.
func (s *Session) targets(r *ring.Ring) []ring.NodeID {
	if s.Kind != ring.StepDrop {
		return []ring.NodeID{s.To}
	}
	var all []ring.NodeID
	for _, x := range r.Assignments[s.Partition].Replicas {
		if x.Node != s.From {
			all = append(all, x.Node)
		}
	}
	return all
}
