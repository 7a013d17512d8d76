package metadata

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ringcore/ringcore/metadata/ring"
)

// TestPlanProperties: nothing that is staged takes place before the commit, all of it does
// with the commit, and only with the hash of just that plan.
func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		birth := birthCommand(Birth(testMember("n0"), 8, rapid.IntRange(1, 3).Draw(t, "n")))
		s := checkedStep(t, nil, &birth)
		sessions := 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			var c Command
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1, 2:
				c = Stage(drawChange(t))
			case 3:
				c = StageJoin(testMember(fmt.Sprint("n", rapid.IntRange(0, 6).Draw(t, "node"))))
			case 4:
				c = CommitPlan(rapid.SampledFrom([]string{s.PlanHash(), s.PlanHash(), "", "x"}).Draw(t, "hash"))
			case 5:
				c = rapid.SampledFrom([]Command{ClearPlan(), Make(drawChange(t))}).Draw(t, "op")
			default:
				c = drawCommand(t, s, &sessions)
			}
			c.Version = CommandVersion
			next := checkedStep(t, s, &c)
			checkPlanStep(t, s, next, &c)
			s = next
		}
	})
}

func drawChange(t *rapid.T) Change {
	id := func(what string) ring.NodeID { return nodeID(fmt.Sprint("n", rapid.IntRange(0, 6).Draw(t, what))) }
	kinds := []ChangeKind{
		ChangeLeave, ChangeReplace, ChangeForceRemove, ChangeForceReplace, ChangeDown, ChangeWeight, ChangeZone, ChangeReplicas, ChangeJoin, "none",
	}
	c := Change{Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Node: id("of")}
	switch c.Kind {
	case ChangeReplace, ChangeForceReplace:
		c.New = id("by")
	case ChangeWeight, ChangeReplicas:
		c.Number = rapid.IntRange(0, 4).Draw(t, "number")
	case ChangeZone:
		c.Zone = rapid.SampledFrom([]string{"", "y", "z"}).Draw(t, "zone")
	}
	if c.Kind == ChangeReplicas {
		c.Node = ""
	}
	c.Stopped = c.Kind == ChangeForceRemove || c.Kind == ChangeForceReplace
	return c
}

// checkPlanStep checks what c did to the plan, and with it.
func checkPlanStep(t *rapid.T, s, next *State, c *Command) {
	for i := range next.Members {
		m := &next.Members[i]
		if m.Staged && (next.Holds(m.ID) > 0 || next.targeted(m.ID)) {
			t.Fatalf("%s is only staged, and has a place", m.Name)
		}
		if m.Gone() && next.targeted(m.ID) && next.Planned == next.Roster {
			t.Fatalf("%s is gone, and is to get a place", m.Name)
		}
		if was, _ := s.Member(m.ID); was.Gone() && !was.Home && !m.Gone() {
			t.Fatalf("%s has come back", m.Name)
		}
	}
	switch c.Op {
	case opStage, opClear:
		if !cmp.Equal(s.Ring.Lists(), next.Ring.Lists()) || !cmp.Equal(s.Target, next.Target) || s.Roster != next.Roster || !cmp.Equal(s.Transfers, next.Transfers) {
			t.Fatalf("%s has changed more than the plan", c.Op)
		}
		for _, m := range s.Members {
			if now, _ := next.Member(m.ID); !m.Staged && !m.Home && !cmp.Equal(m, now) {
				t.Fatalf("%s: %+v became %+v", c.Op, m, now)
			}
		}
	case opCommitPlan:
		if next != s && (len(s.Plan) == 0 || c.Plan != s.PlanHash()) {
			t.Fatalf("plan %v of hash %s committed as %q", s.Plan, s.PlanHash(), c.Plan)
		}
		if next != s {
			checkTookPlace(t, next, s.Plan)
		}
	}
}

// checkTookPlace: all of it, whatever the order.
func checkTookPlace(t *rapid.T, s *State, changes []Change) {
	if len(s.Plan) > 0 {
		t.Fatal("the plan is still there")
	}
	gone := map[ring.NodeID]bool{}
	for _, c := range changes {
		gone[c.Node] = gone[c.Node] || c.Kind == ChangeForceRemove || c.Kind == ChangeForceReplace
	}
	for _, c := range changes {
		m, _ := s.Member(c.Node)
		ok := true
		switch {
		case c.Kind == ChangeReplicas:
			ok = s.Wanted() == c.Number
		case gone[c.Node]:
			ok = m.Status == StatusLeft && m.Forced && s.Holds(m.ID) == 0
		case c.Kind == ChangeJoin:
			ok = !m.Staged && m.Status != StatusLeft
		case c.Kind == ChangeLeave:
			ok = m.Status == StatusLeaving
		case c.Kind == ChangeReplace:
			ok = m.Status == StatusLeaving && m.Heir == c.New
		case c.Kind == ChangeWeight:
			ok = m.Weight == c.Number
		case c.Kind == ChangeZone:
			ok = m.Zone == c.Zone
		}
		if !ok {
			t.Fatalf("%s was committed and is not so: %+v", c.String(), m)
		}
	}
}
