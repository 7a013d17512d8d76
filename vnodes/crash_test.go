package vnodes

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// stopAt stops the first frame that is meant until its stream breaks, and tells
// when it has come.
func (w *world) stopAt(meant func(*passing) bool) (reached <-chan struct{}) {
	came := make(chan struct{})
	var once atomic.Bool
	w.net.setHook(func(f *passing) treatment {
		if f.opened != wire.OpHandoff || !meant(f) || !once.CompareAndSwap(false, true) {
			return deliver
		}
		close(came)
		<-f.link.closed
		return sever
	})
	return came
}

// proposals gives proposals their fate, and tells of each.
func (w *world) proposals(f fate) (proposed <-chan Session) {
	came := make(chan Session, 100)
	w.setFate(func(n *simNode, s Session) fate {
		if f == lostAfter {
			n.view.Load().deaf.Store(true) // nor does it hear of it otherwise
			n.view.Load().alone.Store(true)
		}
		came <- s
		return f
	})
	return came
}

const (
	crashP       = 4
	crashRecords = 60
)

// crashWorld has a partition with records on node 1, and a history of one other move.
func crashWorld(t *testing.T) (w *world, source, target *simNode) {
	t.Helper()
	w = newWorld(t, 3, 1, smallChunks)
	w.guardOwners()
	w.node(1).fill(crashP, crashRecords)
	return w, w.node(1), w.node(2)
}

// The source crashes before it has proposed: it serves again, and the transfer
// begins anew.
func TestSourceCrashesBeforeProposal(t *testing.T) {
	for name, meant := range map[string]func(*passing) bool{
		"opening":  func(f *passing) bool { return f.n == 0 },
		"mid-fold": func(f *passing) bool { return f.n == 5 },
		"sealed":   func(f *passing) bool { return f.end() },
		"ready":    func(f *passing) bool { return f.ready() },
	} {
		for _, aborted := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " aborted ", aborted), func(t *testing.T) {
				w, a, b := crashWorld(t)
				reached := w.stopAt(meant)
				w.begin(move(crashP, 0, 1, 2))
				<-reached
				a.crash()
				b.mustRefuse(keyIn(crashP, 0), wire.Moved)
				if aborted {
					w.abort("s001")
				}
				a.start()
				if aborted {
					a.filled(crashP, crashRecords)
					w.settled()
					w.begin(move(crashP, 0, 1, 2))
				}
				w.until("moved", func() bool { return len(w.state().open) == 0 })
				w.settled()
				b.filled(crashP, crashRecords)
			})
		}
	}
}

// The source crashes after its note of the proposal, and the proposal is lost: it
// answers nothing until it knows what became of it.
func TestSourceCrashesWithProposalLost(t *testing.T) {
	for _, aborted := range []bool{false, true} {
		t.Run(fmt.Sprint("aborted ", aborted), func(t *testing.T) {
			w, a, b := crashWorld(t)
			asked := w.proposals(lostBefore)
			w.begin(move(crashP, 0, 1, 2))
			<-asked
			a.crash()
			before := w.state()
			if aborted {
				w.abort("s001")
			}
			a.startAt(before)
			a.view.Load().alone.Store(true)
			held, _ := a.send(request(wire.OpRead, before.ring, "kv", keyIn(crashP, 0), ""))
			<-asked // it asks again
			w.until("the gate is shut", func() bool { return a.phase(crashP) == proposed })
			select {
			case got := <-held:
				t.Fatalf("answered while the outcome is not known: %v", got)
			default:
			}
			w.setFate(nil)
			a.view.Load().alone.Store(false)
			a.view.Load().learn(w.state())
			if aborted {
				if got := <-held; got.code != wire.OK || string(got.body[8:]) != "value0" {
					t.Fatalf("after the abort: %v", got)
				}
				a.filled(crashP, crashRecords)
				w.settled()
				return
			}
			if got := <-held; got.code != wire.Moved {
				t.Fatalf("after the commit: %v", got)
			}
			w.settled()
			b.filled(crashP, crashRecords)
		})
	}
}

// The source crashes after its proposal was committed, and comes back with the
// metadata of before: it answers nothing, and then MOVED.
func TestSourceCrashesWithProposalCommitted(t *testing.T) {
	w, a, b := crashWorld(t)
	before := w.state()
	asked := w.proposals(lostAfter)
	w.begin(move(crashP, 0, 1, 2))
	began := w.state()
	<-asked
	w.until("committed", func() bool { return w.state().ended["s001"] })
	a.crash()
	b.filled(crashP, crashRecords)
	b.mustPut(keyIn(crashP, 0), "newer")

	for _, st := range []*simState{before, began} {
		w.setFate(func(*simNode, Session) fate { return lostBefore })
		a.startAt(st)
		a.view.Load().deaf.Store(true)
		a.view.Load().alone.Store(true)
		held, _ := a.send(request(wire.OpRead, st.ring, "kv", keyIn(crashP, 0), ""))
		write, _ := a.send(request(wire.OpCommand, st.ring, "kv", keyIn(crashP, 0), "put wrong"))
		w.until("the node is at work", func() bool { return len(a.log.String()) > 0 })
		for _, c := range []<-chan answer{held, write} {
			select {
			case got := <-c:
				if got.code == wire.OK {
					t.Fatalf("answered: %v", got)
				}
			default:
			}
		}
		if ph := a.phase(crashP); ph == serving || ph == sealed {
			t.Fatalf("phase %d", ph)
		}
		a.crash()
	}
	w.setFate(nil)
	a.start()
	w.settled()
	b.mustGet(keyIn(crashP, 0), "newer")
	a.mustRefuse(keyIn(crashP, 0), wire.Moved)
}

// The source has handed its slot on and forgotten it. Then it crashes and comes back
// with the metadata of before: it must not serve an empty slot.
func TestSourceCrashesAfterCleanUp(t *testing.T) {
	w, a, b := crashWorld(t)
	before := w.state()
	w.do(move(crashP, 0, 1, 2))
	a.crash()
	a.startAt(before)
	a.view.Load().deaf.Store(true)
	a.view.Load().alone.Store(true)
	for _, op := range []wire.Op{wire.OpRead, wire.OpCommand} {
		if got := a.ask(request(op, before.ring, "kv", keyIn(crashP, 0), "put wrong")); got.code != wire.Behind && got.code != wire.Moved { // Moved if it was quick to ask
			t.Errorf("operation %d: %v", op, got)
		}
	}
	if err := a.m.Load().Cover(t.Context(), &wire.CoverCall{
		Service: wire.ServiceID("kv"), Partition: crashP, Gen: 1, Epoch: 1,
	}, nil); asError(err).Code != wire.Behind && asError(err).Code != wire.Moved {
		t.Errorf("coverage: %v", err)
	}
	a.view.Load().deaf.Store(false)
	a.view.Load().alone.Store(false)
	w.settled() // it asks for the newer metadata by itself
	a.mustRefuse(keyIn(crashP, 0), wire.Moved)
	b.filled(crashP, crashRecords)
	a.fill(crashP+1, 3)
}

// The metadata remembers no ended session any more when the source comes back: the
// ring itself says how its proposal ended.
func TestProposalEndedLongAgo(t *testing.T) {
	for _, committed := range []bool{false, true} {
		t.Run(fmt.Sprint("committed ", committed), func(t *testing.T) {
			w, a, b := crashWorld(t)
			asked := w.proposals(lostBefore)
			w.begin(move(crashP, 0, 1, 2))
			<-asked
			a.crash()
			if err := w.end("s001", committed); err != nil {
				t.Fatal(err)
			}
			w.setFate(nil)
			w.forget()
			a.start()
			w.settled()
			owner := a
			if committed {
				owner = b
			}
			owner.filled(crashP, crashRecords)
		})
	}
}

// A session is aborted with its outcome unknown to the source, and the next one for
// the partition begins at once: it waits for the first one's outcome, and does not
// take its data for handed over.
func TestNextSessionWaitsForUndecidedOne(t *testing.T) {
	w := newWorld(t, 3, 1, smallChunks)
	a, c := w.node(1), w.node(3)
	a.fill(crashP, crashRecords)
	asked := w.proposals(lostBefore)
	w.begin(move(crashP, 0, 1, 2))
	<-asked
	for range 3 {
		<-asked // the driver is in its waits now, up to a second
	}
	w.abort("s001")
	s := w.begin(move(crashP, 0, 1, 3))
	w.setFate(nil)
	w.committed(s)
	w.settled()
	c.filled(crashP, crashRecords)
}
