package dataplane

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// wantRepairs checks what the repairs of a node's router came to.
func (c *fakeCluster) wantRepairs(at ring.NodeID, want RepairCounts) {
	c.t.Helper()
	if got := c.nodes[at].router.Repairs(); got != want {
		c.t.Errorf("repairs at %s: %+v, want %+v", at, got, want)
	}
}

// Replicas that differ are made equal after the read has been answered, also one that
// the read did not ask; a replica that has nothing is one that differs.
func TestReadRepair(t *testing.T) {
	for name, holds := range map[string]map[ring.NodeID]uint64{
		"one is old":        {"a": 1, "b": 2, "c": 2},
		"one has nothing":   {"b": 2, "c": 2},
		"all differ":        {"a": 1, "b": 2},
		"a tombstone is as": {"a": 1, "b": 3, "c": 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
				for id, at := range holds {
					c.nodes[id].put(partitionOf("k"), "k", fmt.Sprint(at), at, at == 3)
				}
				begun := time.Now()
				for range 2 { // whichever two are asked
					_, err := c.query("a")
					wantOK(t, err)
				}
				if took := time.Since(begun); took > 0 {
					t.Errorf("the reads took %v", took)
				}
				time.Sleep(time.Second)
				for _, id := range []ring.NodeID{"a", "b", "c"} {
					l := c.nodes[id].local
					l.mu.Lock()
					if got, newest := l.slots[partitionOf("k")]["k"].Stamp.Time, max(holds["a"], holds["b"], holds["c"]); got != newest {
						t.Errorf("%s holds version %d, the newest is %d", id, got, newest)
					}
					l.mu.Unlock()
				}
				if n := c.frames("op=16 flags=2"); n != 0 {
					t.Errorf("%d effects say that they are new writes", n)
				}
				before := len(c.sent)
				_, err := c.query("a")
				wantOK(t, err)
				time.Sleep(time.Second)
				if n := len(c.sent) - before; n != 1 {
					t.Errorf("replicas that are equal: %d frames", n)
				}
			})
		})
	}
}

// A service that answers NotFound where it has nothing is repaired as well.
func TestReadRepairOfNotFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		c.nodes["b"].put(partitionOf("k"), "k", "v", 1, false)
		for _, id := range []ring.NodeID{"a", "c"} {
			l := c.nodes[id].local
			l.gate = func(r *wire.Request) wire.Code {
				l.mu.Lock()
				defer l.mu.Unlock()
				if _, ok := l.slots[partitionOf("k")]["k"]; !ok && r.Op == wire.OpRead && r.Flags&wire.FlagRecords == 0 {
					return wire.NotFound
				}
				return wire.OK
			}
		}
		for range 3 {
			_, _ = c.query("a")
			time.Sleep(time.Second)
		}
		for id, x := range c.nodes {
			if got := x.value("k", ""); got != "v" {
				t.Errorf("%s holds %q", id, got)
			}
		}
	})
}

// Replicas that differ because a write is on its way are equal when they are compared;
// a key that is read all the time is repaired once at a time.
func TestReadRepairOfWriteUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		c.nodes["a"].put(partitionOf("k"), "k", "2", 2, false)
		time.AfterFunc(repairAfter/2, func() {
			for _, id := range []ring.NodeID{"b", "c"} {
				c.nodes[id].put(partitionOf("k"), "k", "2", 2, false)
			}
		})
		for range 100 {
			_, err := c.query("a")
			wantOK(t, err)
		}
		time.Sleep(time.Minute)
		c.wantRepairs("a", RepairCounts{Compared: 1})
		if n := c.frames("op=16"); n != 0 {
			t.Errorf("%d effects", n)
		}
	})
}

// Only readable slots whose nodes are up take part; without two of them there is
// nothing to compare.
func TestReadRepairAsksReadableSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 5, withOwners(abc("a", "b", "c*", "d", "e"), "f"), "a", "b", "c", "d", "e", "f")
		c.nodes["d"].down.Store(true)
		c.nodes["a"].put(partitionOf("k"), "k", "1", 1, false)
		_, err := c.query("a", want(3))
		wantOK(t, err)
		time.Sleep(time.Second)
		for _, x := range []struct {
			node ring.NodeID
			want string
		}{{"b", "1"}, {"e", "1"}, {"c", ""}, {"d", ""}} {
			if got := c.nodes[x.node].value("k", ""); got != x.want {
				t.Errorf("%s holds %q", x.node, got)
			}
		}
		c.wantRepairs("a", RepairCounts{Compared: 1, Brought: 2})
		if n := c.frames(">f"); n != 0 {
			t.Errorf("the fallback was sent %d frames", n)
		}

		c.nodes["a"].put(partitionOf("k"), "k", "2", 2, false)
		_, err = c.query("a", want(3))
		wantOK(t, err)
		for _, id := range []ring.NodeID{"b", "e"} {
			c.nodes[id].down.Store(true)
		}
		time.Sleep(time.Second)
		c.wantRepairs("a", RepairCounts{Compared: 1, Brought: 2})
	})
}

// Repairs are few at a time and wait in a bounded queue; what is beyond it is dropped
// and counted. Closing the router ends those under way.
func TestReadRepairIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		var open, most atomic.Int32
		hung := func(r *wire.Request) wire.Code {
			if r.Flags&wire.FlagRecords != 0 {
				most.Store(max(most.Load(), open.Add(1)))
				time.Sleep(time.Minute)
				open.Add(-1)
			}
			return wire.OK
		}
		c.nodes["a"].local.gate = hung
		const keys = repairsQueued + 100
		for i := range keys {
			key := fmt.Sprint("key ", i)
			c.nodes["a"].put(partitionOf(key), key, "1", 1, false)
			_, err := c.query("a", func(call *wire.Call) { call.Key = []byte(key) })
			wantOK(t, err)
		}
		time.Sleep(time.Second)
		got := c.nodes["a"].router.Repairs()
		if most.Load() != repairsAtOnce || got.Dropped == 0 || got.Dropped > keys-repairsQueued {
			t.Errorf("%d at once, %+v", most.Load(), got)
		}
		begun := time.Now()
		c.nodes["a"].router.Close()
		if took := time.Since(begun); took > 0 {
			t.Errorf("closed after %v", took)
		}
		time.Sleep(time.Hour)
	})
}
