package load

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestHistogramQuantiles compares with sorting: never below, at most 1/32 above.
func TestHistogramQuantiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, int64(time.Hour)), 1, 200).Draw(t, "values")
		var h Histogram
		for _, v := range values {
			h.Record(time.Duration(v))
		}
		slices.Sort(values)
		for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
			rank := max(int(q*float64(len(values))), 1)
			if float64(rank) < q*float64(len(values)) {
				rank++
			}
			exact, got := values[rank-1], int64(h.Quantile(q))
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
	var empty Histogram
	if got := empty.Quantile(0.5); got != 0 {
		t.Errorf("nothing: %s", got)
	}
	var h Histogram
	for _, d := range []time.Duration{3, 3, time.Second} {
		h.Record(d)
	}
	var total uint64
	last := time.Duration(-1)
	for end, n := range h.Buckets() {
		if end <= last || n == 0 {
			t.Errorf("bucket to %d with %d behind that to %d", end, n, last)
		}
		last = end
		total += n
	}
	if total != 3 || last < time.Second {
		t.Errorf("%d values, the last bucket ends at %s", total, last)
	}
}

func TestHistogramAdd(t *testing.T) {
	var a, b, both, none Histogram
	for range 1000 {
		d := time.Duration(rand.Int64N(int64(time.Second)))
		both.Record(d)
		if d%2 == 0 {
			a.Record(d)
		} else {
			b.Record(d)
		}
	}
	a.Add(&b)
	a.Add(&none)
	if a != both {
		t.Error("the sum of two halves is not the whole")
	}
}

// slow is a target's work of 10 ms.
func slow(ctx context.Context) error {
	select {
	case <-time.After(10 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestClosedLoop: four callers and requests of 10 ms give 400 requests in a second, each
// counted as 10 ms; a request that fails counts as an error only.
func TestClosedLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		l := &Load{
			Op: "mix", Reads: 50, Callers: 4, Duration: time.Second + time.Millisecond, Keys: 10, Sizes: Size(8),
			Target: Target{
				Put: func(ctx context.Context, _ int, _, _ []byte) error { return slow(ctx) },
				Get: func(ctx context.Context, _ int, _ []byte) error { return errors.Join(slow(ctx), broken) },
			},
		}
		res := l.Run(t.Context())
		if res.Latency.Total() != 200 || res.Errors != 200 || !errors.Is(res.Last, broken) {
			t.Errorf("%d puts, %d gets that failed, last %v; want 200 of each", res.Latency.Total(), res.Errors, res.Last)
		}
		if p50 := res.Latency.Quantile(0.5); p50 != 10*time.Millisecond {
			t.Errorf("p50 %s", p50)
		}
	})
}

// The shares of a mix are exact, whatever they are.
func TestMix(t *testing.T) {
	for _, reads := range []int{0, 1, 5, 50, 95, 100} {
		synctest.Test(t, func(t *testing.T) {
			var puts, gets, deletes atomic.Int64
			count := func(n *atomic.Int64) func(context.Context, int, []byte) error {
				return func(ctx context.Context, _ int, _ []byte) error {
					n.Add(1)
					return slow(ctx)
				}
			}
			l := &Load{
				Op: "mix", Reads: reads, Callers: 20, Duration: 4*time.Second - time.Millisecond, Keys: 10,
				Target: Target{
					Put:    func(ctx context.Context, _ int, key, _ []byte) error { return count(&puts)(ctx, 0, key) },
					Get:    count(&gets),
					Delete: count(&deletes),
				},
			}
			l.Run(t.Context())
			if want := int64(20 * 4 * reads); gets.Load() != want || puts.Load()+deletes.Load() != 8000-want {
				t.Errorf("%d %% reads: %d gets, %d puts, %d deletes of 8,000", reads, gets.Load(), puts.Load(), deletes.Load())
			}
			if d, w := deletes.Load(), (8000-gets.Load())/4; d < w-20 || d > w+20 {
				t.Errorf("%d %% reads: %d deletes, want about %d", reads, d, w)
			}
		})
	}
}

// TestOpenLoop: at 100 a second, a store that stands still for the second of four seconds
// answers 100 operations late, evenly from 0 to a second, though only 10 callers could
// wait at a time. A closed loop would tell of 10.
func TestOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		stall := func(ctx context.Context, _ int, _ []byte) error {
			if now := time.Since(begun); now >= time.Second && now < 2*time.Second {
				time.Sleep(2*time.Second - now)
			}
			return nil
		}
		l := &Load{Op: "get", Callers: 10, Duration: 4 * time.Second, Keys: 10, Rate: 100, Target: Target{Get: stall}}
		res := l.Run(t.Context())
		if res.Latency.Total() != 400 || res.Unsent != 0 || res.Errors != 0 {
			t.Fatalf("%d answers, %d unsent, %d errors; want all of 400", res.Latency.Total(), res.Unsent, res.Errors)
		}
		late := uint64(0)
		for end, n := range res.Latency.Buckets() {
			if end > 0 {
				late += n
			}
		}
		if late < 99 || late > 100 {
			t.Errorf("%d operations waited, want 100", late)
		}
		if q := res.Latency.Quantile(0.875); q < 480*time.Millisecond || q > 520*time.Millisecond {
			t.Errorf("half of those that waited did so for at most %s, want 500 ms", q)
		}
		if got := res.Elapsed; got < 3990*time.Millisecond || got > 4*time.Second {
			t.Errorf("it took %s", got)
		}
	})
}

// A store that is too slow for the rate: what was never sent is told, and what was
// sent is waited for.
func TestOpenLoopTooSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Load{
			Op: "get", Callers: 2, Duration: time.Second, Keys: 10, Rate: 1000,
			Target: Target{Get: func(ctx context.Context, _ int, _ []byte) error { return slow(ctx) }},
		}
		res := l.Run(t.Context())
		if total := res.Latency.Total(); total+res.Unsent != 1000 || total < 200 || total > 202 {
			t.Errorf("%d answers, %d unsent; want 200 and 800", total, res.Unsent)
		}
		if p50 := res.Latency.Quantile(0.5); p50 < 380*time.Millisecond || p50 > 420*time.Millisecond {
			t.Errorf("p50 %s: the hundredth of 200 answers was due at 100 ms and came at 500", p50)
		}
	})
}

// What has no answer at all is an error of an open loop; an interrupt is none.
func TestOpenLoopEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := func(ctx context.Context, _ int, _ []byte) error {
			<-ctx.Done()
			return ctx.Err()
		}
		l := &Load{Op: "get", Callers: 3, Duration: time.Second, Keys: 10, Rate: 10, Target: Target{Get: stuck}}
		if res := l.Run(t.Context()); res.Errors != 3 || res.Unsent != 7 {
			t.Errorf("%d errors, %d unsent; want 3 and 7", res.Errors, res.Unsent)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, nil)
		time.AfterFunc(500*time.Millisecond, cancel)
		begun := time.Now()
		if res := l.Run(ctx); res.Errors != 0 || time.Since(begun) != 500*time.Millisecond {
			t.Errorf("interrupted: %d errors after %s", res.Errors, time.Since(begun))
		}
	})
}

// Progress tells of everything before the end once, and the result of everything.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []uint64
		l := &Load{
			Op: "get", Callers: 4, Duration: 3500 * time.Millisecond, Keys: 10, Every: time.Second,
			Target: Target{Get: func(ctx context.Context, _ int, _ []byte) error { return slow(ctx) }},
		}
		l.Progress = func(elapsed time.Duration, last *Result) {
			if elapsed != time.Duration(len(told)+1)*time.Second {
				t.Errorf("call %d after %s", len(told), elapsed)
			}
			told = append(told, last.Latency.Total())
		}
		total := l.Run(t.Context()).Latency.Total()
		if len(told) != 3 || total < 1392 || total > 1400 {
			t.Fatalf("told %v, in all %d", told, total)
		}
		for _, n := range told {
			if n < 396 || n > 404 {
				t.Errorf("told %v, want 400 each", told)
			}
		}
	})
}

func TestFill(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	l := &Load{Keys: 1000, Sizes: Size(8), Target: Target{Put: func(_ context.Context, _ int, key, value []byte) error {
		mu.Lock()
		defer mu.Unlock()
		seen[string(key)] += len(value)
		return nil
	}}}
	if err := l.Fill(t.Context()); err != nil || len(seen) != 1000 || seen["bench-999"] != 8 {
		t.Errorf("%v, %d keys", err, len(seen))
	}
	full := errors.New("full")
	l.Target.Put = func(context.Context, int, []byte, []byte) error { return full }
	if err := l.Fill(t.Context()); !errors.Is(err, full) {
		t.Errorf("%v, want the target's error", err)
	}
}

// TestZipf compares what is drawn with the probabilities, by a chi-squared test: the first
// 20 numbers one by one, the others together by powers of two. A right sampler fails it once
// in a million runs.
func TestZipf(t *testing.T) {
	const n, draws = 10_000, 200_000
	for _, e := range []float64{0.3, 0.99, 1, 1.5, 3} {
		group := func(k int) int { // of number k
			if k < 20 {
				return k
			}
			return 16 + int(math.Log2(float64(k)))
		}
		want, got := make([]float64, group(n)+1), make([]float64, group(n)+1)
		sum := 0.0
		for k := range n {
			sum += math.Pow(float64(k+1), -e)
		}
		for k := range n {
			want[group(k)] += draws * math.Pow(float64(k+1), -e) / sum
		}
		z := newZipf(n, e)
		for range draws {
			k := z.draw()
			if k < 0 || k >= n {
				t.Fatalf("exponent %v: drew %d of %d", e, k, n)
			}
			got[group(k)]++
		}
		chi, freedom := 0.0, -1.0
		for g := range want {
			if want[g] >= 5 { // where the test is one; the rest is nearly nothing
				chi += (got[g] - want[g]) * (got[g] - want[g]) / want[g]
				freedom++
			}
		}
		// Wilson and Hilferty: the cube root of chi-squared by its freedom is nearly normal.
		sigma := (math.Cbrt(chi/freedom) - (1 - 2/(9*freedom))) / math.Sqrt(2/(9*freedom))
		if sigma > 4.9 {
			t.Errorf("exponent %v: chi-squared %.1f with %.0f degrees of freedom, %.1f sigma", e, chi, freedom, sigma)
		}
	}
	if got := newZipf(1, 0.99).draw(); got != 0 {
		t.Errorf("one key: drew %d", got)
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		in, out  string
		min, max int
	}{
		{"100", "100", 100, 100},
		{"0", "0", 0, 0},
		{"1-3", "1-3", 1, 3},
		{"100,16KiB,1MiB", "100,16384,1048576", 100, 1 << 20},
		{"8,1-2KiB", "8,1-2048", 1, 2048},
	} {
		s, err := ParseSizes(c.in)
		if err != nil || s.String() != c.out || s.Min() != c.min || s.Max() != c.max {
			t.Errorf("%s: %s from %d to %d, %v", c.in, s, s.Min(), s.Max(), err)
			continue
		}
		seen := map[int]bool{}
		for range 1000 {
			n := s.draw()
			if seen[n] = true; n < c.min || n > c.max {
				t.Errorf("%s: drew %d", c.in, n)
			}
		}
		if c.in == "1-3" && len(seen) != 3 || c.in == "100,16KiB,1MiB" && len(seen) != 3 {
			t.Errorf("%s: drew %v", c.in, seen)
		}
	}
	for _, bad := range []string{"", "x", "-1", "5-", "9-3", "1,", "2GiB", "1.5", "2000MiB", "99999999999"} {
		if s, err := ParseSizes(bad); err == nil {
			t.Errorf("%q is %s", bad, s)
		}
	}
	if none := Sizes(nil); none.Max() != 0 || none.draw() != 0 {
		t.Error("no sizes are not empty values")
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
		if _, err := CPUTime(os.Getpid()); err != nil {
			t.Error(err)
		}
	}
}
