package dataplane

import (
	"testing"
	"testing/synctest"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Past its bounds a node refuses operations at once, and counts each in and out once,
// however it ends.
func TestOperationsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
		load := &c.nodes["a"].router.load
		load.operations.Store(maxOperations)
		_, err := c.command("a", "put v")
		wantCode(t, err, wire.Overload, "requests are under way")
		load.operations.Store(0)
		load.bytes.Store(maxOperationBytes)
		_, err = c.command("a", "put v")
		wantCode(t, err, wire.Overload, "bytes are under way")
		load.bytes.Store(0)
		for _, cmd := range []string{"put v", "add", "nop", "what", "del"} {
			_, _ = c.command("a", cmd)
			_, _ = c.command("x", cmd)
		}
		_, _ = c.query("a")
		c.nodes["b"].down.Store(true)
		c.nodes["c"].down.Store(true)
		_, err = c.command("a", "put v")
		wantCode(t, err, wire.QuorumNotMet, "")
		synctest.Wait()
		for id, x := range c.nodes {
			if n, bytes := x.router.load.operations.Load(), x.router.load.bytes.Load(); n != 0 || bytes != 0 {
				t.Errorf("node %s: %d operations of %d bytes are left", id, n, bytes)
			}
		}
		if c.nodes["x"].local.runs != 0 {
			t.Error("x has run a command")
		}
	})
}

// A value larger than all the room there is passes when it is alone.
func TestLoneOperationHasRoom(t *testing.T) {
	var l load
	huge := wire.Call{Body: make([]byte, maxOperationBytes+1)}
	if err := l.take(&huge); err != nil {
		t.Error(err)
	}
	if err := l.take(&wire.Call{Body: []byte("v")}); err == nil || err.Code != wire.Overload {
		t.Errorf("another one beside it: %v", err)
	}
	l.give(&huge)
	if err := l.take(&wire.Call{Body: []byte("v")}); err != nil {
		t.Error(err)
	}
}
