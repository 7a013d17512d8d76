package dataplane

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// A fold gives one partition once, merged from a majority, without what is deleted.
func TestFold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
		c.fill(3, "a", "b", "c")
		for _, id := range []ring.NodeID{"a", "c"} {
			c.nodes[id].put(3, "3/001", "", 9, true)
		}
		for _, at := range []ring.NodeID{"a", "b", "x"} {
			var got []string
			err := c.nodes[at].router.Fold(t.Context(), testService, 3, nil, func(it *wire.Item) error {
				got = append(got, string(it.Key))
				return nil
			})
			wantOK(t, err)
			if !slices.Equal(got, []string{"3/000", "3/002"}) {
				t.Errorf("at %s: %v", at, got)
			}
		}
		r := c.nodes["a"].router
		wantCode(t, r.Fold(t.Context(), "nobody", 3, nil, nil), wire.NotFound, "no service")
		wantCode(t, r.Fold(t.Context(), testService, 99, nil, nil), wire.NotFound, "no partition")
		enough := errors.New("enough")
		if err := r.Fold(t.Context(), testService, 3, nil, func(*wire.Item) error { return enough }); err != enough {
			t.Errorf("%v", err)
		}
	})
}

// A replica that fails before the first item is replaced; one that fails later ends the
// fold, because what another one goes on with is of another moment.
func TestFoldIsNotResumed(t *testing.T) {
	for failAt, want := range map[int]int{0: 20, 7: 0} {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
			c.fill(20, "a", "b", "c")
			var breaks atomic.Int32
			c.nodes["a"].local.coverGate = func(_ *wire.CoverCall, n int) error {
				if n == failAt && breaks.Add(1) == 1 {
					return errors.New("disk")
				}
				return nil
			}
			c.nodes["c"].down.Store(true)
			got := 0
			err := c.nodes["a"].router.Fold(t.Context(), testService, 3, nil, func(*wire.Item) error { got++; return nil })
			if want > 0 && (err != nil || got != want) || want == 0 && err == nil || breaks.Load() == 0 {
				t.Errorf("failed at %d: %d items, %v, %d breaks", failAt, got, err, breaks.Load())
			}
		})
	}
}

// Too few replicas: the fold says so, and gives nothing.
func TestFoldNeedsAMajority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		c.fill(2, "a", "b", "c")
		c.nodes["b"].down.Store(true)
		c.nodes["c"].down.Store(true)
		err := c.nodes["a"].router.Fold(t.Context(), testService, 3, nil, func(*wire.Item) error { t.Error("an item"); return nil })
		wantCode(t, err, wire.Unavailable, "too few slots")
	})
}

// Records to restore go to the partition that they are said to be of, from any node; a
// client may not send them.
func TestRestoreGoesByPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
		for _, at := range []ring.NodeID{"a", "x"} {
			for p := range ring.Partition(8) {
				wantOK(t, c.nodes[at].router.Restore(t.Context(), testService, p, []byte("put "+string(at))))
				synctest.Wait()
				for _, id := range []ring.NodeID{"a", "b", "c"} {
					l := c.nodes[id].local
					l.mu.Lock()
					if it := l.slots[p][""]; string(it.Value) != string(at) {
						t.Errorf("partition %d at %s holds %q", p, id, it.Value)
					}
					l.mu.Unlock()
				}
			}
		}
		call := wire.AppendCall(nil, &wire.Call{Flags: wire.CallRestore, Body: []byte("put 1")})
		h := wire.Header{Op: wire.OpCommand, Service: wire.ServiceID(testService)}
		far := h
		far.Partition = 8
		for _, in := range []inbound{{Header: h, body: call}, {Header: far, body: call, from: "b"}} {
			code := wire.OK
			in.reply = func(c wire.Code, _ uint64, _ []byte) { code = c }
			c.nodes["a"].router.serve(in)
			if code != wire.BadRequest {
				t.Errorf("from %q, partition %d: %v", in.from, in.Partition, code)
			}
		}
	})
}
