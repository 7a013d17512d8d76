package vnodes

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

var errKilled = errors.New("killed here")

// killAt lets repairs of the node fail from a step on, as if it was killed there,
// and tells when it has come.
func (n *simNode) killAt(step wire.Failpoint) (reached <-chan struct{}) {
	came := make(chan struct{})
	var dead atomic.Bool
	quick := n.tune
	n.tune = func(c *Config) {
		quick(c)
		c.Failpoint = func(at wire.Failpoint) error {
			if at == step && !dead.Swap(true) {
				close(came)
			}
			if dead.Load() {
				return errKilled
			}
			return nil
		}
	}
	return came
}

func (n *simNode) awaitStep(reached <-chan struct{}) {
	n.w.t.Helper()
	n.w.until("the step is reached", func() bool {
		select {
		case <-reached:
			return true
		default:
			return false
		}
	})
}

// A node is killed behind each durable step of a repair, with writes going on: it
// comes back catching, never serves a slot that is not whole, and gets there.
func TestKillDuringRepair(t *testing.T) {
	for _, step := range []wire.Failpoint{
		wire.RepairNoted, wire.RepairAside, wire.RepairUnmarked, wire.RepairFilling, wire.RepairSalvaged, wire.RepairWhole, wire.RepairEnded,
	} {
		t.Run(string(step), func(t *testing.T) {
			w := repairWorld(t, 3)
			n := w.node(2)
			places := boltPlaces(t, n.checkpointed())
			stop := w.readers()
			n.stop()
			quick := n.tune
			reached := n.killAt(step)
			flip(t, n.slotPath(repairP), places["value"])
			n.start()
			n.m.Load().disk.scrubNow(t)
			n.awaitStep(reached)
			if ph := n.phase(repairP); ph == serving && step != wire.RepairEnded {
				t.Error("the slot serves in the middle of it")
			}
			stop()
			n.crash()
			n.tune = quick
			n.start()
			rebuilt := int64(1)
			if step == wire.RepairEnded {
				rebuilt = 0
			}
			n.heals(rebuilt)
			w.settled()
		})
	}
}

// What a catching slot has acknowledged survives a kill and the rest of the repair.
func TestEffectsDuringRepair(t *testing.T) {
	w := repairWorld(t, 3)
	n := w.node(2)
	places := boltPlaces(t, n.checkpointed())
	n.stop()
	quick := n.tune
	reached := n.killAt(wire.RepairSalvaged)
	flip(t, n.slotPath(repairP), places["value"])
	n.start()
	n.m.Load().disk.scrubNow(t)
	n.awaitStep(reached)
	a := w.node(1).put(keyIn(repairP, 500), "newer")
	e := request(wire.OpEffect, w.ring(), "kv", keyIn(repairP, 500), "")
	e.Effect = a.effect
	if b := n.ask(e); b.code != wire.OK {
		t.Fatalf("a catching slot refuses an effect: %v", b)
	}
	n.mustRefuse(keyIn(repairP, 500), wire.NotReadable)
	n.crash()
	n.tune = quick
	n.start()
	n.heals(1)
	n.mustGet(keyIn(repairP, 500), "newer")
}

// Two of three copies are damaged: both are rebuilt, and each of them gives the
// other what it has left, so that a write on those two alone is not lost.
func TestTwoCopiesDamaged(t *testing.T) {
	w := repairWorld(t, 3)
	for _, i := range []int{2, 3} { // a quorum without node 1
		w.node(i).mustPut(keyIn(repairP, 600), "of two")
	}
	for _, i := range []int{2, 3} {
		n := w.node(i)
		places := boltPlaces(t, n.checkpointed())
		n.stop()
		flip(t, n.slotPath(repairP), places["value"])
	}
	w.node(2).start()
	w.node(3).start()
	stop := w.readers()
	for _, i := range []int{2, 3} {
		w.node(i).m.Load().disk.scrubNow(t)
	}
	w.node(2).heals(1)
	w.node(3).heals(1)
	stop()
	for _, i := range []int{2, 3} {
		w.node(i).mustGet(keyIn(repairP, 600), "of two")
	}
}

// All copies are damaged: nobody takes an empty one for the truth. What is not
// damaged is served, the rest is refused with the place.
func TestAllCopiesDamaged(t *testing.T) {
	w := repairWorld(t, 3)
	for i := 1; i <= 3; i++ {
		n := w.node(i)
		places := boltPlaces(t, n.checkpointed())
		n.stop()
		flip(t, n.slotPath(repairP), places["meta"])
	}
	for i := 1; i <= 3; i++ {
		w.node(i).start()
	}
	for i := 1; i <= 3; i++ {
		n := w.node(i)
		n.m.Load().disk.scrubNow(t)
		w.until("it is known", func() bool { return len(n.m.Load().Faults()) == 1 })
	}
	for i := 1; i <= 3; i++ {
		n := w.node(i)
		w.until("a repair was tried", func() bool { return n.m.Load().FaultCounts().Failed > 1 })
		if a := n.get(keyIn(repairP, 0)); a.code != wire.Corrupt || !strings.Contains(a.String(), "kv/p0003.bolt") {
			t.Errorf("node %d: %v", i, a)
		}
		n.mustGet(keyIn(repairP+1, 0), "")
		if f := n.m.Load().Faults()[0]; f.State != FaultCorrupt || f.Partition != repairP || f.Service != "kv" || !strings.Contains(f.Reason, "meta page") {
			t.Errorf("node %d: %+v", i, f)
		}
	}
}

// The ring changes while a slot is rebuilt: another replica moves, the slot itself
// is to move, or goes away.
func TestRingChangesDuringRepair(t *testing.T) {
	for what, step := range map[string]ring.Step{
		"another moves": move(repairP, 2, 3, 4),
		"it moves":      move(repairP, 1, 2, 4),
		"it swaps":      swap(repairP, 0, 1, 1, 2),
		"another goes":  drop(repairP, 2, 3),
	} {
		t.Run(what, func(t *testing.T) {
			w := repairWorld(t, 4)
			n := w.node(2)
			places := boltPlaces(t, n.checkpointed())
			stop := w.readers()
			var once atomic.Bool
			begun := make(chan struct{})
			w.net.setHook(func(f *passing) treatment {
				if f.opened == wire.OpPull && !f.answer && !once.Swap(true) {
					close(begun) // the repair has come as far as that, and has to try again
					return sever
				}
				return deliver
			})
			flip(t, n.slotPath(repairP), places["value"])
			n.m.Load().disk.scrubNow(t)
			n.awaitStep(begun)
			s := w.begin(step)
			w.committed(s)
			w.settled()
			stop()
			for _, x := range w.ring().Assignments[repairP].Replicas {
				y := w.nodes[x.Node]
				w.until("whole", func() bool { return y.healthy(repairP, repairRecords) })
			}
			if faults := n.m.Load().Faults(); len(faults) > 0 {
				t.Errorf("%+v", faults)
			}
			if asides, _ := n.m.Load().disk.asides(); len(asides) > 0 {
				t.Errorf("%v", asides)
			}
		})
	}
}

// Of two replicas one is rebuilt, and the other is to go: it stays until the records
// are where they will be alone.
func TestReplicaGoesDuringRepair(t *testing.T) {
	w := newWorld(t, 3, 2, quickRepairs)
	w.replicate(repairP, repairRecords)
	n := w.node(1)
	places := boltPlaces(t, n.checkpointed())
	var blocked atomic.Bool
	blocked.Store(true)
	begun := make(chan struct{})
	var once atomic.Bool
	w.net.setHook(func(f *passing) treatment {
		if f.opened != wire.OpPull || !blocked.Load() {
			return deliver
		}
		if !once.Swap(true) {
			close(begun)
		}
		return sever
	})
	flip(t, n.slotPath(repairP), places["value"])
	n.m.Load().disk.scrubNow(t)
	n.awaitStep(begun)
	w.begin(drop(repairP, 1, 2))
	w.until("the drop was tried", func() bool { return strings.Contains(w.node(2).log.String(), "is rebuilt first") })
	if len(w.state().open) != 1 {
		t.Fatal("the last whole copy has gone")
	}
	blocked.Store(false)
	w.until("it has gone", func() bool { return len(w.state().open) == 0 })
	w.settled()
	n.heals(1)
}

// Damage that nobody has noticed is, before the other replica goes.
func TestReplicaGoesFromDamagedOne(t *testing.T) {
	w := newWorld(t, 3, 2, quickRepairs)
	w.replicate(repairP, repairRecords)
	n := w.node(1)
	places := boltPlaces(t, n.checkpointed())
	w.replicate(repairP, repairRecords) // newer versions are in the tables: nobody reads the file
	flip(t, n.slotPath(repairP), places["value"])
	w.do(drop(repairP, 1, 2))
	n.heals(1)
}
