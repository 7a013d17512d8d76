package vnodes

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// TestConditionTellsHintsAndSilentSlots: a node tells what it keeps for another, and which of its own
// slots do not answer and why; and nothing when all is well.
func TestConditionTellsHintsAndSilentSlots(t *testing.T) {
	const p = 1
	w := newWorld(t, 3, 1)
	a, b := w.node(1), w.node(2)
	a.fill(p, 2)
	if got := a.m.Load().Condition(); len(got.Hints)+len(got.Slots) > 0 {
		t.Fatalf("all is well, and it says %+v", got)
	}
	a.stop()
	b.mustHint(keyIn(p, 7), "v", 1)
	b.mustHint(keyIn(p, 8), "v", 1)
	if diff := cmp.Diff([]HeldHints{{For: a.id, Slots: 1, Records: 2}}, b.m.Load().Condition().Hints); diff != "" {
		t.Error(diff)
	}
	b.stop() // the holder of hints is away when their owner returns
	a.start()
	a.mustRefuse(keyIn(p, 7), wire.Unavailable)
	slots := a.m.Load().Condition().Slots
	i := slices.IndexFunc(slots, func(s SilentSlots) bool { return slices.Contains(s.Partitions, ring.Partition(p)) })
	if i < 0 || slots[i].State != "waiting" || slots[i].Service != "kv" || !strings.Contains(slots[i].Reason, string(b.id)) {
		t.Errorf("the slot waits for node %s, and it says %+v", b.id, slots)
	}
	b.start()
	w.settled()
	a.mustGet(keyIn(p, 7), "v")
	if got := a.m.Load().Condition(); len(got.Hints)+len(got.Slots) > 0 {
		t.Errorf("all is well again, and it says %+v", got)
	}
}
