package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/client/load"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// benchFlags are the flags of bench.
type benchFlags struct {
	addrs        []string
	bucket       string
	callers      []int
	rates        []float64
	ramp         int
	pids         []int
	r, w         string
	dist, sizes  string
	zipf         float64
	json, noFill bool
	check        bool
	histogram    bool
	load         load.Load // for each run with other Callers and Rate
}

func (a *app) benchCommand() *cobra.Command {
	f := &benchFlags{}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Put load on a cluster and measure it",
		Long: "Put load on a cluster through the Go client, and measure it.\n\n" +
			"Each caller sends its next request when it has the answer to the one before. With --rate operations are due at equal distances instead, whatever\n" +
			"becomes of those before: any caller that is free sends the next, and the latency of one that found none free counts from when it was due.\n" +
			"What was never sent is told. Reads are preceded by writing every key once, unless --no-fill says that this was done.\n\n" +
			"With --check every write has a value of its own, on keys that no other run uses; a mix has deletes too.\n" +
			"Every answer is recorded. In the end every key is read with a majority and all are listed, and answers\n" +
			"that no correct cluster gives are told: acknowledged writes that are lost, values that are stale, came back\n" +
			"or were never written, wrong \"not found\", keys that a list has twice or lacks. If there are any, or if\n" +
			"something cannot be read within --timeout, the exit code is 1. An interrupt ends the load and not the check.",
		Example: "  ringcore bench --op mix --reads 95 --keys-dist zipf --callers 64\n  ringcore bench --op put --callers 256 --rate 50000 --ramp 5 --histogram\n  ringcore bench --op get --read-quorum one --pids $(pgrep -d, ringcore)\n" +
			"  ringcore bench --check --callers 64 --duration 30s\n" +
			"  ringcore bench --json >after.json && ringcore bench compare before.json after.json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.check {
				f.checked(cmd.Flags().Changed)
			}
			return a.bench(cmd.Context(), f)
		},
	}
	cmd.AddCommand(a.benchCompare())
	fl := cmd.Flags()
	fl.StringSliceVar(&f.addrs, "addr", []string{"127.0.0.1:7400"}, "addresses (--addr) of members")
	fl.StringVarP(&f.bucket, "bucket", "b", "bench", "bucket")
	fl.StringVar(&f.load.Op, "op", "put", "put, get or mix")
	fl.IntVar(&f.load.Reads, "reads", 50, "percent of a mix that are reads")
	fl.IntSliceVar(&f.callers, "callers", []int{1, 16, 64, 256}, "requests under way at a time, one run for each number")
	fl.DurationVar(&f.load.Duration, "duration", 5*time.Second, "of one run")
	fl.Float64SliceVar(&f.rates, "rate", nil, "operations per second of all callers together, one run for each; latency counts from when one was due")
	fl.IntVar(&f.ramp, "ramp", 1, "reach each number of callers, or each --rate, in so many equal steps, a run each")
	fl.IntVar(&f.load.Keys, "keys", 100_000, "how many keys")
	fl.StringVar(&f.dist, "keys-dist", "uniform", "how they are asked for: uniform or zipf")
	fl.Float64Var(&f.zipf, "zipf", 0.99, "exponent of --keys-dist zipf: above 0; the greater, the hotter a few keys")
	fl.StringVar(&f.sizes, "value-size", "100", "bytes of a value: a number, a range, or a list of those to choose from, such as 100-1000 or 100,16KiB,1MiB")
	fl.StringVar(&f.r, "read-quorum", "", "replicas that answer a read: a number, one, quorum or all")
	fl.StringVar(&f.w, "write-quorum", "", "replicas that store a write: a number, one, quorum or all")
	fl.IntSliceVar(&f.pids, "pids", nil, "processes of the nodes: adds their CPU time")
	fl.BoolVar(&f.noFill, "no-fill", false, "do not write the keys before reading")
	fl.BoolVar(&f.check, "check", false, "record every answer and find wrong ones; by default a mix on 1,000 keys")
	fl.BoolVar(&f.histogram, "histogram", false, "show how latencies are spread; in JSON as buckets")
	fl.BoolVar(&f.json, "json", false, "as -o json")
	return cmd
}

// checked sets the defaults of --check, in which many callers meet at the same keys. A
// mix need not find something: "not found" is checked too.
func (f *benchFlags) checked(given func(flag string) bool) {
	if !given("op") {
		f.load.Op = "mix"
	}
	if !given("keys") {
		f.load.Keys = 1000
	}
	f.noFill = f.noFill || f.load.Op == "mix"
}

// valid refuses what cannot run, and reads what is written as people write it.
func (f *benchFlags) valid() error {
	l := &f.load
	var err error
	if l.Sizes, err = load.ParseSizes(f.sizes); err != nil {
		return usagef("pass for example --value-size 100-1000", "--value-size: %v", err)
	}
	switch {
	case !slices.Contains([]string{"put", "get", "mix"}, l.Op):
		return usagef("pass --op put, get or mix", "unknown operation %q", l.Op)
	case len(f.callers) == 0 || slices.Min(f.callers) < 1:
		return usagef("pass for example --callers 1,64", "there must be at least one caller")
	case l.Keys < 1 || l.Duration <= 0 || len(f.rates) > 0 && slices.Min(f.rates) < 0:
		return usagef("", "--keys, --duration and --rate must be positive")
	case l.Reads < 0 || l.Reads > 100:
		return usagef("pass for example --reads 95", "--reads is a share in percent, not %d", l.Reads)
	case f.dist != "uniform" && f.dist != "zipf":
		return usagef("pass --keys-dist uniform or zipf", "unknown distribution %q of keys", f.dist)
	case !(f.zipf > 0 && f.zipf <= 10):
		return usagef("pass for example --zipf 0.99", "the exponent of a Zipf distribution is above 0 and at most 10, not %v", f.zipf)
	case f.ramp < 1:
		return usagef("pass for example --ramp 5", "--ramp is a number of steps, not %d", f.ramp)
	case f.check && l.Sizes.Min() < witnessHeader:
		return usagef("", "with --check a value has at least %d bytes", witnessHeader)
	}
	if f.dist == "zipf" {
		l.Zipf = f.zipf
	}
	return nil
}

// loads are the runs to make: for each number of callers and each rate, in the steps
// of the ramp.
func (f *benchFlags) loads() []load.Load {
	rates := f.rates
	if len(rates) == 0 {
		rates = []float64{0}
	}
	var all []load.Load
	for _, callers := range f.callers {
		for _, rate := range rates {
			last := 0
			for step := 1; step <= f.ramp; step++ {
				l := f.load
				l.Callers, l.Rate = callers, rate*float64(step)/float64(f.ramp)
				if rate == 0 {
					if l.Callers = (callers*step + f.ramp - 1) / f.ramp; l.Callers == last {
						continue // fewer callers than steps
					}
					last = l.Callers
				}
				all = append(all, l)
			}
		}
	}
	return all
}

func (a *app) bench(ctx context.Context, f *benchFlags) error {
	if err := f.valid(); err != nil {
		return err
	}
	r, w, err := f.quorums()
	if err != nil {
		return err
	}
	c, err := a.benchClient(ctx, f)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // it has nothing left to lose
	if f.check {
		return a.benchChecked(ctx, c, f, r, w)
	}
	f.load.Target = load.Target{
		Put: func(ctx context.Context, _ int, key, value []byte) error {
			return c.Put(ctx, f.bucket, key, value, client.WriteOptions{W: w})
		},
		Get: func(ctx context.Context, _ int, key []byte) error {
			_, err := c.Get(ctx, f.bucket, key, client.ReadOptions{R: r})
			return err
		},
	}
	runs, err := a.benchRuns(ctx, f)
	if err != nil {
		return err
	}
	if f.json || a.json() {
		return a.printJSON(benchResult{Workload: f.workload(), Runs: runs})
	}
	return a.printRuns(runs)
}

// benchRuns makes all runs; with an error, those before it.
func (a *app) benchRuns(ctx context.Context, f *benchFlags) ([]benchRun, error) {
	if !(f.load.Op == "put" || f.noFill) {
		a.note("writing %d keys", f.load.Keys)
		if err := f.load.Fill(ctx); err != nil {
			return []benchRun{}, fmt.Errorf("write the keys: %w", err)
		}
	}
	runs := []benchRun{}
	for _, l := range f.loads() {
		what := l.Op
		if l.Rate > 0 {
			what = fmt.Sprintf("%.0f %ss/s", l.Rate, l.Op)
		}
		a.note("%s with %d callers for %s", what, l.Callers, l.Duration)
		end := func() {}
		if !f.json && !a.json() {
			end = a.watch(&l)
		}
		run, err := measure(ctx, &l, f.pids)
		end()
		if err != nil {
			return runs, err
		}
		if !f.histogram {
			run.Histogram = nil
		}
		runs = append(runs, *run)
	}
	return runs, nil
}

// benchClient opens the client that the load goes through.
func (a *app) benchClient(ctx context.Context, f *benchFlags) (*client.Client, error) {
	opening, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	c, err := client.Open(opening, client.Config{Addrs: f.addrs})
	if err != nil {
		return nil, &failure{code: exitUnreachable, err: err, hint: "pass the --addr of a member"}
	}
	return c, nil
}

func (f *benchFlags) quorums() (r, w wire.Quorum, err error) {
	if r, err = quorum(f.r); err == nil {
		w, err = quorum(f.w)
	}
	return r, w, err
}

// quorum reads a quorum as people write it.
func quorum(s string) (wire.Quorum, error) {
	q, err := wire.ParseQuorum(s)
	if err != nil {
		return 0, usagef("pass a number, one, quorum or all", "%q is no quorum", s)
	}
	return q, nil
}
