package metadata

import (
	"slices"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Floor is what anti-entropy has made sure of for one partition, as times of stamps.
type Floor struct {
	// Time: what has an older stamp is known to every replica that should have it, and
	// is kept for none. A replica that has no record under a key takes nothing older.
	Time uint64 `json:"t"`
	// Reap is the Time before the last rise, which every replica has known since before
	// it compared for that: tombstones below it are needed by nobody.
	Reap uint64 `json:"reap,omitempty"`
}

// FloorRise asks to raise one partition's floor.
type FloorRise struct {
	Partition ring.Partition `json:"p"`
	Gen       ring.Gen       `json:"gen"` // of the replicas that have compared
	Time      uint64         `json:"t"`
}

// Floor is the floor of p.
func (s *State) Floor(p ring.Partition) Floor {
	if int(p) >= len(s.Floors) {
		return Floor{}
	}
	return s.Floors[p]
}

// raiseFloors raises those floors whose replicas are still the ones that have
// compared. It is a Conflict if the members are not the ones that were asked.
func (s *State) raiseFloors(rises []FloorRise, asked []ring.NodeID) (bool, error) {
	if err := s.allAsked(asked); err != nil {
		return false, err
	}
	floors := slices.Clone(s.Floors)
	if floors == nil {
		floors = make([]Floor, s.Ring.Q())
	}
	changed := false
	for _, r := range rises {
		if !s.mayRise(&r) {
			continue
		}
		if f := &floors[r.Partition]; r.Time > f.Time {
			*f = Floor{Time: r.Time, Reap: s.Floor(r.Partition).Time}
			changed = true
		}
	}
	if !changed {
		return false, wire.Errorf(wire.Conflict, "none of %d floors may rise", len(rises))
	}
	s.Floors = floors
	return true, nil
}

// allAsked refuses a word of members that is not everybody's: one that was not asked
// may keep something, and one that leaves, or has left since, has handed what it kept
// to another, who may have answered before.
func (s *State) allAsked(asked []ring.NodeID) error {
	for i := range s.Members {
		m := &s.Members[i]
		was := slices.Contains(asked, m.ID)
		switch {
		case m.Gone() && was, m.Status == StatusLeaving, m.Status == StatusExiting:
			return wire.Errorf(wire.Conflict, "%s is %s: what it kept may be with another", m.Name, m.Status)
		case !m.Gone() && !was:
			return wire.Errorf(wire.Conflict, "%s was not asked what it keeps", m.Name)
		}
	}
	return nil
}

// mayRise reports whether the partition's replicas are those of the rise's gen, all
// complete, and none of them is changing.
func (s *State) mayRise(r *FloorRise) bool {
	if int(r.Partition) >= s.Ring.Q() || s.Ring.Gen(r.Partition) != r.Gen {
		return false
	}
	_, moving := s.Transfer(r.Partition)
	catching := slices.ContainsFunc(s.Ring.Assignments[r.Partition].Replicas, func(x ring.Replica) bool { return x.CatchingUp })
	return !moving && !catching
}
