package dataplane

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// gate has the vnodes of some nodes answer what gate does not let pass.
func (c *fakeCluster) gate(nodes []ring.NodeID, gate func(r *wire.Request) wire.Code) {
	for _, id := range nodes {
		l := c.nodes[id].local
		l.mu.Lock()
		l.gate = gate
		l.mu.Unlock()
	}
}

// full makes the disks of some nodes refuse what writes.
func (c *fakeCluster) full(nodes ...ring.NodeID) {
	c.gate(nodes, func(r *wire.Request) wire.Code {
		if r.Op != wire.OpRead {
			return wire.DiskFull
		}
		return wire.OK
	})
}

// A coordinator without room on its disk has another replica coordinate, also a
// command that may not run twice: it surely did not run.
func TestFullCoordinatorPassesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
		c.full("a")
		for _, at := range []ring.NodeID{"a", "x"} {
			got, err := c.command(at, "add")
			wantOK(t, err)
			if got == "done by a" {
				t.Error(got)
			}
		}
	})
}

// Replicas whose disks are full do not count, and the caller hears why.
func TestFullReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		c.full("c")
		_, err := c.command("a", "put 1")
		wantOK(t, err)
		_, err = c.command("a", "put 2", want(wire.QuorumAll))
		wantCode(t, err, wire.QuorumNotMet, "reached 2 of 3 (3 slots); node c: gate")
		c.full("b")
		_, err = c.command("a", "put 3")
		wantCode(t, err, wire.QuorumNotMet, "reached 1 of 2 (3 slots); node ")
		c.full("a")
		_, err = c.command("a", "put 4")
		wantCode(t, err, wire.DiskFull, "gate")
	})
}

// An owner alone whose disk is full is the last word, at once: nobody may stand in
// for a node that is there.
func TestFullOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, withOwners(abc("a"), "f", "g"), "a", "f", "g", "x")
		c.full("a")
		for _, at := range []ring.NodeID{"a", "f", "x"} {
			for _, cmd := range []string{"put 1", "add"} {
				begun := time.Now()
				_, err := c.command(at, cmd)
				wantCode(t, err, wire.DiskFull, "gate")
				if took := time.Since(begun); took > countFor {
					t.Errorf("%s at %s took %v", cmd, at, took)
				}
			}
			_, err := c.query(at)
			wantOK(t, err)
		}
		if n := c.frames(fmt.Sprintf("flags=%d ", wire.FlagFallback|wire.FlagNoHop)); n != 0 {
			t.Errorf("a fallback was asked %d times", n)
		}
	})
}
