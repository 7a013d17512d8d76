package ring_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ringcore/ringcore/metadata/ring"
)

func TestDiffCountsStepsByPair(t *testing.T) {
	r := ringOf(3, [][]ring.NodeID{{"a", "b"}, {"a", "b"}, {"b", "a"}, {"a"}, {"a", "b"}, {"a", "b"}, {"a", "b"}, {"a", "b", "c"}})
	r.Assignments[0].Replicas[1].CatchingUp = true // counts as if it were readable
	target := [][]ring.NodeID{{"c", "b"}, {"c", "b"}, {"a", "b"}, {"a", "c"}, {"a", "b"}, {"a", "b"}, {"a", "b"}, {"a", "b"}}
	want := ring.Diff{Moves: 2, Adds: 1, Swaps: 1, Drops: 1, Transfers: []ring.Transfer{
		{Kind: ring.StepAdd, To: "c", Partitions: 1},
		{Kind: ring.StepMove, From: "a", To: "c", Partitions: 2},
		{Kind: ring.StepSwap, From: "b", To: "a", Partitions: 1},
		{Kind: ring.StepDrop, From: "c", Partitions: 1},
	}}
	if d := cmp.Diff(want, ring.DiffOf(r, target)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want.Transfers[:2], ring.Transfers(r, target)); d != "" {
		t.Error(d)
	}
	shares := map[ring.NodeID]ring.Share{"a": {Owned: 7, Slots: 8}, "b": {Owned: 1, Slots: 7}, "c": {Slots: 1}}
	if d := cmp.Diff(shares, ring.Shares(r)); d != "" {
		t.Error(d)
	}
}

func TestWarningsSayWhatListsLack(t *testing.T) {
	lists := [][]ring.NodeID{{"a", "b", "c"}, {"a", "b"}, {"c", "a", "d"}}
	zones := map[ring.NodeID]string{"a": "x", "b": "x", "c": "y", "d": "z"}
	one := func(ring.NodeID) string { return "" }
	three := func(n ring.NodeID) string { return zones[n] }
	for name, c := range map[string]struct {
		zone func(ring.NodeID) string
		want []string
	}{
		"no zones": {one, []string{"replicas of 1 partitions are on fewer than 3 nodes"}},
		"zones": {three, []string{
			"replicas of 1 partitions are on fewer than 3 nodes", "replicas of 2 partitions are on fewer than 3 zones",
		}},
	} {
		if d := cmp.Diff(c.want, ring.Warnings(lists, 3, c.zone)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if w := ring.Warnings(lists[:1], 1, three); w != nil {
		t.Errorf("nothing is wrong: %v", w)
	}
}
