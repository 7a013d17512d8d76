package vnodes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/metadata/ring"
)

// repaired has the node repair partitions and waits for the end of that.
func (n *simNode) repaired(id string, partitions ...ring.Partition) RepairRun {
	n.w.t.Helper()
	m := n.m.Load()
	m.Repair(id, partitions)
	var run RepairRun
	n.w.until("repair "+id+" has ended", func() bool {
		run = m.Repairs().Runs[0]
		return run.ID == id && !run.Ended.IsZero()
	})
	return run
}

// Each partition of a node that was wiped unnoticed is restored by a repair, from
// whichever replica it is asked of, and the others still have all of theirs.
func TestRepairRestoresWipedPartitions(t *testing.T) {
	w := newWorld(t, 3, 3, quickCompares)
	const n = 50
	want := make(map[ring.Partition]string)
	for p := range ring.Partition(simQ) {
		var all []Write
		for i := range n {
			all = append(all, old(keyIn(p, i), uint64(i+1), fmt.Sprint("value", i)))
		}
		for i := 1; i <= 3; i++ {
			w.node(i).has(p, all...)
		}
		want[p] = fmt.Sprint(w.alike(p, 1, 2, 3))
	}
	for p := range ring.Partition(simQ) {
		victim := w.node(1 + int(p)%3)
		victim.stop()
		forgetSlot(t, victim, p)
		victim.start()
		if got := len(storeModel(w, 1+int(p)%3, p)); got != 0 {
			t.Fatalf("partition %d has %d records after it was wiped", p, got)
		}
		asked := w.node(1 + int(p)%2)
		run := asked.repaired(fmt.Sprint("wiped", p), p)
		if run.Failed > 0 || run.Moved() != n || run.Done != 1 || len(run.Unreached) > 0 {
			t.Errorf("partition %d: %+v", p, run)
		}
		if got := fmt.Sprint(w.alike(p, 1, 2, 3)); got != want[p] {
			t.Errorf("partition %d is not what it was", p)
		}
	}
	if run := w.node(3).repaired("all", 0, 1, 2, 3, 4, 5, 6, 7); run.Compared < 2*8*n || run.Moved() > 0 {
		t.Errorf("a further repair: %+v", run)
	}
}

// A repair does not believe the trees.
func TestRepairReadsEveryRecord(t *testing.T) {
	w := newWorld(t, 2, 2, func(n *simNode) { quickCompares(n); n.memory = true })
	for i := 1; i <= 2; i++ {
		w.until("slots serve", func() bool { return w.node(i).m.Load().CatchingUp() == 0 })
		w.node(i).has(compareP, old("a", 1, "v"), old("b", 1, "v"))
	}
	w.node(1).has(compareP, old("b", 2, "newer"))
	file := func(i int) *memFile {
		st, err := w.node(i).storeOf(compareP).(*slotStore).get()
		if err != nil {
			t.Fatal(err)
		}
		return st.(*memStore).file
	}
	file(2).tree = file(1).tree // counted wrongly
	if _, moved := w.node(1).compare(compareP); moved.Moved() > 0 {
		t.Fatal("the trees differ")
	}
	if run := w.node(2).repaired("r", compareP); run.Received != 1 || run.Failed > 0 {
		t.Errorf("%+v", run)
	}
	w.alike(compareP, 1, 2)
}

// A repair says which replicas it did not reach, waits while a partition moves, and
// says so if that takes too long.
func TestRepairSaysWhatItMissed(t *testing.T) {
	w := newWorld(t, 3, 3, quickCompares)
	w.node(1).has(compareP, old("k", 1, "v"))
	w.node(3).stop()
	run := w.node(1).repaired("one down", compareP)
	if run.Failed > 0 || len(run.Unreached) != 1 || run.Unreached[0] != nodeID(3) {
		t.Errorf("with a node down: %+v", run)
	}
	w.alike(compareP, 1, 2)
	w.node(2).stop()
	if run = w.node(1).repaired("alone", compareP); run.Failed != 1 || !strings.Contains(run.Errors[0], "none of its other replicas") {
		t.Errorf("with no other node up: %+v", run)
	}
	w.node(2).start()
	w.node(3).start()
	w.settled()
	w.setFate(func(*simNode, Session) fate { return lostBefore })
	s := w.begin(swap(compareP, 0, 2, 1, 3))
	if run = w.node(1).repaired("moving", compareP); run.Failed != 1 || !strings.Contains(run.Errors[0], "moving") {
		t.Errorf("while the partition moves: %+v", run)
	}
	w.setFate(nil)
	w.committed(s)
	w.settled()
	if run = w.node(2).repaired("moved", compareP); run.Failed > 0 || len(run.Unreached) > 0 {
		t.Errorf("after it has moved: %+v", run)
	}
	for i := range 2 * runsKept {
		w.node(2).repaired(fmt.Sprint("run", i), 0)
	}
	if got := len(w.node(2).m.Load().Repairs().Runs); got != runsKept {
		t.Errorf("%d runs are kept, want %d", got, runsKept)
	}
}
