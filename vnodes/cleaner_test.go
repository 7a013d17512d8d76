package vnodes

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// The source keeps its copy until the target confirms, also when others of the
// partition's replicas would.
func TestSourceKeepsCopyUntilTargetConfirms(t *testing.T) {
	w := newWorld(t, 3, 2)
	const p = 6
	a, c := w.node(1), w.node(3)
	a.fill(p, 20)
	hasCopy := func() bool { return len(a.m.Load().journal.Files()) > 0 }
	// The target is gone as soon as it is ready, and for good as far as anybody knows.
	w.setFate(func(*simNode, Session) fate { c.crash(); return applied })
	w.committed(w.begin(move(p, 0, 1, 3)))
	w.setFate(nil)
	w.until("the source has tried to clean up", func() bool {
		return strings.Contains(a.log.String(), "copy kept until its new owner confirms")
	})
	if !hasCopy() {
		t.Fatal("the source has dropped its copy, and the target is down")
	}
	c.start()
	w.settled()
	if hasCopy() {
		t.Fatal("the source keeps its copy for ever")
	}
	c.filled(p, 20)
}

// A node that cleans up by an old ring is told so by those it asks.
func TestConfirmComparesGens(t *testing.T) {
	w := newWorld(t, 3, 1)
	const p = 6
	w.node(1).fill(p, 5)
	w.do(move(p, 0, 1, 2))
	b := w.node(2).m.Load()
	svc := b.services[wire.ServiceID("kv")]
	if err := b.confirm(t.Context(), svc, w.states[0].ring, p, nodeID(2)); asError(err).Code != wire.Stale {
		t.Errorf("asked with gen 1: %v", err)
	}
	if err := w.node(3).m.Load().confirm(t.Context(), svc, w.ring(), p, nodeID(2)); err != nil {
		t.Errorf("asked with the gen in force: %v", err)
	}
}

// The source's clean-up has its answer on the way when the slot comes back to the
// source: the file that is there now is not the one that was to go.
func TestCleanUpMeetsReturnedSlot(t *testing.T) {
	w := newWorld(t, 2, 1)
	const p, records = 6, 20
	w.node(1).fill(p, records)
	asked, goOn := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	w.net.setHook(func(f *passing) treatment {
		if f.opened == wire.OpConfirm && f.answer && f.from == nodeID(1) && !once.Swap(true) {
			close(asked)
			<-goOn
		}
		return deliver
	})
	w.committed(w.begin(move(p, 0, 1, 2)))
	<-asked
	w.committed(w.begin(move(p, 0, 2, 1)))
	w.node(1).mustPut(keyIn(p, 0), "since it is back")
	close(goOn)
	w.settled()
	w.node(1).mustGet(keyIn(p, 0), "since it is back")
	w.node(1).mustGet(keyIn(p, 1), "value1")
}
