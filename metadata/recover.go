package metadata

import (
	"fmt"
	"slices"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Recovery is one time that the cluster was made anew because the majority of raft's
// voters was lost.
type Recovery struct {
	ID   string      `json:"id"`   // drawn at random: two recoveries of the same generation are two clusters
	By   ring.NodeID `json:"by"`   // whose State the cluster goes on from, and the first voter
	From ring.Epoch  `json:"from"` // that State's: what the former generation committed later is not part of the cluster
}

// Generation is the life of the cluster that s belongs to.
func (s *State) Generation() wire.Generation {
	n := len(s.Recoveries)
	if n == 0 {
		return wire.Generation{}
	}
	return wire.Generation{N: uint64(n), ID: s.Recoveries[n-1].ID}
}

// Recovered is the first State of the next generation: all that s has, with self as
// the only voter. Members and data stay. Transfers that were open are given up: their
// sources hold what they had, and the leader begins them anew.
func Recovered(s *State, self ring.NodeID) (*State, error) {
	m, ok := s.Member(self)
	switch {
	case !ok || m.Gone() || m.Status == StatusExiting:
		return nil, wire.Errorf(wire.Refused, "node %s is no member of the cluster any more: recover on another node", self)
	case slices.Equal(voterFlags(s), []ring.NodeID{self}):
		return nil, wire.Errorf(wire.Refused, "this node is the only voter: there is no majority to lose; start it")
	}
	r, ended := s.Ring, s.Ended
	generation := uint64(len(s.Recoveries)) + 1
	for _, t := range s.Transfers {
		next, err := r.Abort(t.Step)
		if err != nil {
			return nil, fmt.Errorf("give up transfer %s: %w", t.ID, err)
		}
		r = next
		ended = appendBounded(ended, Ended{ID: t.ID, Step: t.Step, Reason: "the cluster was recovered", Epoch: ring.FirstEpoch(generation)}, endedKept(r.Q()))
	}
	next := *s
	next.Ring, next.Ended, next.Transfers, next.Recent = r.InGeneration(generation), ended, nil, nil
	next.Epoch = next.Ring.Epoch
	next.Recoveries = append(slices.Clone(s.Recoveries), Recovery{ID: randomHex(4), By: self, From: s.Epoch})
	next.Members = slices.Clone(s.Members)
	for i := range next.Members {
		next.Members[i].Voter = next.Members[i].ID == self
	}
	return &next, nil
}

// Follows reports whether a node that knows s may go on as a member with next, of a
// later generation. Not if s has seen changes that the recovery did not know: then
// slots may have moved, and tombstones gone, in a history that next is not part of.
func (s *State) Follows(next *State) error {
	n := len(s.Recoveries)
	switch {
	case next.ClusterID != s.ClusterID:
		return fmt.Errorf("the other state is of cluster %s, not %s", next.ClusterID, s.ClusterID)
	case len(next.Recoveries) <= n:
		return fmt.Errorf("the other state is of generation %v, not later than %v", next.Generation(), s.Generation())
	case !slices.Equal(next.Recoveries[:n], s.Recoveries):
		return fmt.Errorf("this node has followed another recovery, %s, which the cluster has gone on without", s.Recoveries[n-1].ID)
	case s.Epoch > next.Recoveries[n].From:
		return fmt.Errorf("this node knows changes up to epoch %d; the cluster has gone on from epoch %d, by another history", s.Epoch, next.Recoveries[n].From)
	}
	return nil
}

// Load reads the State that a closed Store has left in dir; nil if there is none.
func Load(dir string) (*State, error) { return loadState(dir) }

// Found makes s, of Recovered, what the next Open of dir goes on from. It is durable
// when Found returns. Raft begins anew in a folder of that generation.
func Found(dir string, s *State) error { return saveState(dir, s) }
