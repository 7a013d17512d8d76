package main

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"
)

// target is what load is put on. Its functions are called from many goroutines, by
// each caller one at a time; put may change value.
type target struct {
	put    func(ctx context.Context, caller int, key, value []byte) error
	get    func(ctx context.Context, caller int, key []byte) error
	delete func(ctx context.Context, caller int, key []byte) error // nil: a mix has no deletes
}

// deleteEvery is how many operations of a mix with deletes there are to one delete.
const deleteEvery = 8

// load is a closed loop: each caller sends its next request when it has the
// answer to the one before, and no sooner than the rate wants it.
type load struct {
	target    target
	op        string // put, get or mix: half and half; of the writes some are deletes, if the target has those
	callers   int
	duration  time.Duration
	keys      int
	valueSize int
	rate      float64   // operations per second of all callers together; 0: as many as they can
	begun     time.Time // the run that is under way
}

// loadResult is what a run has measured.
type loadResult struct {
	latency histogram // of requests that succeeded
	errors  uint64
	last    error // one of them
	elapsed time.Duration
}

// run puts load on the target until the duration is over or ctx ends.
func (l *load) run(ctx context.Context) *loadResult {
	ctx, cancel := context.WithTimeout(ctx, l.duration)
	defer cancel()
	results := make([]loadResult, l.callers)
	var wg sync.WaitGroup
	l.begun = time.Now()
	for i := range results {
		wg.Go(func() { l.call(ctx, i, &results[i]) })
	}
	wg.Wait()
	sum := &loadResult{elapsed: time.Since(l.begun)}
	for i := range results {
		sum.latency.add(&results[i].latency)
		sum.errors += results[i].errors
		if results[i].last != nil {
			sum.last = results[i].last
		}
	}
	return sum
}

// call is one caller. A request that the end of the run cuts off does not count.
func (l *load) call(ctx context.Context, caller int, r *loadResult) {
	value := randomValue(l.valueSize)
	end, _ := ctx.Deadline()
	for n := 0; ctx.Err() == nil; n++ {
		key := benchKey(rand.IntN(l.keys))
		begin, ok := l.await(ctx, caller, n)
		if !ok {
			return
		}
		var err error
		switch {
		case l.target.delete != nil && l.op == "mix" && n%deleteEvery == 0:
			err = l.target.delete(ctx, caller, key)
		case l.op == "put" || l.op == "mix" && n%2 == 0:
			err = l.target.put(ctx, caller, key, value)
		default:
			err = l.target.get(ctx, caller, key)
		}
		switch {
		case err == nil:
			r.latency.record(time.Since(begin))
		case ctx.Err() == nil && time.Now().Before(end):
			r.errors++
			r.last = err
		}
	}
}

// await waits until a caller's n-th operation is due and returns when that was: an
// operation that begins late, because the one before took long, has waited too. false
// if the run ends first.
func (l *load) await(ctx context.Context, caller, n int) (due time.Time, ok bool) {
	if l.rate <= 0 {
		return time.Now(), true
	}
	due = l.begun.Add(time.Duration((float64(n*l.callers) + float64(caller)) / l.rate * float64(time.Second)))
	select {
	case <-time.After(time.Until(due)):
		return due, true
	case <-ctx.Done():
		return due, false
	}
}

// fill stores every key once, so that reads find something.
func (l *load) fill(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	const callers = 64
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			value := randomValue(l.valueSize)
			for i := c; i < l.keys && ctx.Err() == nil; i += callers {
				if err := l.target.put(ctx, c, benchKey(i), value); err != nil {
					cancel(err) // the first cause counts
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func benchKey(i int) []byte { return strconv.AppendInt([]byte("bench-"), int64(i), 10) }

// randomValue does not compress.
func randomValue(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}
