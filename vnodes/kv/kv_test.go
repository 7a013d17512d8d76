package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// both runs test on one replica and on three.
func both(t *testing.T, test func(t *testing.T, f *fakeCluster, k *KV)) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprintf("n=%d", n), func(t *testing.T) {
			f := newFake(n)
			test(t, f, f.kv())
		})
	}
}

func put(t *testing.T, k *KV, key, value string) {
	t.Helper()
	if err := k.Put(t.Context(), "b", []byte(key), []byte(value), Options{}); err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
}

func wantValue(t *testing.T, k *KV, key, want string) {
	t.Helper()
	obj, err := k.Get(t.Context(), "b", []byte(key), Options{})
	if err != nil || string(obj.Value) != want {
		t.Fatalf("get %q: %q, %v; want %q", key, obj.Value, err, want)
	}
}

func wantAbsent(t *testing.T, k *KV, key string) {
	t.Helper()
	if obj, err := k.Get(t.Context(), "b", []byte(key), Options{}); !errors.Is(err, ErrNotFound) {
		t.Fatalf("get %q: %q, %v; want not found", key, obj.Value, err)
	}
}

func TestPutGetDelete(t *testing.T) {
	both(t, func(t *testing.T, f *fakeCluster, k *KV) {
		wantAbsent(t, k, "a")
		put(t, k, "a", "1")
		wantValue(t, k, "a", "1")
		put(t, k, "a", "2")
		old, err := k.Delete(t.Context(), "b", []byte("a"), Options{})
		if err != nil || string(old.Value) != "2" || old.Context.IsZero() {
			t.Fatalf("delete: %+v, %v", old, err)
		}
		wantAbsent(t, k, "a")
		if _, err := k.Delete(t.Context(), "b", []byte("a"), Options{}); !errors.Is(err, ErrNotFound) {
			t.Fatalf("second delete: %v", err)
		}
		put(t, k, "empty", "")
		wantValue(t, k, "empty", "")
	})
}

func TestBucketsAreApart(t *testing.T) {
	k := newFake(1).kv()
	put(t, k, "a", "1")
	if _, err := k.Get(t.Context(), "bb", []byte("a"), Options{}); !errors.Is(err, ErrNotFound) {
		t.Fatalf("the other bucket: %v", err)
	}
}

// With the owner down, a delete still works through a fallback that holds the key.
func TestDeleteFallsBackToABlindWrite(t *testing.T) {
	f := newFake(1)
	k := f.kv()
	put(t, k, "a", "1")
	f.refuse = func(op wire.Op, c *wire.Call) error {
		if reading(op, c) {
			return wire.Errorf(wire.Unavailable, "the owner is down")
		}
		return nil
	}
	old, err := k.Delete(t.Context(), "b", []byte("a"), Options{})
	if err != nil || string(old.Value) != "1" {
		t.Fatalf("delete: %+v, %v", old, err)
	}
	wantAbsent(t, k, "a")
}

// A delete that may have run is not tried again another way.
func TestDeleteThatMayHaveRunIsReported(t *testing.T) {
	f := newFake(1)
	k := f.kv()
	put(t, k, "a", "1")
	f.refuse = func(op wire.Op, c *wire.Call) error {
		if reading(op, c) {
			return wire.Errorf(wire.Maybe, "the connection broke")
		}
		return nil
	}
	if _, err := k.Delete(t.Context(), "b", []byte("a"), Options{}); !errors.Is(err, &wire.Error{Code: wire.Maybe}) {
		t.Fatalf("delete: %v", err)
	}
	wantValue(t, k, "a", "1")
}

func TestUnavailableIsNeverNotFound(t *testing.T) {
	both(t, func(t *testing.T, f *fakeCluster, k *KV) {
		f.refuse = func(wire.Op, *wire.Call) error { return wire.Errorf(wire.Unavailable, "down") }
		_, getErr := k.Get(t.Context(), "b", []byte("a"), Options{})
		_, delErr := k.Delete(t.Context(), "b", []byte("a"), Options{})
		_, ifErr := k.PutIf(t.Context(), "b", []byte("a"), nil, codec.IfAbsent, Options{})
		for _, err := range []error{getErr, delErr, ifErr} {
			if !errors.Is(err, &wire.Error{Code: wire.Unavailable}) || errors.Is(err, ErrNotFound) {
				t.Errorf("got %v, want unavailable", err)
			}
		}
	})
}

func TestPutIf(t *testing.T) {
	both(t, func(t *testing.T, f *fakeCluster, k *KV) {
		step := func(cond codec.Cond, value string, applied bool, old string) {
			t.Helper()
			out, err := k.PutIf(t.Context(), "b", []byte("a"), []byte(value), cond, Options{})
			if err != nil || out.Applied != applied {
				t.Fatalf("put %q if %d: %+v, %v", value, cond, out, err)
			}
			if got := out.Old; (got == nil) != (old == "") || got != nil && string(got.Value) != old {
				t.Fatalf("put %q if %d: old %v, want %q", value, cond, got, old)
			}
		}
		step(codec.IfExists, "1", false, "")
		wantAbsent(t, k, "a")
		step(codec.IfAbsent, "2", true, "")
		step(codec.IfAbsent, "3", false, "2")
		wantValue(t, k, "a", "2")
		step(codec.IfExists, "4", true, "2")
		step(0, "5", true, "4")
		wantValue(t, k, "a", "5")
	})
}

func TestExpiry(t *testing.T) {
	both(t, func(t *testing.T, f *fakeCluster, k *KV) {
		ctx, key := t.Context(), []byte("a")
		at := f.now().Add(time.Second)
		if err := k.Put(ctx, "b", key, []byte("1"), Options{Expires: at}); err != nil {
			t.Fatal(err)
		}
		obj, err := k.Stat(ctx, "b", key, Options{})
		if err != nil || !obj.Expires.Equal(at) || len(obj.Value) > 0 {
			t.Fatalf("stat: %+v, %v", obj, err)
		}
		if out, err := k.PutIf(ctx, "b", key, []byte("2"), codec.KeepTTL, Options{}); err != nil || !out.Applied {
			t.Fatalf("put keeping the time: %+v, %v", out, err)
		}
		f.advance(999 * time.Millisecond)
		wantValue(t, k, "a", "2")
		f.advance(time.Millisecond)
		wantAbsent(t, k, "a")
		if keys := list(t, k); len(keys) != 0 {
			t.Fatalf("an expired key is listed: %q", keys)
		}
		if out, err := k.Expire(ctx, "b", key, f.now().Add(time.Hour), Options{}); err != nil || out.Applied {
			t.Fatalf("expire of nothing: %+v, %v", out, err)
		}
	})
}

func TestExpireAndPersist(t *testing.T) {
	both(t, func(t *testing.T, f *fakeCluster, k *KV) {
		ctx, key := t.Context(), []byte("a")
		put(t, k, "a", "1")
		if out, err := k.Expire(ctx, "b", key, time.Time{}, Options{}); err != nil || out.Applied {
			t.Fatalf("persist of what never expires: %+v, %v", out, err)
		}
		for _, at := range []time.Time{f.now().Add(time.Second), {}} {
			if out, err := k.Expire(ctx, "b", key, at, Options{}); err != nil || !out.Applied {
				t.Fatalf("expire at %v: %+v, %v", at, out, err)
			}
		}
		f.advance(time.Hour)
		wantValue(t, k, "a", "1")
	})
}

func list(t *testing.T, k *KV) []string {
	t.Helper()
	var keys []string
	cover, err := k.Keys(t.Context(), "b", Options{}, func(e *Entry) error {
		keys = append(keys, string(e.Key))
		return nil
	})
	if err != nil || !cover.Complete {
		t.Fatalf("keys: %+v, %v", cover, err)
	}
	slices.Sort(keys)
	return keys
}

func TestListsAndClear(t *testing.T) {
	both(t, func(t *testing.T, f *fakeCluster, k *KV) {
		var want []string
		for i := range 300 {
			key := fmt.Sprintf("key %03d", i)
			put(t, k, key, "value "+key)
			want = append(want, key)
		}
		if err := k.Put(t.Context(), "b2", []byte("other"), nil, Options{}); err != nil {
			t.Fatal(err)
		}
		if got := list(t, k); !slices.Equal(got, want) {
			t.Fatalf("keys: %d of them, want %d", len(got), len(want))
		}
		_, err := k.Values(t.Context(), "b", Options{}, func(e *Entry) error {
			if string(e.Value) != "value "+string(e.Key) {
				t.Errorf("key %q has the value %q", e.Key, e.Value)
			}
			if p := ring.Locate(ring.HashKey("b", e.Key), fakeQ); p != e.Partition {
				t.Errorf("key %q comes from partition %d, it lies in %d", e.Key, e.Partition, p)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		res, err := k.Clear(t.Context(), "b", Options{})
		if err != nil || !res.Complete || res.Deleted != 300 || res.Failed != 0 {
			t.Fatalf("clear: %+v, %v", res, err)
		}
		if left := list(t, k); len(left) != 0 {
			t.Fatalf("left after clear: %q", left)
		}
		if _, err := k.Get(t.Context(), "b2", []byte("other"), Options{}); err != nil {
			t.Fatalf("the other bucket: %v", err)
		}
	})
}

func TestClearNamesWhatItCouldNotReach(t *testing.T) {
	f := newFake(1)
	k := f.kv()
	for i := range 50 {
		put(t, k, fmt.Sprint(i), "v")
	}
	f.down[3] = true
	stuck := []byte("7")
	if ring.Locate(ring.HashKey("b", stuck), fakeQ) == 3 {
		stuck = []byte("8")
	}
	f.refuse = func(op wire.Op, c *wire.Call) error {
		if bytes.Equal(c.Key, stuck) {
			return wire.Errorf(wire.QuorumNotMet, "1 of 2")
		}
		return nil
	}
	res, err := k.Clear(t.Context(), "b", Options{})
	if err != nil || res.Complete || !slices.Equal(res.Missing, []ring.Partition{3}) ||
		res.Failed != 1 || len(res.Keys) != 1 || !bytes.Equal(res.Keys[0], stuck) || !errors.Is(res.Err, &wire.Error{Code: wire.QuorumNotMet}) {
		t.Fatalf("clear: %+v, %v", res, err)
	}
}

func TestPing(t *testing.T) {
	k := newFake(1).kv()
	pong, err := k.Ping(t.Context(), "b", []byte("a"), Options{})
	if err != nil || pong.Partition != ring.Locate(ring.HashKey("b", []byte("a")), fakeQ) || pong.Name != "n1" {
		t.Fatalf("ping: %+v, %v", pong, err)
	}
	if _, err := k.Ping(t.Context(), "b", nil, Options{}); err != nil {
		t.Fatalf("ping of any key: %v", err)
	}
}

func TestLimitsAreCheckedBeforeAnythingIsSent(t *testing.T) {
	f := newFake(1)
	k, ctx := f.kv(), t.Context()
	long := make([]byte, codec.MaxKey+1)
	checks := map[string]error{
		"key":   k.Put(ctx, "b", long, nil, Options{}),
		"value": k.Put(ctx, "b", []byte("k"), make([]byte, codec.MaxValue+1), Options{}),
	}
	_, checks["get"] = k.Get(ctx, "b", long, Options{})
	_, checks["delete"] = k.Delete(ctx, "b", long, Options{})
	for what, err := range checks {
		if !errors.Is(err, &wire.Error{Code: wire.TooLarge}) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if f.calls != 0 {
		t.Errorf("%d calls were made", f.calls)
	}
}

func TestCallsEndAtTheirDeadline(t *testing.T) {
	f := newFake(1)
	f.before = func(ctx context.Context, _ *wire.Call) { <-ctx.Done() }
	_, err := f.kv().Get(t.Context(), "b", []byte("a"), Options{Timeout: time.Millisecond})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("get: %v", err)
	}
}

func TestVnodeRefusesMalformedBodies(t *testing.T) {
	f := newFake(1)
	for _, body := range [][]byte{nil, {0}, {9}, {byte(codec.OpPut)}, {byte(codec.OpPut), 1}, {byte(codec.OpPut), 0, 9, 0}, {byte(codec.OpDelete), 0}, {byte(codec.OpTake), 0}} {
		call := wire.Call{Bucket: "b", Key: []byte("k"), Body: body}
		if codec.Blind(body) {
			call.Flags = wire.CallBlind
		}
		if _, err := f.Command(t.Context(), codec.Service, call); !errors.Is(err, &wire.Error{Code: wire.BadRequest}) {
			t.Errorf("command %x: %v", body, err)
		}
		if len(body) == 1 {
			continue // some are queries
		}
		if _, err := f.Query(t.Context(), codec.Service, call); !errors.Is(err, &wire.Error{Code: wire.BadRequest}) {
			t.Errorf("query %x: %v", body, err)
		}
	}
}

// A damaged record is an error, not an absent key.
func TestCorruptRecordIsReported(t *testing.T) {
	f := newFake(1)
	k := f.kv()
	put(t, k, "a", "1")
	p := ring.Locate(ring.HashKey("b", []byte("a")), fakeQ)
	f.parts[p][string(codec.RecordKey("b", []byte("a")))] = vnodes.Record{Value: []byte{0xff}}
	if _, err := k.Get(t.Context(), "b", []byte("a"), Options{}); !errors.Is(err, &wire.Error{Code: wire.Corrupt}) {
		t.Fatalf("get: %v", err)
	}
	if _, err := k.Keys(t.Context(), "b", Options{}, func(*Entry) error { return nil }); !errors.Is(err, &wire.Error{Code: wire.Corrupt}) {
		t.Fatalf("keys: %v", err)
	}
}

func TestServiceIsWhatTheToolkitAsksFor(t *testing.T) {
	s := Service(3, "aaaaaaaaaaaaaaaa", nil)
	v := s.New(5)
	_, resolves := v.(vnodes.Resolver)
	_, covers := v.(vnodes.Coverer)
	if s.Name != "kv" || s.N != 3 || !resolves || !covers {
		t.Fatalf("service %+v, resolver %v, coverer %v", s, resolves, covers)
	}
}

func TestParseQuorumAndTimeout(t *testing.T) {
	for s, want := range map[string]wire.Quorum{"": 0, "default": 0, "one": 1, "quorum": wire.QuorumMajority, "all": wire.QuorumAll, "2": 2} {
		if got, err := wire.ParseQuorum(s); err != nil || got != want {
			t.Errorf("quorum %q: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"0", "8", "-1", "most", "254"} {
		if _, err := wire.ParseQuorum(s); !errors.Is(err, &wire.Error{Code: wire.BadRequest}) {
			t.Errorf("quorum %q: %v", s, err)
		}
	}
	for s, want := range map[string]time.Duration{"": 0, "250": 250 * time.Millisecond, "2s": 2 * time.Second} {
		if got, err := ParseTimeout(s); err != nil || got != want {
			t.Errorf("timeout %q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"0", "-1s", "soon"} {
		if _, err := ParseTimeout(s); err == nil {
			t.Errorf("timeout %q is taken", s)
		}
	}
}
