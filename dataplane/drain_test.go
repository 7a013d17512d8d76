package dataplane

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// drain marks nodes as about to stop, for all.
func (c *fakeCluster) drain(ids ...ring.NodeID) {
	for _, x := range c.nodes {
		x.router.drain = func(id ring.NodeID) bool { return slices.Contains(ids, id) }
	}
}

// A node that is about to stop leaves what comes to it to another replica, is asked by
// nobody, and still takes the effects; when there is nobody else it coordinates itself.
func TestDrainingNodeDoesNotCoordinate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
		c.drain("a")
		for range 6 {
			for _, at := range []ring.NodeID{"a", "x"} {
				got, err := c.command(at, "put v", want(wire.QuorumAll))
				wantOK(t, err)
				if got != "done by b" && got != "done by c" {
					t.Fatalf("at %s: %s", at, got)
				}
				if v, err := c.query(at); err != nil || v != "v" {
					t.Fatalf("at %s: %q, %v", at, v, err)
				}
			}
		}
		if v := c.nodes["a"].value("k", ""); v != "v" {
			t.Errorf("its replica holds %q", v)
		}
		c.nodes["b"].down.Store(true)
		c.nodes["c"].down.Store(true)
		if got, err := c.command("a", "put w", want(1)); err != nil || got != "done by a" {
			t.Errorf("alone: %s, %v", got, err)
		}
		c.nodes["b"].down.Store(false)
		c.drain("a", "b")
		if got, err := c.command("a", "put u", want(1)); err != nil || got != "done by a" {
			t.Errorf("with another one that is about to stop: %s, %v", got, err)
		}
	})
}

// With one replica there is nobody to leave it to.
func TestDrainingOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, abc("a"), "a", "b")
		c.drain("a")
		for _, at := range []ring.NodeID{"a", "b"} {
			if got, err := c.command(at, "put v"); err != nil || got != "done by a" {
				t.Errorf("at %s: %s, %v", at, got, err)
			}
		}
	})
}

// AT16 of the original: a node that is flagged out is in no coverage plan, and the answer
// is whole; it is read all the same when too few others can be.
func TestDrainingNodeIsNotCovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
		c.fill(5, "a", "b", "c")
		c.drain("a")
		var mu sync.Mutex
		asked := make(map[ring.NodeID]int)
		x := c.nodes["x"]
		x.router.open = func(ctx context.Context, to ring.NodeID) (FrameStream, error) {
			mu.Lock()
			asked[to]++
			mu.Unlock()
			return x.openStream(ctx, to)
		}
		whole := func() {
			t.Helper()
			got, res, err := c.cover(t.Context(), "x", CoverOptions{})
			wantOK(t, err)
			if got.wantAll(t, 5); !res.Complete {
				t.Errorf("%+v", res)
			}
		}
		whole()
		if asked["a"] > 0 || asked["b"] == 0 || asked["c"] == 0 {
			t.Errorf("asked %v", asked)
		}
		c.nodes["b"].down.Store(true)
		whole()
		if asked["a"] == 0 {
			t.Errorf("asked %v, and too few others are up", asked)
		}
	})
}
