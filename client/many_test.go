package client

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// batchOf is n keys, and a write of each.
func batchOf(n int) (keys [][]byte, writes []Write) {
	for i := range n {
		key := fmt.Appendf(nil, "key %d", i)
		keys = append(keys, key)
		writes = append(writes, Write{Key: key, Value: fmt.Appendf(nil, "value %d", i)})
	}
	return keys, writes
}

// wantBatch reads keys, of which each has its value of batchOf.
func wantBatch(t *testing.T, c *Client, keys [][]byte) {
	t.Helper()
	results, err := c.GetMany(t.Context(), "b", keys, ReadOptions{})
	if err != nil || len(results) != len(keys) {
		t.Fatalf("%d results of %d keys, %v", len(results), len(keys), err)
	}
	for i := range results {
		if want := fmt.Sprint("value ", i); results[i].Err != nil || string(results[i].Value) != want {
			t.Fatalf("%s: %q, %v", keys[i], results[i].Value, results[i].Err)
		}
	}
}

// What a batch of any length has written a batch finds, in order, with few keys under way
// and no goroutine for each.
func TestManyKeys(t *testing.T) {
	for _, n := range []int{0, 1, 100, 3000} {
		f := newCluster(t, 3, 3)
		c := f.client()
		before, most := runtime.NumGoroutine(), 0
		f.setRefuse(func(*node, *wire.Frame) (wire.Code, string) {
			most = max(most, runtime.NumGoroutine())
			return wire.OK, ""
		})
		keys, writes := batchOf(n)
		if err := c.PutMany(t.Context(), "b", writes, WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		if len(f.ids) != n {
			t.Errorf("%d writes of %d", len(f.ids), n)
		}
		wantBatch(t, c, keys)
		// The first of a new Client's first batch wait for connections, and reads of a machine
		// that is busy may be hedged.
		if most > before+2*batchInFlight+50 {
			t.Errorf("%d goroutines, %d before", most, before)
		}
	}
}

// When all is connected and nothing is hedged, one goroutine does it all.
func TestBatchNeedsNoGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := bubbleClient(t, Config{})
		_, writes := batchOf(1000)
		if err := c.PutMany(t.Context(), "b", writes[:100], WriteOptions{}); err != nil { // connects to all
			t.Fatal(err)
		}
		synctest.Wait()
		before, most := runtime.NumGoroutine(), 0
		f.setRefuse(func(*node, *wire.Frame) (wire.Code, string) {
			most = max(most, runtime.NumGoroutine())
			return wire.OK, ""
		})
		if err := c.PutMany(t.Context(), "b", writes, WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		if most > before+10 {
			t.Errorf("%d goroutines, %d before", most, before)
		}
	})
}

// The bound of what is under way holds for keys and for bytes.
func TestBatchIsBounded(t *testing.T) {
	for size, bound := range map[int]int{10: batchInFlight, 1 << 20: batchBytes >> 20} {
		synctest.Test(t, func(t *testing.T) {
			f, c := bubbleClient(t, Config{})
			for i := range 20 {
				put(t, c, fmt.Sprint(i), "1") // connects to all
			}
			for _, n := range f.nodes {
				n.set(func() { n.slow = time.Millisecond })
			}
			_, writes := batchOf(3 * bound)
			for i := range writes {
				writes[i].Value = make([]byte, size)
			}
			begun := time.Now()
			if err := c.PutMany(t.Context(), "b", writes, WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begun); took != 3*time.Millisecond {
				t.Errorf("%d bytes each: three rounds of %d, a millisecond each, took %v", size, bound, took)
			}
		})
	}
}

// Every key has its own outcome, and the batch's error finds all of them.
func TestBatchErrors(t *testing.T) {
	f := newCluster(t, 3, 3)
	c := f.client()
	keys, writes := batchOf(200)
	if err := c.PutMany(t.Context(), "b", writes, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	refuse := map[string]wire.Code{"key 7": wire.QuorumNotMet, "key 8": wire.DiskFull, "key 9": wire.Internal}
	f.setRefuse(func(_ *node, fr *wire.Frame) (wire.Code, string) {
		if call, err := wire.ParseCall(fr.Body); err == nil && refuse[string(call.Key)] != wire.OK {
			return refuse[string(call.Key)], "as the test says"
		}
		return wire.OK, ""
	})
	want := map[int]error{1: &Error{Code: wire.BadRequest}, 7: ErrQuorum, 8: ErrDiskFull, 9: &Error{Code: wire.Internal}}
	check := func(what string, err error, errs func(i int) error) {
		t.Helper()
		batch, ok := errors.AsType[*BatchError](err)
		if !ok || batch.Failed != len(want) || !strings.Contains(err.Error(), "4 of 200 keys failed, the first of them is number 1: ") {
			t.Fatalf("%s: %v", what, err)
		}
		for i := range 200 {
			if (want[i] == nil) != (errs(i) == nil) || want[i] != nil && !(errors.Is(errs(i), want[i]) && errors.Is(err, want[i])) {
				t.Errorf("%s of number %d: %v, want %v", what, i, errs(i), want[i])
			}
		}
		if errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: finds what did not happen", what)
		}
	}
	keys[1], writes[1].Key = nil, nil
	results, err := c.GetMany(t.Context(), "b", keys, ReadOptions{})
	check("get", err, func(i int) error { return results[i].Err })
	for i := range writes {
		writes[i].Delete = i%2 == 0
	}
	err = c.PutMany(t.Context(), "b", writes, WriteOptions{})
	batch, _ := errors.AsType[*BatchError](err)
	check("put", err, func(i int) error { return batch.Errs[i] })

	f.setRefuse(nil)
	results, err = c.GetMany(t.Context(), "b", keys[10:], ReadOptions{})
	for i, r := range results {
		if deleted := i%2 == 0; deleted != errors.Is(r.Err, ErrNotFound) || !deleted && string(r.Value) != fmt.Sprint("value ", i+10) {
			t.Errorf("number %d: %q, %v", i+10, r.Value, r.Err)
		}
	}
	if err != nil {
		t.Errorf("keys that are not there are no failure: %v", err)
	}
	for _, o := range []WriteOptions{{IfAbsent: true}, {Context: Context{}, IfUnchanged: true}, {Context: results[1].Context}} {
		if err := c.PutMany(t.Context(), "b", writes[10:11], o); !errors.Is(err, &Error{Code: wire.BadRequest}) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// What did not run is tried again until it works, and what may run twice has one id.
func TestBatchTriesAgain(t *testing.T) {
	for _, code := range []wire.Code{wire.Moved, wire.Overload, wire.ShuttingDown, wire.Maybe, wire.QuorumNotMet} {
		f := newCluster(t, 3, 3)
		c := f.client()
		left := 100
		f.setRefuse(func(*node, *wire.Frame) (wire.Code, string) {
			if left--; left >= 0 && left%3 > 0 {
				return code, "not now"
			}
			return wire.OK, ""
		})
		keys, writes := batchOf(500)
		if err := c.PutMany(t.Context(), "b", writes, WriteOptions{}); err != nil || len(f.ids) != 500 {
			t.Errorf("%v: %d ids, %v", code, len(f.ids), err)
		}
		left = 100
		wantBatch(t, c, keys)
	}
}

// A node whose connection breaks in the midst of a batch, after it has run something, and
// one that goes for good: every write is done, under its one id.
func TestNodeFailsInABatch(t *testing.T) {
	f := newCluster(t, 3, 3)
	c := f.client()
	keys, writes := batchOf(1500)
	requests := 0
	gone := make(chan struct{})
	f.setRefuse(func(n *node, _ *wire.Frame) (wire.Code, string) {
		requests++
		switch {
		case requests%200 == 0 && n != f.nodes[2]:
			n.set(func() { n.drop = true })
		case requests == 700:
			go func() { f.nodes[2].stop(); close(gone) }()
		}
		return wire.OK, ""
	})
	if err := c.PutMany(t.Context(), "b", writes, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(f.ids) != 1500 {
		t.Errorf("%d ids of 1500 writes", len(f.ids))
	}
	<-gone
	wantBatch(t, c, keys)
}

// A node that hangs costs a batch what it costs a single request: reads a hedge, writes the
// time until it is given up.
func TestHungNodeInABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := bubbleClient(t, Config{})
		keys, writes := batchOf(600)
		if err := c.PutMany(t.Context(), "b", writes, WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		hung := f.nodes[1]
		hung.set(func() { hung.mute = true })
		begun := time.Now()
		wantBatch(t, c, keys)
		if took := time.Since(begun); took > hedgeAfter+10*time.Millisecond {
			t.Errorf("reads took %v", took)
		}
		time.Sleep(time.Minute)
		hung.set(func() { hung.mute = false })
		time.Sleep(time.Minute)
		wantBatch(t, c, keys)
		hung.set(func() { hung.mute = true })
		begun = time.Now()
		if err := c.PutMany(t.Context(), "b", writes, WriteOptions{}); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("writes took %v", took)
		}
	})
}

// A batch ends when its context does. What was sent may have run; the rest surely did not.
func TestBatchEndsWithItsContext(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f, c := bubbleClient(t, Config{})
			for i := range 20 {
				put(t, c, fmt.Sprint(i), "1") // connects to all
			}
			for _, n := range f.nodes {
				n.set(func() { n.mute = true })
			}
			keys, writes := batchOf(1000)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			why := context.DeadlineExceeded
			if cancelled {
				ctx, cancel = context.WithCancel(t.Context())
				time.AfterFunc(50*time.Millisecond, cancel)
				why = context.Canceled
			}
			begun := time.Now()
			err := c.PutMany(ctx, "b", writes, WriteOptions{})
			if took := time.Since(begun); took != 50*time.Millisecond {
				t.Errorf("took %v", took)
			}
			batch, ok := errors.AsType[*BatchError](err)
			if !ok || batch.Failed != 1000 || !errors.Is(err, why) {
				t.Fatal(err)
			}
			for i, err := range batch.Errs {
				if maybe := i < batchInFlight; maybe != errors.Is(err, ErrMaybe) || maybe == errors.Is(err, ErrUnavailable) {
					t.Errorf("number %d: %v", i, err)
				}
			}
			if _, err := c.GetMany(ctx, "b", keys, ReadOptions{}); !errors.Is(err, ErrUnavailable) || !errors.Is(err, why) {
				t.Errorf("with a context that is over: %v", err)
			}
		})
	}
}

// A Timeout is each key's, and a node that never answers holds nobody up for longer.
func TestBatchTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := bubbleClient(t, Config{})
		keys, writes := batchOf(600)
		if err := c.PutMany(t.Context(), "b", writes, WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, n := range f.nodes {
			n.set(func() { n.mute = true })
		}
		begun := time.Now()
		_, err := c.GetMany(t.Context(), "b", keys, ReadOptions{Timeout: 80 * time.Millisecond})
		if batch, ok := errors.AsType[*BatchError](err); !ok || batch.Failed != 600 || !errors.Is(err, ErrDeadline) {
			t.Error(err)
		}
		if took := time.Since(begun); took != 3*80*time.Millisecond { // 600 keys are three rounds
			t.Errorf("took %v", took)
		}
	})
}

func TestBatchOfAClosedClient(t *testing.T) {
	f := newCluster(t, 3, 3)
	c := f.client()
	_, writes := batchOf(2000)
	requests := 0
	f.setRefuse(func(*node, *wire.Frame) (wire.Code, string) {
		if requests++; requests == 1000 {
			go c.Close() //nolint:errcheck // the cleanup waits for it
		}
		return wire.OK, ""
	})
	err := c.PutMany(t.Context(), "b", writes, WriteOptions{})
	batch, ok := errors.AsType[*BatchError](err)
	if !ok || batch.Failed < 100 || !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}
