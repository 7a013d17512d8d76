package metadata

import (
	"slices"

	"github.com/ringcore/ringcore/metadata/ring"
)

// view is what the leader knows beside the State when it decides about the ring.
type view struct {
	up      func(ring.NodeID) bool
	stalled func(*Transfer) bool // a node that it needs has been away for too long
	session func() string        // draws a fresh session id
}

// decide is the leader's whole policy for the ring: what to propose in State s. An
// empty answer means that there is nothing to do before something changes.
//
//	a member that an operator took for down is seen → up
//	a plan is due → rebalance
//	a transfer is stuck → abort it; it is begun anew when its nodes are back
//	a partition is idle and off its target → begin its next step, within the limits
//	no partition is off its target → settle
func decide(s *State, v view) []Command {
	var cs []Command
	for i := range s.Members {
		if m := &s.Members[i]; m.Status == StatusDown && v.up(m.ID) {
			cs = append(cs, Up(m.ID))
		}
	}
	if s.Planned != s.Roster {
		return append(cs, rebalanceCommand(s.Roster, plan(s)))
	}
	for i := range s.Transfers {
		if t := &s.Transfers[i]; v.stalled(t) {
			cs = append(cs, Abort(t, "a node that it needs is down"))
		}
	}
	if s.Target == nil {
		return cs
	}
	begin, idle := begins(s, v)
	switch {
	case len(begin) > 0:
		cs = append(cs, beginCommand(begin))
	case idle && len(s.Transfers) == 0:
		cs = append(cs, settleCommand())
	}
	return cs
}

// plan computes the lists that the members who stay should have.
func plan(s *State) [][]ring.NodeID {
	var claimants []ring.Claimant
	for i := range s.Members {
		if m := &s.Members[i]; m.Stays() {
			claimants = append(claimants, ring.Claimant{Node: m.ID, Weight: m.Weight, Zone: m.Zone})
		}
	}
	return ring.Claim(claimants, s.Ring.Q(), s.Wanted(), s.inherited(s.Ring.Lists()))
}

// needs are the nodes without which step cannot end: an add is filled from every
// replica, and a drop is merged into every other.
func needs(s *State, step ring.Step) []ring.NodeID {
	var ids []ring.NodeID
	for _, id := range []ring.NodeID{step.From, step.To} {
		if id != "" {
			ids = append(ids, id)
		}
	}
	if step.Kind == ring.StepAdd || step.Kind == ring.StepDrop {
		for _, x := range s.Ring.Assignments[step.Partition].Replicas {
			if !slices.Contains(ids, x.Node) {
				ids = append(ids, x.Node)
			}
		}
	}
	return ids
}
