package dataplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// seen is what a coverage query brought, by partition in the order of arrival.
type seen map[ring.Partition][]string

func (s seen) add(it CoverItem) error {
	s[it.Partition] = append(s[it.Partition], fmt.Sprintf("%s=%s", it.Item.Key, it.Item.Value))
	return nil
}

func (c *fakeCluster) cover(ctx context.Context, at ring.NodeID, opts CoverOptions) (seen, CoverResult, error) {
	got := make(seen)
	res, err := c.nodes[at].router.Cover(ctx, testService, []byte("all"), opts, got.add)
	return got, res, err
}

// fill puts n keys into every partition of the given nodes.
func (c *fakeCluster) fill(n int, ids ...ring.NodeID) {
	for _, id := range ids {
		for p := range 8 {
			for i := range n {
				c.nodes[id].put(ring.Partition(p), fmt.Sprintf("%d/%03d", p, i), "v", 5, false)
			}
		}
	}
}

// wantAll checks that every partition's n keys came once and in order.
func (s seen) wantAll(t *testing.T, n int) {
	t.Helper()
	for p := range 8 {
		var want []string
		for i := range n {
			want = append(want, fmt.Sprintf("%d/%03d=v", p, i))
		}
		if !slices.Equal(s[ring.Partition(p)], want) {
			t.Errorf("partition %d: %v", p, s[ring.Partition(p)])
		}
	}
}

func TestCoverComplete(t *testing.T) {
	for _, n := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeCluster(t, n, abc("a", "b", "c"), "a", "b", "c", "x")
			c.fill(5, "a", "b", "c")
			for _, at := range []ring.NodeID{"a", "c", "x"} {
				got, res, err := c.cover(t.Context(), at, CoverOptions{})
				wantOK(t, err)
				got.wantAll(t, 5)
				if !res.Complete || res.Reduced || res.Missing != nil {
					t.Errorf("%+v", res)
				}
			}
		})
	}
}

// The newest version of a key wins, a tombstone too, and from any majority.
func TestCoverMergesVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
		a, b, cc := c.nodes["a"], c.nodes["b"], c.nodes["c"]
		for _, x := range []*fakeNode{a, cc} {
			x.put(3, "gone", "", 9, true)
			x.put(3, "kept", "new", 9, false)
		}
		b.put(3, "gone", "old", 1, false)
		b.put(3, "kept", "old", 1, false)
		b.put(3, "only", "b", 1, false)
		for _, at := range []ring.NodeID{"a", "b", "c", "x"} {
			got, _, err := c.cover(t.Context(), at, CoverOptions{})
			wantOK(t, err)
			if !slices.Contains(got[3], "kept=new") || slices.Contains(got[3], "gone=old") {
				t.Errorf("at %s: %v", at, got[3])
			}
		}
		got, res, err := c.cover(t.Context(), "b", CoverOptions{R: 1})
		wantOK(t, err)
		if !slices.Equal(got[3], []string{"gone=old", "kept=old", "only=b"}) || !res.Reduced {
			t.Errorf("one replica: %v, %+v", got[3], res)
		}
	})
}

func TestCoverMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := withOwners(abc("a"), "b")
		c := newFakeCluster(t, 1, g, "a", "b")
		p := partitionOf("k")
		c.nodes["a"].down.Store(true)
		_, err := c.command("b", "put hint")
		wantOK(t, err)
		got, res, err := c.cover(t.Context(), "b", CoverOptions{})
		wantOK(t, err)
		if res.Complete || !slices.Equal(res.Missing, []ring.Partition{p}) || !slices.Equal(got[p], []string{"k=hint"}) {
			t.Errorf("%+v, %v", res, got)
		}
	})
}

func TestCoverMissingReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		c.fill(2, "a", "b", "c")
		c.nodes["b"].down.Store(true)
		got, res, err := c.cover(t.Context(), "a", CoverOptions{})
		wantOK(t, err)
		got.wantAll(t, 2)
		if !res.Complete {
			t.Errorf("one down: %+v", res)
		}
		c.nodes["c"].down.Store(true)
		_, res, err = c.cover(t.Context(), "a", CoverOptions{})
		wantOK(t, err)
		if res.Complete || len(res.Missing) != 8 {
			t.Errorf("two down: %+v", res)
		}
		_, _, err = c.cover(t.Context(), "a", CoverOptions{R: 4})
		wantCode(t, err, wire.QuorumNotMet, "asked 4 of 3 slots")
	})
}

// A replica that breaks in the middle is replaced; nothing comes twice.
func TestCoverResumes(t *testing.T) {
	for _, broken := range []ring.NodeID{"a", "b", "c"} {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
			c.fill(20, "a", "b", "c")
			var breaks atomic.Int32
			c.nodes[broken].local.coverGate = func(_ *wire.CoverCall, n int) error {
				if n == 7 && breaks.Add(1) <= 20 {
					return errors.New("disk")
				}
				return nil
			}
			got, res, err := c.cover(t.Context(), "a", CoverOptions{Parallel: 3})
			wantOK(t, err)
			got.wantAll(t, 20)
			if !res.Complete || breaks.Load() == 0 && broken == "a" {
				t.Errorf("%+v after %d breaks", res, breaks.Load())
			}
		})
	}
}

// The only replica moves while it is read: the rest comes from the new one.
func TestCoverDuringMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, abc("a"), "a", "b", "x")
		c.fill(20, "a", "b")
		moved := listRing(11, 6, "b")
		c.nodes["a"].local.coverGate = func(cc *wire.CoverCall, n int) error {
			if n < 7 {
				return nil
			}
			c.learn(moved, "a", "b")
			return &wire.Error{Code: wire.Moved, Epoch: 11}
		}
		got, res, err := c.cover(t.Context(), "x", CoverOptions{})
		wantOK(t, err)
		got.wantAll(t, 20)
		if !res.Complete || c.nodes["x"].Ring().Epoch != 11 {
			t.Errorf("%+v at epoch %d", res, c.nodes["x"].Ring().Epoch)
		}
	})
}

func TestCoverEmitFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
		c.fill(20, "a", "b", "c")
		enough := errors.New("enough")
		calls := 0
		res, err := c.nodes["x"].router.Cover(t.Context(), testService, nil, CoverOptions{}, func(CoverItem) error {
			if calls++; calls == 10 {
				return enough
			}
			return nil
		})
		if err != enough || calls != 10 || res.Complete {
			t.Errorf("%v after %d calls: %+v", err, calls, res)
		}
	})
}

// A peer that stops sending is given up and replaced; without another, ctx ends it.
func TestCoverStalledPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		c.fill(3, "a", "b", "c")
		hang := func(*wire.CoverCall, int) error { time.Sleep(time.Hour); return errors.New("late") }
		c.nodes["b"].local.coverGate = hang
		begun := time.Now()
		got, res, err := c.cover(t.Context(), "a", CoverOptions{})
		wantOK(t, err)
		got.wantAll(t, 3)
		if took := time.Since(begun); !res.Complete || took > 2*stallAfter {
			t.Errorf("%+v after %v", res, took)
		}
		c.nodes["c"].local.coverGate = hang
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, res, err = c.cover(ctx, "a", CoverOptions{})
		if err != nil || res.Complete || len(res.Missing) != 8 {
			t.Errorf("%+v, %v", res, err)
		}
		time.Sleep(3 * time.Hour)
	})
}

func TestCoverChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, abc("a"), "a", "x")
		big := string(bytes.Repeat([]byte("v"), 30<<10))
		for i := range 10 {
			c.nodes["a"].put(2, fmt.Sprintf("%d", i), big, 1, false)
		}
		got, res, err := c.cover(t.Context(), "x", CoverOptions{})
		wantOK(t, err)
		if !res.Complete || len(got[2]) != 10 || got[2][9] != "9="+big {
			t.Errorf("%+v, %d items", res, len(got[2]))
		}
	})
}

func TestServeStreamRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, abc("a"), "a", "b")
		for _, x := range []struct {
			h    wire.Header
			body []byte
			code wire.Code
		}{
			{wire.Header{Op: wire.OpCover, Partition: 8}, []byte{0, 0}, wire.BadRequest},
			{wire.Header{Op: wire.OpPull}, []byte{0, 0}, wire.BadRequest},
			{wire.Header{Op: wire.OpCover}, nil, wire.BadRequest},
			{wire.Header{Op: wire.OpCover}, []byte{0, 0}, wire.Moved},
		} {
			near, err := c.nodes["a"].openStream(t.Context(), "b")
			wantOK(t, err)
			wantOK(t, near.WriteFrame(&x.h, x.body))
			wantOK(t, near.Flush())
			f, err := near.ReadFrame()
			if err != nil || f.Kind != wire.KindReply || f.Code != x.code || f.Epoch != 10 {
				t.Errorf("%+v: %+v, %v", x.h, f, err)
			}
			_ = near.Close()
		}
	})
}

// The chunks that a client gets say where each item came from.
func TestClientChunks(t *testing.T) {
	var sent [][]byte
	out := coverChunks{send: func(body []byte, last bool) error {
		sent = append(sent, bytes.Clone(body))
		return nil
	}}
	big := bytes.Repeat([]byte("v"), 40<<10)
	for _, it := range []CoverItem{
		{1, "a", wire.Item{Key: []byte("k1")}},
		{1, "a", wire.Item{Key: []byte("k2")}},
		{1, "b", wire.Item{Key: []byte("k3")}},
		{2, "b", wire.Item{Key: []byte("k4"), Value: big}},
		{2, "b", wire.Item{Key: []byte("k5"), Value: big}},
		{2, "b", wire.Item{Key: []byte("k6")}},
	} {
		wantOK(t, out.add(it))
	}
	wantOK(t, out.flush())
	var got []string
	for _, body := range sent {
		part, rest, err := wire.CutCoverPart(body)
		wantOK(t, err)
		s := fmt.Sprintf("%d %s", part.Partition, part.Node)
		for len(rest) > 0 {
			var it wire.Item
			it, rest, err = wire.CutItem(rest)
			wantOK(t, err)
			s += " " + string(it.Key)
		}
		got = append(got, s)
	}
	if want := []string{"1 a k1 k2", "1 b k3", "2 b k4 k5", "2 b k6"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// Whoever asks for more replicas than there are hears it at once, and one who goes away
// is not kept by nodes that say nothing.
func TestCoverEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		for _, r := range []wire.Quorum{4, 8, 100} {
			_, _, err := c.cover(t.Context(), "a", CoverOptions{R: r})
			wantCode(t, err, wire.QuorumNotMet, fmt.Sprint("r=", r))
		}
		c.meddle = func(_, to ring.NodeID, h wire.Header, _ []byte) (wire.Frame, error, bool) {
			if to == "b" && h.Op == wire.OpHintStores {
				time.Sleep(time.Hour)
			}
			return wire.Frame{}, nil, false
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(hintsWait/10, cancel)
		begun := time.Now()
		_, _, err := c.cover(ctx, "a", CoverOptions{})
		if took := time.Since(begun); !errors.Is(err, context.Canceled) || took > hintsWait/5 {
			t.Errorf("after %v: %v", took, err)
		}
		time.Sleep(2 * time.Hour)
	})
}
