package vnodes

import (
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// What waits in a node that is about to stop does not run any more, neither what is queued
// nor what a switch holds: its caller, whose connection is closed next, asks another node,
// and what that one and others write there must not be replaced from here.
func TestLastCommands(t *testing.T) {
	goOn, begun := make(chan struct{}), make(chan struct{}, 1)
	w, n := oneNode(t, 1, func(ring.Partition) Vnode { return &blocker{goOn: goOn, begun: begun} })
	n.mustPut("a", "1")
	n.mustPut("b", "1")
	n.sealSlot(partitionOf("b"), serving, sealed)
	held, _ := n.send(request(wire.OpCommand, w.ring(), "kv", "b", "put held"))
	running, _ := n.send(request(wire.OpCommand, w.ring(), "kv", "a", "wait"))
	<-begun
	queued, _ := n.send(request(wire.OpCommand, w.ring(), "kv", "a", "put queued"))
	m := n.m.Load()
	done := make(chan struct{})
	go func() {
		m.LastCommands()
		close(done)
	}()
	w.until("no command begins any more", m.last.Load)
	select {
	case <-done:
		t.Fatal("it did not wait for the command that runs")
	default:
	}
	close(goOn)
	<-done
	if got := <-running; got.code != wire.OK {
		t.Errorf("the one that ran: %v", got)
	}
	n.sealSlot(partitionOf("b"), sealed, serving)
	for what, answered := range map[string]<-chan answer{"queued": queued, "held": held} {
		if got := <-answered; got.code != wire.ShuttingDown {
			t.Errorf("the one %s: %v", what, got)
		}
	}
	if got := n.put("a", "late"); got.code != wire.ShuttingDown {
		t.Errorf("one that comes now: %v", got)
	}
	n.mustGet("a", "1")
	n.mustGet("b", "1")
}
