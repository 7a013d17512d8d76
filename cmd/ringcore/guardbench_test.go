//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/client/load"
)

const (
	guardBar      = 1.15 // of what the baseline says
	guardBaseline = "../../testdata/bench/baseline.json"
	guardCallers  = 64
	guardKeys     = 20_000
	guardRounds   = 15
	guardSlice    = time.Second / 4 // of one measurement
	guardLeast    = 500             // operations in one
	guardTries    = 3               // a cost that is real is there each time
	guardRest     = 2 * time.Second // before the next try
)

// guardFigures is what an operation costs the client and the three nodes together.
type guardFigures struct {
	CPU    float64 `json:"cpu_to_yardstick"` // see yardstick
	Allocs float64 `json:"allocs"`
	// What CPU was where the baseline was taken, for people.
	Seconds float64 `json:"cpu_s_per_million"`
}

// guardOp is an operation that is guarded, N=3.
type guardOp struct {
	name   string
	op     string
	target load.Target
}

// TestGuardBench compares what operations cost with the committed baseline, see make
// bench-guard. With UPDATE=1 it writes the baseline. Nodes and client are one process with
// one processor, on a disk of memory where there is one: how much comes together in a batch,
// and so what it costs, then hangs neither on the disk nor on who else wants the machine.
func TestGuardBench(t *testing.T) {
	if os.Getenv("RINGCORE_BENCH_GUARD") == "" {
		t.Skip("make bench-guard runs it")
	}
	b := newGuardBench(t)
	update := os.Getenv("UPDATE") == "1"
	baseline := map[string]guardFigures{}
	if !update {
		raw, err := os.ReadFile(guardBaseline)
		if err != nil {
			t.Fatalf("%v: make bench-guard UPDATE=1 writes it", err)
		}
		if err := json.Unmarshal(raw, &baseline); err != nil {
			t.Fatalf("%s: %v", guardBaseline, err)
		}
	}
	best := map[string]guardFigures{}
	for try := range guardTries {
		if try > 0 {
			<-time.After(guardRest)
		}
		for name, f := range b.measure() {
			if old, ok := best[name]; ok {
				f = guardFigures{min(f.CPU, old.CPU), min(f.Allocs, old.Allocs), min(f.Seconds, old.Seconds)}
			}
			best[name] = f
		}
		if !update && len(guardWorse(baseline, best)) == 0 {
			break
		}
	}
	if update {
		raw, err := json.MarshalIndent(best, "", "  ")
		if err == nil {
			err = os.WriteFile(guardBaseline, append(raw, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		say("%s: %s", filepath.Base(guardBaseline), raw)
		return
	}
	worse := guardWorse(baseline, best)
	for _, op := range b.ops {
		was, is := baseline[op.name], best[op.name]
		bar(t, !slices.ContainsFunc(worse, func(w string) bool { return strings.HasPrefix(w, op.name+": ") }),
			"%s: CPU %.2f yardsticks, was %.2f; %.1f allocations, were %.1f; bar %.2f times", op.name, is.CPU, was.CPU, is.Allocs, was.Allocs, guardBar)
	}
	for _, w := range worse {
		say("%s", w)
	}
	if was, is := baseline["put"], best["put"]; len(worse) == 0 && is.CPU < was.CPU/guardBar {
		say("puts are cheaper than the baseline says: make bench-guard UPDATE=1, and commit it")
	}
}

// guardWorse is what is beyond the bar, in words. An allocation more or less in a hundred
// operations is none.
func guardWorse(baseline, now map[string]guardFigures) []string {
	var worse []string
	for name, was := range baseline {
		is, ok := now[name]
		if !ok {
			worse = append(worse, name+": the baseline has it, and it is not measured")
			continue
		}
		for _, f := range []struct {
			what    string
			is, was float64
		}{{"CPU, in yardsticks", is.CPU, was.CPU}, {"allocations", is.Allocs, was.Allocs}} {
			if f.is > f.was*guardBar+0.01 {
				worse = append(worse, fmt.Sprintf("%s: %s: %.2f, was %.2f: %.2f times", name, f.what, f.is, f.was, f.is/f.was))
			}
		}
	}
	for name := range now {
		if _, ok := baseline[name]; !ok {
			worse = append(worse, name+": the baseline does not have it: make bench-guard UPDATE=1")
		}
	}
	slices.Sort(worse)
	return worse
}

// guardBench is three nodes and a client.
type guardBench struct {
	t   *testing.T
	ops []guardOp
}

func newGuardBench(t *testing.T) *guardBench {
	t.Helper()
	b := &guardBench{t: t}
	procs := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(procs) })
	addr := guardNodes(t)
	c, err := client.Open(t.Context(), client.Config{Addrs: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	get := func(r client.Quorum) load.Target {
		return load.Target{
			Put: func(ctx context.Context, _ int, key, value []byte) error {
				return c.Put(ctx, benchBucket, key, value, client.WriteOptions{})
			},
			Get: func(ctx context.Context, _ int, key []byte) error {
				_, err := c.Get(ctx, benchBucket, key, client.ReadOptions{R: r})
				return err
			},
		}
	}
	b.ops = []guardOp{{"put", "put", get(1)}, {"get R=1", "get", get(1)}, {"get R=2", "get", get(2)}}
	if err := b.load("put", get(1)).Fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// guardNodes opens three nodes in this process, and returns the address of one.
func guardNodes(t *testing.T) (addr string) {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "ringcore-guard") //nolint:usetesting // in memory, whatever the disk does
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var all []*process // as settle wants it
	for i := range 3 {
		name := fmt.Sprint("n", i+1)
		cfg := ringcore.Config{
			Dir: filepath.Join(dir, name), Name: name, Addr: "127.0.0.1:0", GossipAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", RESPAddr: "off",
			DiskLow: "0", DiskCritical: "0", OneMachine: true, Logger: slog.New(slog.DiscardHandler),
		}
		if i > 0 {
			cfg.Join = []string{addr}
		}
		n, err := ringcore.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		if err := n.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			addr = n.Info().Addr
		}
		all = append(all, &process{t: t, name: name, http: n.Info().HTTPAddr})
	}
	settle(t, all...)
	return addr
}

func (b *guardBench) load(op string, target load.Target) *load.Load {
	return &load.Load{Op: op, Target: target, Callers: guardCallers, Duration: guardSlice, Keys: guardKeys, Sizes: load.Size(100)}
}

// measure is what each operation costs: of several rounds the median, for CPU of the
// quotients with the yardsticks of the same round, which stand before and behind.
func (b *guardBench) measure() map[string]guardFigures {
	b.t.Helper()
	rounds := map[string][]guardFigures{}
	for range guardRounds {
		for _, op := range b.ops {
			before := b.yard()
			f := b.cost(b.load(op.op, op.target))
			f.CPU = f.Seconds / ((before + b.yard()) / 2)
			rounds[op.name] = append(rounds[op.name], f)
		}
	}
	medians := map[string]guardFigures{}
	for name, all := range rounds {
		medians[name] = guardFigures{
			CPU:     median(all, func(f guardFigures) float64 { return f.CPU }),
			Allocs:  median(all, func(f guardFigures) float64 { return f.Allocs }),
			Seconds: median(all, func(f guardFigures) float64 { return f.Seconds }),
		}
		say("%s: CPU %.1f s per million, %.2f yardsticks of %v; %.1f allocations", name, medians[name].Seconds, medians[name].CPU, rounded(all), medians[name].Allocs)
	}
	return medians
}

func median(all []guardFigures, of func(guardFigures) float64) float64 {
	var v []float64
	for _, f := range all {
		v = append(v, of(f))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

func rounded(all []guardFigures) []string {
	var v []string
	for _, f := range all {
		v = append(v, strconv.FormatFloat(f.CPU, 'f', 2, 64))
	}
	return v
}

// yard is the CPU seconds that a million yardsticks take.
func (b *guardBench) yard() float64 {
	b.t.Helper()
	y := newYardstick(b.t, guardCallers)
	l := b.load("get", y.target())
	l.Duration = guardSlice / 2
	f := b.cost(l)
	if err := y.close(); err != nil {
		b.t.Fatal(err)
	}
	return f.Seconds
}

// cost is what an operation of a load costs, but for CPU by yardstick.
func (b *guardBench) cost(l *load.Load) guardFigures {
	b.t.Helper()
	var before, after guardFigures
	var res *load.Result
	// A machine that is busy with others may leave too little to count.
	for try := 0; res == nil || res.Latency.Total() < guardLeast; try++ {
		if try == guardTries {
			b.t.Fatalf("%d operations in %s: the machine is too busy to measure anything", res.Latency.Total(), l.Duration)
		}
		before = b.spent()
		res = l.Run(b.t.Context())
		after = b.spent()
		if res.Errors > 0 {
			b.t.Fatalf("%d operations, %d errors, for example: %v", res.Latency.Total(), res.Errors, res.Last)
		}
	}
	ops := float64(res.Latency.Total())
	return guardFigures{
		Seconds: (after.Seconds - before.Seconds) / ops * 1e6,
		Allocs:  (after.Allocs - before.Allocs) / ops,
	}
}

// spent is what this process has spent until now.
func (b *guardBench) spent() (f guardFigures) {
	b.t.Helper()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		b.t.Fatal(err)
	}
	return guardFigures{Allocs: float64(m.Mallocs), Seconds: float64(own.Utime.Nano()+own.Stime.Nano()) / 1e9}
}
