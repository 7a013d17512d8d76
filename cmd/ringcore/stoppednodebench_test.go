//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/client/load"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

const (
	stoppedCallers = 1000                  // that want keys of the stopped node
	stoppedPause   = 50 * time.Millisecond // between their calls, as of a caller that is told to back off
	stoppedMemory  = 64_000_000            // bytes of RssAnon that they may cost another node
	stoppedRefusal = 100 * time.Millisecond
)

// TestStoppedNodeBench measures what a thousand callers of a node that hangs cost: how
// soon they are refused, the memory of a node beside it, and what callers of other keys
// notice. See make bench-overload.
func TestStoppedNodeBench(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("RINGCORE_BENCH_OVERLOAD"))
	if err != nil {
		t.Skip("make bench-overload runs it")
	}
	b := startBenchNode(t, "--replicas", "1")
	n2 := startProcess(t, "n2", "--join", b.node.addr, "--log-level", "warn")
	n3 := startProcess(t, "n3", "--join", b.node.addr, "--log-level", "warn")
	settle(t, b.node, n2, n3)
	wanted, others := b.keysOf(n3.name)
	for _, key := range slices.Concat(wanted, others) {
		if err := b.clients[0].Put(t.Context(), benchBucket, key, []byte("v"), client.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	alone := b.readers(length, others)
	before, err := b.anonymous()
	if err != nil {
		t.Fatal(err)
	}
	memory := b.watchMemory()
	freeze(n3)
	defer thaw(n3)
	ctx, stop := context.WithCancel(t.Context())
	callers := b.callOnAndOn(ctx, wanted)
	until(t, "all are refused", func() error {
		if n := callers.fewest(); n < 2 {
			return fmt.Errorf("a caller has had %d answers", n)
		}
		return nil
	})
	callers.reset() // those of the first second had to wait until it was noticed
	busy := cpuOf(t, b.node, n2)
	beside := b.readers(length, others)
	busy = cpuOf(t, b.node, n2) - busy
	refused := callers.count()
	stop()
	callers.wg.Wait()
	say("%d refusals in %v; the nodes that are up used %v of CPU in that time, for these and for the others", refused, length, round(busy))
	grown := memory.end() - before
	slices.Sort(callers.took)
	refusal := callers.took[len(callers.took)*99/100]
	say("%d callers of a node that hangs: %v, p50 %v, p99 %v", stoppedCallers, callers.codes, round(callers.took[len(callers.took)/2]), round(refusal))
	for code := range callers.codes {
		if !slices.Contains([]wire.Code{wire.Unavailable, wire.Overload, wire.Deadline}, code) {
			t.Errorf("they are answered %v", callers.codes)
		}
	}
	bar(t, refusal < stoppedRefusal, "refused within %v (p99); bar %v", round(refusal), stoppedRefusal)
	bar(t, grown < stoppedMemory, "RssAnon of a node beside it grew by %s from %s; bar %s", mb(grown), mb(before), mb(stoppedMemory))
	bar(t, beside < 2*alone, "p99 of 16 callers of other keys: %v alone, %v beside them: %.2f times; bar 2", round(alone), round(beside), float64(beside)/float64(alone))
}

// cpuOf is the CPU time that some processes have used.
func cpuOf(t *testing.T, nodes ...*process) (sum time.Duration) {
	t.Helper()
	for _, p := range nodes {
		used, err := load.CPUTime(p.cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		sum += used
	}
	return sum
}

// keysOf are keys that the named node owns, and keys that others do.
func (b *benchNode) keysOf(name string) (its, others [][]byte) {
	b.t.Helper()
	var r struct{ Owners [][]string }
	if err := b.node.get("/v1/ring", &r); err != nil {
		b.t.Fatal(err)
	}
	for i := 0; len(its) < 1000 || len(others) < 1000; i++ {
		key := benchKey(i)
		if r.Owners[ring.Locate(ring.HashKey(benchBucket, key), len(r.Owners))][0] == name {
			its = append(its, key)
		} else {
			others = append(others, key)
		}
	}
	return its, others
}

// readers is the 99th percentile of the time that 16 callers wait for keys.
func (b *benchNode) readers(length time.Duration, keys [][]byte) time.Duration {
	b.t.Helper()
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	end := time.Now().Add(length)
	for i := range 16 {
		wg.Go(func() {
			var mine []time.Duration
			for at := i; time.Now().Before(end); at += 16 {
				began := time.Now()
				if _, err := b.clients[0].Get(b.t.Context(), benchBucket, keys[at%len(keys)], client.ReadOptions{}); err != nil {
					b.t.Error(err)
					return
				}
				mine = append(mine, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
		})
	}
	wg.Wait()
	if len(took) < 100 {
		b.t.Fatalf("only %d reads", len(took))
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// refusals counts how calls ended, and what they took.
type refusals struct {
	wg    sync.WaitGroup
	mu    sync.Mutex
	codes map[wire.Code]int
	took  []time.Duration

	answers [stoppedCallers]atomic.Int64 // of each caller, since the beginning
}

func (r *refusals) add(err error, took time.Duration) {
	code := wire.OK
	var problem *wire.Error
	if errors.As(err, &problem) {
		code = problem.Code
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.codes[code]++
	r.took = append(r.took, took)
}

func (r *refusals) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.took)
}

// fewest is how many answers each caller has had at least.
func (r *refusals) fewest() int {
	least := int64(math.MaxInt64)
	for i := range r.answers {
		least = min(least, r.answers[i].Load())
	}
	return int(least)
}

func (r *refusals) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.codes)
	r.took = nil
}

// callOnAndOn has callers ask for keys, each again a pause after it is answered.
func (b *benchNode) callOnAndOn(ctx context.Context, keys [][]byte) *refusals {
	r := &refusals{codes: make(map[wire.Code]int)}
	for i := range stoppedCallers {
		r.wg.Go(func() {
			pause := time.NewTicker(stoppedPause)
			defer pause.Stop()
			for ctx.Err() == nil {
				began := time.Now()
				one, cancel := context.WithTimeout(ctx, 2*time.Second)
				_, err := b.clients[1].Get(one, benchBucket, keys[i%len(keys)], client.ReadOptions{})
				cancel()
				if ctx.Err() == nil {
					r.add(err, time.Since(began))
					r.answers[i].Add(1)
				}
				<-pause.C
			}
		})
	}
	return r
}
