package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// keeping runs test on buckets that keep siblings, on one replica and on three.
func keeping(t *testing.T, test func(t *testing.T, f *fakeCluster, k *KV)) {
	both(t, func(t *testing.T, f *fakeCluster, k *KV) {
		f.keeps = true
		test(t, f, k)
	})
}

func mustGet(t *testing.T, k *KV, key string) Object {
	t.Helper()
	obj, err := k.Get(t.Context(), "b", []byte(key), Options{})
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	return obj
}

// wantSiblings wants just these values, the newest first.
func wantSiblings(t *testing.T, k *KV, key string, want ...string) {
	t.Helper()
	obj := mustGet(t, k, key)
	got := []string{string(obj.Value)}
	for i, s := range obj.Siblings {
		if i > 0 {
			got = append(got, string(s.Value))
		} else if string(s.Value) != got[0] {
			t.Errorf("the value is %q, the first sibling %q", got[0], s.Value)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%q has the values %q, want %q", key, got, want)
	}
}

func TestSiblings(t *testing.T) {
	keeping(t, func(t *testing.T, f *fakeCluster, k *KV) {
		ctx, key := t.Context(), []byte("a")
		put(t, k, "a", "1")
		first := mustGet(t, k, "a").Context
		put(t, k, "a", "2")
		wantSiblings(t, k, "a", "2", "1")
		if err := k.Put(ctx, "b", key, []byte("3"), Options{Context: first}); err != nil {
			t.Fatal(err)
		}
		wantSiblings(t, k, "a", "3", "2")
		old, err := k.Delete(ctx, "b", key, Options{Context: first})
		if err != nil || len(old.Siblings) != 2 {
			t.Fatalf("delete of what is gone: %+v, %v", old, err)
		}
		wantSiblings(t, k, "a", "3", "2")
		if err := k.Replace(ctx, "b", key, []byte("4"), Options{}); err != nil {
			t.Fatal(err)
		}
		wantSiblings(t, k, "a", "4")
		put(t, k, "a", "5")
		if old, err := k.Delete(ctx, "b", key, Options{}); err != nil || len(old.Siblings) != 2 {
			t.Fatalf("delete: %+v, %v", old, err)
		}
		wantAbsent(t, k, "a")
		if _, err := k.Delete(ctx, "b", key, Options{Context: first}); !errors.Is(err, ErrNotFound) {
			t.Fatalf("delete again: %v", err)
		}
		put(t, k, "a", "6")
		wantSiblings(t, k, "a", "6")
	})
}

func TestPutIfWithSiblings(t *testing.T) {
	keeping(t, func(t *testing.T, f *fakeCluster, k *KV) {
		put(t, k, "a", "1")
		one := mustGet(t, k, "a").Context
		put(t, k, "a", "2")
		two := mustGet(t, k, "a").Context
		for _, c := range []struct {
			cond    codec.Cond
			seen    codec.Context
			applied bool
		}{
			{codec.IfAbsent, codec.Context{}, false},
			{codec.IfUnchanged, codec.Context{}, false},
			{codec.IfUnchanged, one, false},
			{codec.IfUnchanged | codec.IfAbsent, two, false},
			{codec.IfUnchanged | codec.IfExists, two, true},
			{codec.IfUnchanged, two, false},
			{codec.IfExists, codec.Context{}, true},
		} {
			out, err := k.PutIf(t.Context(), "b", []byte("a"), []byte("new"), c.cond, Options{Context: c.seen})
			if err != nil || out.Applied != c.applied || out.Old == nil {
				t.Fatalf("put if %b: %+v, %v", c.cond, out, err)
			}
			if c.applied {
				wantSiblings(t, k, "a", "new")
			}
		}
	})
}

// In a bucket where the last write wins the same conditions hold, by the stamps.
func TestPutIfUnchangedWhereTheLastWriteWins(t *testing.T) {
	both(t, func(t *testing.T, f *fakeCluster, k *KV) {
		try := func(seen codec.Context, applied bool) {
			t.Helper()
			out, err := k.PutIf(t.Context(), "b", []byte("a"), []byte("v"), codec.IfUnchanged, Options{Context: seen})
			if err != nil || out.Applied != applied {
				t.Fatalf("%+v, %v", out, err)
			}
		}
		try(codec.Context{}, true)
		seen := mustGet(t, k, "a").Context
		try(codec.Context{}, false)
		try(seen, true)
		try(seen, false)
	})
}

// With several replicas, what one of them holds besides counts: the condition is
// looked at again with it, and others who keep writing win in the end.
func TestPutIfLooksAgain(t *testing.T) {
	for _, writes := range []int{1, 100} {
		f := newFake(3)
		f.keeps = true
		k := f.kv()
		put(t, k, "a", "0")
		left := writes
		f.before = func(ctx context.Context, c *wire.Call) {
			if c.Flags&wire.CallBlind == 0 && len(c.Body) > 1 && left > 0 { // before the conditional command
				left--
				put(t, k, "a", "other")
			}
		}
		out, err := k.PutIf(t.Context(), "b", []byte("a"), []byte("mine"), codec.IfExists, Options{})
		if writes == 1 {
			if err != nil || !out.Applied {
				t.Fatalf("%d writes between: %+v, %v", writes, out, err)
			}
			wantSiblings(t, k, "a", "mine")
		} else if !errors.Is(err, &wire.Error{Code: wire.Conflict}) {
			t.Fatalf("%d writes between: %+v, %v", writes, out, err)
		}
	}
}

func TestSiblingsExpire(t *testing.T) {
	keeping(t, func(t *testing.T, f *fakeCluster, k *KV) {
		ctx, key := t.Context(), []byte("a")
		if err := k.Put(ctx, "b", key, []byte("short"), Options{Expires: f.now().Add(time.Second)}); err != nil {
			t.Fatal(err)
		}
		put(t, k, "a", "long")
		wantSiblings(t, k, "a", "long", "short")
		f.advance(2 * time.Second)
		wantSiblings(t, k, "a", "long")
		if out, err := k.Expire(ctx, "b", key, f.now().Add(time.Second), Options{}); err != nil || !out.Applied {
			t.Fatalf("expire: %+v, %v", out, err)
		}
		f.advance(2 * time.Second)
		wantAbsent(t, k, "a")
		if keys := list(t, k); len(keys) != 0 {
			t.Errorf("listed are %q", keys)
		}
	})
}

func TestListsOfSiblings(t *testing.T) {
	keeping(t, func(t *testing.T, f *fakeCluster, k *KV) {
		put(t, k, "a", "1")
		put(t, k, "a", "2")
		put(t, k, "c", "3")
		if keys := list(t, k); !slices.Equal(keys, []string{"a", "c"}) {
			t.Errorf("keys %q", keys)
		}
		var values []string
		if _, err := k.Values(t.Context(), "b", Options{}, func(e *Entry) error {
			values = append(values, string(e.Key)+string(e.Value))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if slices.Sort(values); !slices.Equal(values, []string{"a1", "a2", "c3"}) {
			t.Errorf("values %q", values)
		}
		if res, err := k.Clear(t.Context(), "b", Options{}); err != nil || res.Deleted != 2 {
			t.Fatalf("clear: %+v, %v", res, err)
		}
		if keys := list(t, k); len(keys) != 0 {
			t.Errorf("after clear %q", keys)
		}
	})
}

// Too many siblings, or too large ones, are refused with a word on what to do; who
// has read them can go on.
func TestSiblingsAreBounded(t *testing.T) {
	keeping(t, func(t *testing.T, f *fakeCluster, k *KV) {
		var err error
		for i := range codec.MaxSiblings {
			if err = k.Put(t.Context(), "b", []byte("many"), fmt.Append(nil, i), Options{}); err != nil {
				t.Fatalf("sibling %d: %v", i, err)
			}
		}
		err = k.Put(t.Context(), "b", []byte("many"), nil, Options{})
		if !errors.Is(err, &wire.Error{Code: wire.Refused}) || !strings.Contains(err.Error(), "put one back with the context") {
			t.Errorf("one more: %v", err)
		}
		seen := mustGet(t, k, "many").Context
		if err := k.Put(t.Context(), "b", []byte("many"), []byte("one"), Options{Context: seen}); err != nil {
			t.Errorf("with the context: %v", err)
		}
		wantSiblings(t, k, "many", "one")

		half := bytes.Repeat([]byte("x"), codec.MaxSiblingsBytes/2+1)
		put(t, k, "large", string(half))
		if err := k.Put(t.Context(), "b", []byte("large"), half, Options{}); !errors.Is(err, &wire.Error{Code: wire.TooLarge}) {
			t.Errorf("a second large one: %v", err)
		}
	})
}

// A context that has seen the future is not followed there.
func TestContextsFromTheFuture(t *testing.T) {
	keeping(t, func(t *testing.T, f *fakeCluster, k *KV) {
		put(t, k, "a", "1")
		before := f.time
		for _, seen := range []codec.Context{
			{Base: wire.Stamp{Time: 1 << 62}},
			{Dots: "\x00\x00\x00\x00\x00\x00\x00\x01\x40\x00\x00\x00\x00\x00\x00\x00"}, // actor 1 until then
		} {
			err := k.Put(t.Context(), "b", []byte("a"), nil, Options{Context: seen})
			if !errors.Is(err, &wire.Error{Code: wire.ClockAhead}) {
				t.Errorf("put with %+v: %v", seen, err)
			}
			if _, err := k.Delete(t.Context(), "b", []byte("a"), Options{Context: seen}); !errors.Is(err, &wire.Error{Code: wire.ClockAhead}) {
				t.Errorf("delete with %+v: %v", seen, err)
			}
		}
		if f.time > before+10 {
			t.Errorf("the clock went from %d to %d", before, f.time)
		}
		wantSiblings(t, k, "a", "1")
	})
}

// A bucket that changes between its kinds loses nothing but what a last write wins over.
func TestKindsOfABucketMix(t *testing.T) {
	both(t, func(t *testing.T, f *fakeCluster, k *KV) {
		put(t, k, "a", "last")
		f.keeps = true
		put(t, k, "a", "1")
		wantSiblings(t, k, "a", "1", "last")
		seen := mustGet(t, k, "a").Context
		put(t, k, "a", "2")
		if err := k.Put(t.Context(), "b", []byte("a"), []byte("3"), Options{Context: seen}); err != nil {
			t.Fatal(err)
		}
		wantSiblings(t, k, "a", "3", "2")
		f.keeps = false
		wantSiblings(t, k, "a", "3", "2")
		put(t, k, "a", "last again")
		wantSiblings(t, k, "a", "last again")
	})
}
