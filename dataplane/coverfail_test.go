package dataplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// keepHint places a record for key "k" among what a node keeps for owner.
func (x *fakeNode) keepHint(owner ring.NodeID, value string, time uint64) {
	x.local.mu.Lock()
	defer x.local.mu.Unlock()
	if x.local.hints[owner] == nil {
		x.local.hints[owner] = make(items)
	}
	x.local.hints[owner]["k"] = wire.Item{Key: []byte("k"), Stamp: wire.Stamp{Time: time}, Value: []byte(value)}
}

// A write that one slot and one fallback have acknowledged is in the answer, although
// the slot is down and the others have never heard of it. So is, with one replica, what
// a fallback still keeps for an owner that is back.
func TestCoverSeesHints(t *testing.T) {
	for _, n := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeCluster(t, n, withOwners(abc("a", "b", "c"), "x"), "a", "b", "c", "x")
			c.nodes["x"].keepHint("b", "new", 9)
			for _, at := range []ring.NodeID{"a", "b", "x"} {
				got, res, err := c.cover(t.Context(), at, CoverOptions{})
				wantOK(t, err)
				if !res.Complete || !slices.Equal(got[partitionOf("k")], []string{"k=new"}) {
					t.Errorf("n=%d at %s: %+v, %v", n, at, res, got)
				}
			}
		})
	}
}

// Hints that are delivered when their turn comes are found where they have gone, also
// if that slot was asked before.
func TestCoverWhileHintsAreDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, withOwners(abc("a", "b", "c"), "x"), "a", "b", "c", "x")
		p := partitionOf("k")
		c.nodes["b"].put(p, "first", "v", 1, false)
		x := c.nodes["x"]
		x.keepHint("b", "new", 9)
		x.local.coverGate = func(call *wire.CoverCall, _ int) error {
			if call.For == "" {
				return nil
			}
			c.nodes["b"].put(p, "k", "new", 9, false)
			x.local.mu.Lock()
			clear(x.local.hints)
			x.local.mu.Unlock()
			return wire.Errorf(wire.Moved, "they have gone")
		}
		got, res, err := c.cover(t.Context(), "b", CoverOptions{})
		wantOK(t, err)
		if !res.Complete || !slices.Equal(got[p], []string{"first=v", "k=new"}) {
			t.Errorf("%+v, %v", res, got[p])
		}
	})
}

// No slot is read before the hints have been found to be there: else they could reach the
// slot behind the query's back, and make room for others.
func TestCoverReadsHintsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, withOwners(abc("a", "b", "c"), "x"), "a", "b", "c", "x")
		p := partitionOf("k")
		c.nodes["x"].keepHint("b", "new", 9)
		var begun, early atomic.Bool
		for id, n := range c.nodes {
			if id != "x" {
				n.put(p, "k", "old", 1, false)
			}
			n.local.coverGate = func(call *wire.CoverCall, _ int) error {
				if call.For != "" {
					time.Sleep(time.Second)
					begun.Store(true)
				} else if ring.Partition(call.Partition) == p && !begun.Load() {
					early.Store(true)
				}
				return nil
			}
		}
		got, res, err := c.cover(t.Context(), "c", CoverOptions{})
		wantOK(t, err)
		if !res.Complete || early.Load() || !slices.Equal(got[p], []string{"k=new"}) {
			t.Errorf("%+v, %v, a slot first: %v", res, got[p], early.Load())
		}
	})
}

// Hints that cannot be read do not keep the slots' records back.
func TestCoverWithoutUnreadableHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
		c.fill(3, "a", "b", "c")
		c.nodes["a"].keepHint("b", "new", 9)
		c.nodes["a"].local.coverGate = func(call *wire.CoverCall, _ int) error {
			if call.For != "" {
				return wire.Errorf(wire.Corrupt, "a page is damaged")
			}
			return nil
		}
		got, res, err := c.cover(t.Context(), "c", CoverOptions{})
		wantOK(t, err)
		got.wantAll(t, 3)
		if !res.Complete {
			t.Errorf("%+v", res)
		}
	})
}

// fiveNodes is a ring of partitions on n nodes each, which follow each other.
func fiveNodes(n int) *ring.Ring {
	g := abc("a")
	for p := range g.Assignments {
		g.Assignments[p] = ring.Assignment{Gen: 5}
		for i := range n {
			g.Assignments[p].Replicas = append(g.Assignments[p].Replicas, ring.Replica{Node: ring.NodeID("abcde"[(p+i)%5:][:1])})
		}
	}
	return g
}

// fillAll puts n keys into each partition of every node that has a place in it.
func (c *fakeCluster) fillAll(n int) {
	for p, a := range c.newest.Assignments {
		for _, x := range a.Replicas {
			for i := range n {
				c.nodes[x.Node].put(ring.Partition(p), fmt.Sprintf("%d/%03d", p, i), "v", 5, false)
			}
		}
	}
}

// Of five nodes one dies: complete. Two, with two replicas: those partitions that both
// held are named, and the others are there.
func TestCoverFiveNodes(t *testing.T) {
	for _, n := range []int{2, 3} {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeCluster(t, n, fiveNodes(n), "a", "b", "c", "d", "e")
			c.fillAll(4)
			c.nodes["a"].down.Store(true)
			got, res, err := c.cover(t.Context(), "d", CoverOptions{})
			wantOK(t, err)
			got.wantAll(t, 4)
			if !res.Complete {
				t.Errorf("n=%d, a is down: %+v", n, res)
			}
			c.nodes["b"].down.Store(true)
			got, res, err = c.cover(t.Context(), "d", CoverOptions{})
			wantOK(t, err)
			var want []ring.Partition
			for p, a := range c.newest.Assignments {
				up := 0
				for _, x := range a.Replicas {
					if x.Node != "a" && x.Node != "b" {
						up++
					}
				}
				if up < coverQuorum(wire.QuorumDefault, n) {
					want = append(want, ring.Partition(p))
				} else if len(got[ring.Partition(p)]) != 4 {
					t.Errorf("n=%d: partition %d: %v", n, p, got[ring.Partition(p)])
				}
			}
			if len(want) == 0 || res.Complete || !slices.Equal(res.Missing, want) {
				t.Errorf("n=%d, a and b are down: %+v, want %v missing", n, res, want)
			}
			if _, res, err = c.cover(t.Context(), "d", CoverOptions{R: 1}); n == 3 && (err != nil || !res.Complete || !res.Reduced) {
				t.Errorf("from one replica of 3: %+v, %v", res, err)
			}
		})
	}
}

// What cannot be had whole is said soon, and what there is of it comes nevertheless.
func TestCoverTooFewReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		c.fill(2, "a", "b", "c")
		c.nodes["b"].down.Store(true)
		c.nodes["c"].down.Store(true)
		begun := time.Now()
		got, res, err := c.cover(t.Context(), "a", CoverOptions{Parallel: 1})
		wantOK(t, err)
		got.wantAll(t, 2)
		if took := time.Since(begun); len(res.Missing) != 8 || took > 2*patience {
			t.Errorf("%+v after %v", res, took)
		}
	})
}

// A node that hangs (its connections stay, nothing comes) is replaced within little
// more than a second, wherever it stands still.
func TestCoverHungPeer(t *testing.T) {
	for _, after := range []int{0, 10} {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
			c.fill(20, "a", "b", "c")
			var hung atomic.Bool
			c.meddle = func(_, to ring.NodeID, _ wire.Header, _ []byte) (wire.Frame, error, bool) {
				if to != "b" || !hung.Load() {
					return wire.Frame{}, nil, false
				}
				time.Sleep(time.Hour)
				return wire.Frame{}, nil, true
			}
			c.nodes["b"].local.coverGate = func(_ *wire.CoverCall, n int) error {
				if n == after {
					hung.Store(true)
					time.Sleep(time.Hour)
				}
				return nil
			}
			begun := time.Now()
			got, res, err := c.cover(t.Context(), "a", CoverOptions{})
			wantOK(t, err)
			got.wantAll(t, 20)
			if took := time.Since(begun); !res.Complete || took > 3*probeAfter {
				t.Errorf("%+v after %v", res, took)
			}
			time.Sleep(2 * time.Hour)
		})
	}
}

// joined is a merge of items that keeps all words of both, and lives if one does.
func joined(_ []byte, a, b *wire.Item) (wire.Item, error) {
	it := *a
	if b.Stamp.Compare(a.Stamp) > 0 {
		it = *b
	}
	words := strings.Fields(string(a.Value) + " " + string(b.Value))
	slices.Sort(words)
	it.Value = []byte(strings.Join(slices.Compact(words), " "))
	it.Deleted = a.Deleted && b.Deleted
	return it, nil
}

func TestCoverMergesItemsByRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
		c.info.MergeItems = joined
		c.nodes["a"].put(3, "k", "one", 1, false)
		c.nodes["b"].put(3, "k", "two", 2, false)
		c.nodes["c"].put(3, "k", "three", 3, true)
		got, _, err := c.cover(t.Context(), "x", CoverOptions{R: 3})
		wantOK(t, err)
		if !slices.Equal(got[3], []string{"k=one three two"}) {
			t.Errorf("%v", got[3])
		}
		broken := errors.New("no such item")
		c.info.MergeItems = func([]byte, *wire.Item, *wire.Item) (wire.Item, error) { return wire.Item{}, broken }
		if _, _, err := c.cover(t.Context(), "x", CoverOptions{R: 3}); !errors.Is(err, broken) {
			t.Errorf("the rule's own error: %v", err)
		}
	})
}

// Past its bound a node refuses coverage queries at once, those of its own callers too.
func TestCoverOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, abc("a"), "a")
		c.fill(1, "a")
		hold := make(chan struct{})
		ends := make(chan error, maxCovers)
		for range maxCovers {
			go func() {
				_, err := c.nodes["a"].router.Cover(t.Context(), testService, nil, CoverOptions{Parallel: 1}, func(CoverItem) error { <-hold; return nil })
				ends <- err
			}()
		}
		synctest.Wait()
		begun := time.Now()
		_, _, err := c.cover(t.Context(), "a", CoverOptions{})
		wantCode(t, err, wire.Overload, "coverage queries")
		if time.Since(begun) > 0 {
			t.Error("the refusal took time")
		}
		close(hold)
		for range maxCovers {
			wantOK(t, <-ends)
		}
		_, res, err := c.cover(t.Context(), "a", CoverOptions{})
		if err != nil || !res.Complete {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

// A node that streams parts of others' queries bounds them too, and ends each at the
// query's deadline, also if nobody reads it.
func TestCoverPartsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, abc("a"), "a", "b")
		c.fill(1, "a")
		h := wire.Header{Kind: wire.KindRequest, Op: wire.OpCover, Service: wire.ServiceID(testService), Gen: 5}
		h.SetTimeout(time.Minute)
		ask := func() FrameStream {
			near, err := c.nodes["b"].openStream(t.Context(), "a")
			wantOK(t, err)
			wantOK(t, near.WriteFrame(&h, wire.AppendCoverCall(nil, &wire.CoverCall{})))
			wantOK(t, near.Flush())
			return near
		}
		for range maxCoverParts {
			ask() // and read nothing
		}
		synctest.Wait()
		f, err := ask().ReadFrame()
		wantOK(t, err)
		if f.Code != wire.Overload {
			t.Errorf("one too many: %+v", f)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if left := c.nodes["a"].router.parts.Load(); left != 0 {
			t.Errorf("%d parts after the deadline", left)
		}
	})
}

// The deadline of a query ends it: what was not read is missing.
func TestCoverDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, abc("a"), "a", "x")
		c.fill(5, "a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		res, err := c.nodes["x"].router.Cover(ctx, testService, nil, CoverOptions{Parallel: 1}, func(CoverItem) error {
			time.Sleep(200 * time.Millisecond)
			return nil
		})
		if err != nil || res.Complete || len(res.Missing) < 6 {
			t.Errorf("%+v, %v", res, err)
		}
	})
}
