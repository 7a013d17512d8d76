package load

import (
	"context"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Target is what load is put on. Its functions are called from many goroutines, by
// each caller one at a time; Put may change value.
type Target struct {
	Put    func(ctx context.Context, caller int, key, value []byte) error
	Get    func(ctx context.Context, caller int, key []byte) error
	Delete func(ctx context.Context, caller int, key []byte) error // nil: a mix has no deletes
}

// deleteEvery is how many writes of a mix with deletes there are to one delete.
const deleteEvery = 4

// drain is how long operations of an open loop may go on after its end.
const drain = 5 * time.Second

// Load is an amount of work for a Target. Op, Callers, Duration and Keys are required.
type Load struct {
	Target   Target
	Op       string // put, get or mix
	Reads    int    // percent of a mix; some of its writes are deletes, if the target has those
	Callers  int    // operations under way at a time, at most
	Duration time.Duration
	Keys     int
	Zipf     float64 // how uneven keys are asked for: the exponent of a Zipf distribution; 0: all alike
	Sizes    Sizes   // of values; empty ones if nil
	Rate     float64 // operations per second of all callers together; 0: a closed loop

	// Progress is called every so often while a run is under way, with what came
	// since the call before.
	Progress func(elapsed time.Duration, last *Result)
	Every    time.Duration
}

// Result is what a run has measured.
type Result struct {
	Latency Histogram // of operations that succeeded
	Errors  uint64
	Last    error // one of them
	Elapsed time.Duration
	Unsent  uint64 // were due in an open loop before its end, and not sent
}

func (r *Result) add(o *Result) {
	r.Latency.Add(&o.Latency)
	r.Errors += o.Errors
	if o.Last != nil {
		r.Last = o.Last
	}
}

// run is a Load under way.
type run struct {
	*Load
	begun, end time.Time
	zipf       *zipf        // nil: all keys alike
	next       atomic.Int64 // the number of the operation that is due next, in an open loop
	sent       atomic.Int64
	cut        atomic.Bool // the end has come
	callers    []caller
}

// caller is what one caller has measured since the last look.
type caller struct {
	mu sync.Mutex // held for map operations
	r  Result
}

// Run puts load on the target until the duration is over or ctx ends.
func (l *Load) Run(ctx context.Context) *Result {
	r := &run{Load: l, begun: time.Now(), callers: make([]caller, l.Callers)}
	r.end = r.begun.Add(l.Duration)
	if l.Zipf > 0 {
		r.zipf = newZipf(l.Keys, l.Zipf)
	}
	// A closed loop is cut off at its end; what an open one has sent may be answered. The
	// end is no deadline, which a target would plan for, as it does not for its users.
	end := l.Duration
	if l.Rate > 0 {
		end += drain
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cut := time.AfterFunc(end, func() {
		r.cut.Store(true)
		cancel()
	})
	defer cut.Stop()
	sum := &Result{}
	watched := make(chan struct{})
	var watching sync.WaitGroup
	if l.Progress != nil {
		watching.Go(func() { r.watch(watched, sum) })
	}
	var calling sync.WaitGroup
	for i := range r.callers {
		calling.Go(func() { r.call(ctx, i) })
	}
	calling.Wait()
	close(watched)
	watching.Wait()
	sum.add(r.take())
	sum.Elapsed = time.Since(r.begun)
	if due := int64(math.Ceil(l.Rate * l.Duration.Seconds())); due > r.sent.Load() && l.Rate > 0 {
		sum.Unsent = uint64(due - r.sent.Load())
	}
	return sum
}

// watch tells Progress what comes, and adds it to sum, until done is closed.
func (r *run) watch(done <-chan struct{}, sum *Result) {
	tick := time.NewTicker(r.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-done:
			return
		}
		last := r.take()
		sum.add(last)
		r.Progress(time.Since(r.begun), last)
	}
}

// take is what all callers have measured since it was last called.
func (r *run) take() *Result {
	sum := &Result{}
	for i := range r.callers {
		c := &r.callers[i]
		c.mu.Lock()
		sum.add(&c.r)
		c.r = Result{}
		c.mu.Unlock()
	}
	return sum
}

// call is one caller. A request that the end of the run cuts off does not count.
func (r *run) call(ctx context.Context, number int) {
	c := &r.callers[number]
	value := randomValue(r.Sizes.Max())
	timer := time.NewTimer(0)
	defer timer.Stop()
	reads := r.Reads
	switch r.Op {
	case "get":
		reads = 100
	case "put":
		reads = 0
	}
	for n := rand.IntN(100); ; n++ { // callers are not in step
		begin, ok := r.await(ctx, timer)
		if !ok {
			return
		}
		key := Key(r.draw())
		var err error
		write := n - n*reads/100 // how many there were before
		switch {
		case (n+1)*reads/100 > n*reads/100:
			err = r.Target.Get(ctx, number, key)
		case r.Op == "mix" && r.Target.Delete != nil && write%deleteEvery == 0:
			err = r.Target.Delete(ctx, number, key)
		default:
			err = r.Target.Put(ctx, number, key, value[:r.Sizes.draw()])
		}
		now := time.Now()
		c.mu.Lock()
		if err == nil {
			c.r.Latency.Record(now.Sub(begin))
		} else if r.counts(ctx, now) {
			c.r.Errors++
			c.r.Last = err
		}
		c.mu.Unlock()
	}
}

// counts reports whether a failure now is the target's: not if the run was interrupted, or
// cut off at the end of a closed loop.
func (r *run) counts(ctx context.Context, now time.Time) bool {
	if r.Rate > 0 {
		return ctx.Err() == nil || r.cut.Load()
	}
	return ctx.Err() == nil && now.Before(r.end)
}

// await waits until the caller's next operation is due, and returns when it began: in an
// open loop, when it was due, if no caller was free then. A caller that was free
// and woke late is the generator's fault, not the target's. false if the run ends first.
func (r *run) await(ctx context.Context, timer *time.Timer) (begin time.Time, ok bool) {
	now := time.Now()
	if r.Rate <= 0 {
		return now, ctx.Err() == nil && now.Before(r.end)
	}
	due := r.begun.Add(time.Duration(float64(r.next.Add(1)-1) / r.Rate * float64(time.Second)))
	if !due.Before(r.end) || !now.Before(r.end) || ctx.Err() != nil {
		return due, false
	}
	if now.Before(due) {
		timer.Reset(due.Sub(now))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return due, false
		}
		due = time.Now()
	}
	r.sent.Add(1)
	return due, true
}

// draw is the number of a key.
func (r *run) draw() int {
	if r.zipf != nil {
		return r.zipf.draw()
	}
	return rand.IntN(r.Keys)
}

// Fill stores every key once, so that reads find something.
func (l *Load) Fill(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	const callers = 64
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			value := randomValue(l.Sizes.Max())
			for i := c; i < l.Keys && ctx.Err() == nil; i += callers {
				if err := l.Target.Put(ctx, c, Key(i), value[:l.Sizes.draw()]); err != nil {
					cancel(err) // the first cause counts
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// Key is the key with number i.
func Key(i int) []byte {
	return strconv.AppendInt(append(make([]byte, 0, 24), "bench-"...), int64(i), 10)
}

// randomValue does not compress.
func randomValue(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}
