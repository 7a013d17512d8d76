package dataplane

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// justBack is the gate of a node that waits for hints, which take a second of the bubble's time.
func justBack(r *wire.Request) wire.Code {
	switch {
	case r.Op != wire.OpCommand:
		return wire.OK
	case r.Hasty:
		return wire.NotReadable
	}
	time.Sleep(time.Second)
	return wire.OK
}

// A node that is just back and waits for what others have taken for it holds no command that
// another one may run; if all are just back, they hold it until one is ready.
func TestWhoIsJustBackCoordinatesNothing(t *testing.T) {
	for name, back := range map[string][]ring.NodeID{"one": {"a"}, "all": {"a", "b", "c"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
				for _, id := range back {
					c.nodes[id].local.gate = justBack
				}
				begun := time.Now()
				got, err := c.command("a", "put 1")
				wantOK(t, err)
				if took := time.Since(begun); (took < time.Second) == (len(back) == 3) || took > 2*time.Second {
					t.Errorf("%q after %v", got, took)
				}
			})
		})
	}
}

// What it has left to another one, which does not know yet that it is back and so finds no
// majority, it runs itself when it is ready.
func TestWhoIsJustBackTakesUpWhatItHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		c.nodes["c"].down.Store(true)
		c.nodes["b"].router.up = func(id ring.NodeID) bool { return id == "b" }
		c.nodes["a"].local.gate = justBack
		_, err := c.command("a", "put 1")
		wantOK(t, err)
	})
}
