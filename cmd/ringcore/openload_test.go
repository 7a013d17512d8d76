//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/client/load"
)

// openLoad sends requests at a fixed rate, whatever becomes of those before: a stall
// shows in all that would have come meanwhile. Half of them are writes. Each key is asked
// for by one worker alone, which knows what it must hold.
type openLoad struct {
	b       *moveBench
	workers []*openWorker
	before  time.Duration // p99 of the first measurement

	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex     // held for map operations
	all      load.Histogram // of the measurement under way
	slots    map[int]time.Duration
	bad      []error
	lastErr  error
	errors   uint64
	requests atomic.Uint64
}

// openWorker owns the keys that are its number modulo the number of workers.
type openWorker struct {
	l       *openLoad
	number  int
	queue   chan time.Time // when each request is due
	version map[int]int    // that was acknowledged last; 1 if there is none
	maybe   map[int][]int  // versions that may have been stored since
}

const openWorkers = 512

func newOpenLoad(b *moveBench) *openLoad {
	l := &openLoad{b: b, slots: make(map[int]time.Duration)}
	for i := range openWorkers {
		l.workers = append(l.workers, &openWorker{
			l: l, number: i, queue: make(chan time.Time, 4096), version: make(map[int]int), maybe: make(map[int][]int),
		})
	}
	return l
}

// most is the rate of a closed loop of 64 callers.
func (l *openLoad) most() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), moveMeasure)
	defer cancel()
	began := time.Now()
	var wg sync.WaitGroup
	var done atomic.Int64
	for i := range 64 {
		wg.Go(func() {
			for ctx.Err() == nil {
				l.workers[i].ask(context.Background(), time.Now())
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(began).Seconds()
}

// start sends rate requests a second until stop.
func (l *openLoad) start(rate float64) {
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	for _, w := range l.workers {
		l.running.Go(func() {
			for due := range w.queue {
				w.ask(context.Background(), due)
			}
		})
	}
	l.running.Go(func() {
		defer func() {
			for _, w := range l.workers {
				close(w.queue)
			}
		}()
		began := time.Now()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for sent := 0; ctx.Err() == nil; {
			for due := int(time.Since(began).Seconds() * rate); sent < due; sent++ {
				at := began.Add(time.Duration(float64(sent) / rate * float64(time.Second)))
				select {
				case l.workers[rand.IntN(len(l.workers))].queue <- at:
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
}

func (l *openLoad) stop() {
	l.cancel()
	l.running.Wait()
}

// measure counts what is asked while do runs.
func (l *openLoad) measure(what string, do func()) {
	l.mu.Lock()
	l.all = load.Histogram{}
	clear(l.slots)
	l.mu.Unlock()
	do()
	if what == "before" {
		l.mu.Lock()
		l.before = l.all.Quantile(0.99)
		l.mu.Unlock()
	}
}

// report says what the last measurement has found.
func (l *openLoad) report(t *testing.T, fdatasync time.Duration) {
	t.Helper()
	l.mu.Lock()
	p99, worst := l.all.Quantile(0.99), l.all.Max()
	var stalls []time.Duration
	for _, d := range l.slots {
		stalls = append(stalls, d)
	}
	l.mu.Unlock()
	bar(t, float64(p99) <= moveP99Bar*float64(l.before), "p99 %.2f ms, %.1f times that before; longest %.1f ms; bar %.0f times",
		ms(p99), float64(p99)/float64(l.before), ms(worst), moveP99Bar)
	slices.Sort(stalls)
	if len(stalls) == 0 {
		return
	}
	stall := stalls[(len(stalls)*99+99)/100-1]
	bar(t, stall <= moveStallBar || fdatasync > moveSyncBar, "longest request of a partition: median %.1f ms, p99 %.1f ms; bar %s where fdatasync takes %s",
		ms(stalls[len(stalls)/2]), ms(stall), moveStallBar, moveSyncBar)
}

func (l *openLoad) wrong() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.bad)
}

func (l *openLoad) failed() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lastErr != nil {
		say("        an error of the load: %v", l.lastErr)
	}
	return l.errors
}

func (l *openLoad) asked() uint64 { return l.requests.Load() }

// ask sends one request that was due at a time.
func (w *openWorker) ask(ctx context.Context, due time.Time) {
	l := w.l
	i := w.number + openWorkers*rand.IntN(l.b.records/openWorkers)
	c := l.b.clients[w.number%len(l.b.clients)]
	l.requests.Add(1)
	var err, wrong error
	if rand.IntN(2) == 0 {
		err = w.put(ctx, c, i)
	} else {
		wrong, err = w.get(ctx, c, i)
	}
	took := time.Since(due)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Record(took)
	p := int(benchPartition(i, 64))
	l.slots[p] = max(l.slots[p], took)
	if err != nil {
		l.errors++
		l.lastErr = err
	}
	if wrong != nil && len(l.bad) < 10 {
		l.bad = append(l.bad, wrong)
	}
}

func (w *openWorker) put(ctx context.Context, c *client.Client, i int) error {
	next := max(w.version[i], 1) + 1
	for _, v := range w.maybe[i] {
		next = max(next, v+1)
	}
	err := c.Put(ctx, benchBucket, benchKey(i), benchRecord(i, next, bigValue), client.WriteOptions{})
	if err != nil {
		w.maybe[i] = append(w.maybe[i], next)
		return err
	}
	w.version[i] = next
	delete(w.maybe, i)
	return nil
}

// get reads record i and says whether what it holds is what was written last.
func (w *openWorker) get(ctx context.Context, c *client.Client, i int) (wrong, err error) {
	got, err := w.l.b.get(ctx, c, i)
	if err != nil {
		if errors.Is(err, client.ErrNotFound) {
			return fmt.Errorf("record %d is not found", i), nil
		}
		return nil, err
	}
	for _, v := range append([]int{max(w.version[i], 1)}, w.maybe[i]...) {
		if bytes.Equal(got, benchRecord(i, v, bigValue)) {
			return nil, nil
		}
	}
	return fmt.Errorf("record %d is %.30q, not version %d or one of %v", i, got, max(w.version[i], 1), w.maybe[i]), nil
}

// expectFinal reads record i after the load.
func (l *openLoad) expectFinal(ctx context.Context, c *client.Client, i int) error {
	w := &openWorker{l: l, version: l.workers[i%openWorkers].version, maybe: l.workers[i%openWorkers].maybe}
	wrong, err := w.get(ctx, c, i)
	return errors.Join(wrong, err)
}
