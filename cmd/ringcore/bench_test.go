package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestHistogramQuantiles compares with sorting: never below, at most 1/32 above.
func TestHistogramQuantiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, int64(time.Hour)), 1, 200).Draw(t, "values")
		var h histogram
		for _, v := range values {
			h.record(time.Duration(v))
		}
		slices.Sort(values)
		for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
			rank := max(int(q*float64(len(values))), 1)
			if float64(rank) < q*float64(len(values)) {
				rank++
			}
			exact, got := values[rank-1], int64(h.quantile(q))
			if got < exact || got > exact+exact/32 {
				t.Fatalf("quantile %v of %v: %d, exactly %d", q, values, got, exact)
			}
		}
	})
}

func TestHistogramBuckets(t *testing.T) {
	for i := range buckets {
		if end := bucketEnd(i); bucketOf(end) != i || i+1 < buckets && bucketOf(end+1) != i+1 {
			t.Fatalf("bucket %d ends at %d, which lies in %d", i, end, bucketOf(end))
		}
	}
	if got := bucketOf(1<<63 - 1); got != buckets-1 {
		t.Errorf("the longest duration lies in bucket %d of %d", got, buckets)
	}
	var empty histogram
	if got := empty.quantile(0.5); got != 0 {
		t.Errorf("nothing: %s", got)
	}
}

func TestHistogramAdd(t *testing.T) {
	var a, b, both histogram
	for range 1000 {
		d := time.Duration(rand.Int64N(int64(time.Second)))
		both.record(d)
		if d%2 == 0 {
			a.record(d)
		} else {
			b.record(d)
		}
	}
	a.add(&b)
	if a != both {
		t.Error("the sum of two halves is not the whole")
	}
}

func TestParseStat(t *testing.T) {
	got, err := parseStat([]byte("4711 (a name) R) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 9 0 123"))
	if err != nil || got != 3*time.Second {
		t.Errorf("%s, %v; want 250 + 50 ticks, 3 s", got, err)
	}
	for _, bad := range []string{"", "1 (x", "1 (x) R 1 2", "1 (x) R 1 2 3 4 5 6 7 8 9 10 a 50 0"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	if _, err := os.Stat("/proc/self/stat"); err == nil {
		if _, err := cpuTime(os.Getpid()); err != nil {
			t.Error(err)
		}
	}
}

// TestLoad: four callers and requests of 10 ms give 400 requests in a second, each
// counted as 10 ms; a request that fails counts as an error only.
func TestLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		work := func(ctx context.Context) error {
			select {
			case <-time.After(10 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		l := &load{
			op: "mix", callers: 4, duration: time.Second + time.Millisecond, keys: 10, valueSize: 8,
			target: target{
				put: func(ctx context.Context, _ int, _, _ []byte) error { return work(ctx) },
				get: func(ctx context.Context, _ int, _ []byte) error { return errors.Join(work(ctx), broken) },
			},
		}
		res := l.run(t.Context())
		if res.latency.total != 200 || res.errors != 200 || !errors.Is(res.last, broken) {
			t.Errorf("%d puts, %d gets that failed, last %v; want 200 of each", res.latency.total, res.errors, res.last)
		}
		if p50 := res.latency.quantile(0.5); p50 != 10*time.Millisecond {
			t.Errorf("p50 %s", p50)
		}
	})
}

func TestFill(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	l := &load{keys: 1000, valueSize: 8, target: target{put: func(_ context.Context, _ int, key, value []byte) error {
		mu.Lock()
		defer mu.Unlock()
		seen[string(key)] += len(value)
		return nil
	}}}
	if err := l.fill(t.Context()); err != nil || len(seen) != 1000 || seen["bench-999"] != 8 {
		t.Errorf("%v, %d keys", err, len(seen))
	}
	full := errors.New("full")
	l.target.put = func(context.Context, int, []byte, []byte) error { return full }
	if err := l.fill(t.Context()); !errors.Is(err, full) {
		t.Errorf("%v, want the target's error", err)
	}
}
