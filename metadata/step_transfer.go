package metadata

import (
	"slices"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// rebalance sets the target that was computed for the present roster. Open
// transfers go on; what they do is undone later where the target has changed.
func (s *State) rebalance(basis ring.Epoch, target [][]ring.NodeID) (bool, error) {
	if basis != s.Roster {
		return false, wire.Errorf(wire.Conflict, "the plan is for the roster of epoch %d, now %d", basis, s.Roster)
	}
	if s.Planned == s.Roster {
		return false, nil
	}
	if err := s.checkTarget(target); err != nil {
		return false, err
	}
	members := slices.Clone(s.Members)
	for i := range members {
		if members[i].Status == StatusJoining && !members[i].Staged {
			members[i].Status = StatusValid
		}
	}
	s.Members, s.Planned, s.Target = members, s.Roster, target
	if len(s.Transfers) == 0 && s.reached() {
		s.arrive()
	}
	return true, nil
}

// checkTarget refuses a target that no ring may reach.
func (s *State) checkTarget(target [][]ring.NodeID) error {
	if len(target) != s.Ring.Q() {
		return wire.Errorf(wire.BadRequest, "target of %d partitions, want %d", len(target), s.Ring.Q())
	}
	for p, list := range target {
		if len(list) == 0 || len(list) > s.Ring.N {
			return wire.Errorf(wire.BadRequest, "target gives partition %d %d replicas, want 1 to %d", p, len(list), s.Ring.N)
		}
		for i, id := range list {
			if m, ok := s.Member(id); !ok || !m.Stays() || slices.Contains(list[:i], id) {
				return wire.Errorf(wire.BadRequest, "target gives partition %d to %q: a stranger, a leaver, or twice", p, id)
			}
		}
	}
	return nil
}

// reached reports whether every partition's list is as the target wants it.
func (s *State) reached() bool {
	for p := range s.Target {
		if _, more := s.nextStep(ring.Partition(p)); more {
			return false
		}
	}
	return true
}

// nextStep is the next step of p towards the target, which must be set.
func (s *State) nextStep(p ring.Partition) (ring.Step, bool) {
	return ring.NextStep(p, s.Ring.Assignments[p].Replicas, s.Target[p])
}

// begin begins those of ts that are still the next step of their partition; it is
// a Conflict if none is.
func (s *State) begin(ts []Transfer, at int64) (bool, error) {
	r, opened := s.Ring, slices.Clone(s.Transfers)
	for _, t := range ts {
		if !s.mayBegin(&t) || slices.ContainsFunc(opened, func(o Transfer) bool { return o.Partition == t.Partition || o.ID == t.ID }) {
			continue
		}
		next, err := r.Begin(t.Step)
		if err != nil {
			continue
		}
		r = next
		t.Gen, t.Begun, t.Since = r.Gen(t.Partition), s.Epoch, at
		i, _ := slices.BinarySearchFunc(opened, t.Partition, comparePartition)
		opened = slices.Insert(opened, i, t)
	}
	if len(opened) == len(s.Transfers) {
		return false, wire.Errorf(wire.Conflict, "none of %d transfers is the next step of its partition", len(ts))
	}
	s.Ring, s.Transfers = r, opened
	return true, nil
}

// mayBegin reports whether t is the next step of its partition under a fresh id.
func (s *State) mayBegin(t *Transfer) bool {
	if t.ID == "" || s.Target == nil || int(t.Partition) >= s.Ring.Q() {
		return false
	}
	if _, used := s.Outcome(t.ID); used {
		return false
	}
	want, more := s.nextStep(t.Partition)
	return more && want == t.Step
}

// commit makes an open transfer the truth. Only its driver may say so, because
// only the driver knows that the data is where the ring will send requests.
func (s *State) commit(c *Command) (bool, error) {
	i := s.open(c.Session)
	if i < 0 {
		if committed, known := s.Outcome(c.Session); !known || !committed {
			return false, wire.Errorf(wire.Conflict, "transfer %s is not open", c.Session)
		}
		return false, nil
	}
	t := &s.Transfers[i]
	if t.From != c.From || t.To != c.To {
		return false, wire.Errorf(wire.Conflict, "transfer %s goes from %q to %q", t.ID, t.From, t.To)
	}
	if c.Node != t.Driver() {
		return false, wire.Errorf(wire.Refused, "transfer %s is committed by %s only, not by %q", t.ID, t.Driver(), c.Node)
	}
	r, err := s.Ring.Commit(t.Step)
	if err != nil {
		return false, wire.Errorf(wire.Conflict, "commit transfer %s: %v", t.ID, err)
	}
	s.end(i, r, Ended{
		ID: t.ID, Step: t.Step, Committed: true, Epoch: s.Epoch, Since: t.Since, Until: c.At, Records: c.Records, Bytes: c.Bytes,
	})
	return true, nil
}

// abort gives an open transfer up.
func (s *State) abort(c *Command) (bool, error) {
	i := s.open(c.Session)
	if i < 0 {
		if committed, known := s.Outcome(c.Session); !known || committed {
			return false, wire.Errorf(wire.Conflict, "transfer %s is not open", c.Session)
		}
		return false, nil
	}
	t := &s.Transfers[i]
	if t.From != c.From || t.To != c.To {
		return false, wire.Errorf(wire.Conflict, "transfer %s goes from %q to %q", t.ID, t.From, t.To)
	}
	r, err := s.Ring.Abort(t.Step)
	if err != nil {
		return false, wire.Errorf(wire.Conflict, "abort transfer %s: %v", t.ID, err)
	}
	s.end(i, r, Ended{ID: t.ID, Step: t.Step, Reason: c.Reason, Epoch: s.Epoch, Since: t.Since, Until: c.At})
	return true, nil
}

// end takes the i-th open transfer away; r is the ring without it.
func (s *State) end(i int, r *ring.Ring, e Ended) {
	s.Ring = r
	s.Ended = appendBounded(s.Ended, e, endedKept(r.Q()))
	s.Transfers = slices.Delete(slices.Clone(s.Transfers), i, i+1)
	if len(s.Transfers) == 0 {
		s.Transfers = nil // as JSON gives it back
	}
}

// settle forgets a target that is reached.
func (s *State) settle() (bool, error) {
	if s.Target == nil {
		return false, nil
	}
	if len(s.Transfers) > 0 || !s.reached() {
		return false, wire.Errorf(wire.Conflict, "the target is not reached")
	}
	s.arrive()
	return true, nil
}
