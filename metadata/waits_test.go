package metadata

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ringcore/ringcore/metadata/ring"
)

// TestWaitsNameTheNodeThatIsMissing: a partition waits only for nodes that its next step needs.
func TestWaitsNameTheNodeThatIsMissing(t *testing.T) {
	list := func(nodes ...ring.NodeID) (l []ring.Replica) {
		for _, n := range nodes {
			l = append(l, ring.Replica{Node: n})
		}
		return l
	}
	s := &State{Ring: &ring.Ring{N: 3, Assignments: []ring.Assignment{
		{Gen: 1, Replicas: list("a", "b", "c")}, // under way from b to d
		{Gen: 1, Replicas: list("a", "b", "c")}, // at its target
		{Gen: 1, Replicas: list("a", "b")},      // to be filled from both
		{Gen: 1, Replicas: list("c", "d")},      // c and d change places
	}}}
	s.Transfers = []Transfer{{ID: "s", Step: ring.Step{Kind: ring.StepMove, Partition: 0, Slot: 1, From: "b", To: "d"}}}
	down := func(ids ...ring.NodeID) func(ring.NodeID) bool {
		return func(id ring.NodeID) bool { return !slices.Contains(ids, id) }
	}
	if got := s.Waits(down("c")); len(got) != 0 {
		t.Errorf("without a target nothing but what is under way can wait: %v", got)
	}
	s.Target = [][]ring.NodeID{{"a", "d", "c"}, {"a", "b", "c"}, {"a", "b", "e"}, {"d", "c"}}
	for name, c := range map[string]struct {
		up   func(ring.NodeID) bool
		want []Wait
	}{
		"all are up":           {down(), []Wait{}},
		"a source is down":     {down("b"), []Wait{{"b", []ring.Partition{0, 2}}}},
		"a target is down":     {down("e"), []Wait{{"e", []ring.Partition{2}}}},
		"two are down":         {down("d", "a"), []Wait{{"a", []ring.Partition{2}}, {"d", []ring.Partition{0, 3}}}},
		"a bystander of moves": {down("c"), []Wait{{"c", []ring.Partition{3}}}},
	} {
		if diff := cmp.Diff(c.want, s.Waits(c.up)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if s.Moves(1) || !s.Moves(0) || !s.Moves(2) {
		t.Error("partition 1 alone is where it is to be")
	}
}
