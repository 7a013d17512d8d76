package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// benchFlags are the flags of bench.
type benchFlags struct {
	addrs        []string
	bucket       string
	callers      []int
	pids         []int
	r, w         string
	json, noFill bool
	check        bool
	load         load
}

// benchRun is one line of bench's output, and its JSON.
type benchRun struct {
	Op      string  `json:"op"`
	Callers int     `json:"callers"`
	Ops     uint64  `json:"ops"`
	Errors  uint64  `json:"errors"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"ops_per_s"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	P999    float64 `json:"p999_ms"`
	Max     float64 `json:"max_ms"`
	// CPU seconds for a million operations, of this process and of those of --pids.
	ClientCPU float64 `json:"client_cpu_s_per_million"`
	ServerCPU float64 `json:"server_cpu_s_per_million,omitempty"`
	LastError string  `json:"last_error,omitempty"`
}

func (a *app) benchCommand() *cobra.Command {
	f := &benchFlags{}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Put load on a cluster and measure it",
		Long: "Put load on a cluster through the Go client, and measure it.\n\n" +
			"Each caller sends its next request when it has the answer to the one before, with --rate no sooner than that wants it. Reads are preceded by\n" +
			"writing every key once, unless --no-fill says that this was done.\n\n" +
			"With --check every write has a value of its own, on keys that no other run uses; a mix has deletes too.\n" +
			"Every answer is recorded. In the end every key is read with a majority and all are listed, and answers\n" +
			"that no correct cluster gives are told: acknowledged writes that are lost, values that are stale, came back\n" +
			"or were never written, wrong \"not found\", keys that a list has twice or lacks. If there are any, or if\n" +
			"something cannot be read within --timeout, the exit code is 1. An interrupt ends the load and not the check.",
		Example: "  ringcore bench --op mix --callers 64\n  ringcore bench --op get --read-quorum one --pids $(pgrep -d, ringcore)\n" +
			"  ringcore bench --check --callers 64 --duration 30s",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.check {
				f.checked(cmd.Flags().Changed)
			}
			return a.bench(cmd.Context(), f)
		},
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&f.addrs, "addr", []string{"127.0.0.1:7400"}, "addresses (--addr) of members")
	fl.StringVarP(&f.bucket, "bucket", "b", "bench", "bucket")
	fl.StringVar(&f.load.op, "op", "put", "put, get or mix")
	fl.IntSliceVar(&f.callers, "callers", []int{1, 16, 64, 256}, "requests under way at a time, one run for each number")
	fl.DurationVar(&f.load.duration, "duration", 5*time.Second, "of one run")
	fl.Float64Var(&f.load.rate, "rate", 0, "operations per second of all callers together; latency counts from when one was due")
	fl.IntVar(&f.load.keys, "keys", 100_000, "how many keys")
	fl.IntVar(&f.load.valueSize, "value-size", 100, "bytes of a value")
	fl.StringVar(&f.r, "read-quorum", "", "replicas that answer a read: a number, one, quorum or all")
	fl.StringVar(&f.w, "write-quorum", "", "replicas that store a write: a number, one, quorum or all")
	fl.IntSliceVar(&f.pids, "pids", nil, "processes of the nodes: adds their CPU time")
	fl.BoolVar(&f.noFill, "no-fill", false, "do not write the keys before reading")
	fl.BoolVar(&f.check, "check", false, "record every answer and find wrong ones; by default a mix on 1,000 keys")
	fl.BoolVar(&f.json, "json", false, "as -o json")
	return cmd
}

// checked sets the defaults of --check, in which many callers meet at the same keys. A
// mix need not find something: "not found" is checked too.
func (f *benchFlags) checked(given func(flag string) bool) {
	if !given("op") {
		f.load.op = "mix"
	}
	if !given("keys") {
		f.load.keys = 1000
	}
	f.noFill = f.noFill || f.load.op == "mix"
}

// valid refuses what cannot run.
func (f *benchFlags) valid() error {
	l := &f.load
	switch {
	case !slices.Contains([]string{"put", "get", "mix"}, l.op):
		return usagef("pass --op put, get or mix", "unknown operation %q", l.op)
	case len(f.callers) == 0 || slices.Min(f.callers) < 1:
		return usagef("pass for example --callers 1,64", "there must be at least one caller")
	case l.keys < 1 || l.valueSize < 0 || l.duration <= 0 || l.rate < 0:
		return usagef("", "--keys, --value-size, --duration and --rate must be positive")
	case f.check && l.valueSize < witnessHeader:
		return usagef("", "with --check a value has at least %d bytes", witnessHeader)
	}
	return nil
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
	f.load.target = target{
		put: func(ctx context.Context, _ int, key, value []byte) error {
			return c.Put(ctx, f.bucket, key, value, client.WriteOptions{W: w})
		},
		get: func(ctx context.Context, _ int, key []byte) error {
			_, err := c.Get(ctx, f.bucket, key, client.ReadOptions{R: r})
			return err
		},
	}
	runs, err := a.benchRuns(ctx, f)
	if err != nil {
		return err
	}
	if f.json || a.json() {
		return a.printJSON(map[string]any{"runs": runs})
	}
	return a.printRuns(runs)
}

// benchRuns is one run for each number of callers; with an error, those before it.
func (a *app) benchRuns(ctx context.Context, f *benchFlags) ([]benchRun, error) {
	if f.load.op != "put" && !f.noFill {
		a.note("writing %d keys", f.load.keys)
		if err := f.load.fill(ctx); err != nil {
			return []benchRun{}, fmt.Errorf("write the keys: %w", err)
		}
	}
	runs := []benchRun{}
	for _, n := range f.callers {
		f.load.callers = n
		a.note("%s with %d callers for %s", f.load.op, n, f.load.duration)
		run, err := measure(ctx, &f.load, f.pids)
		if err != nil {
			return runs, err
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

// measure is one run, with the CPU time that it took.
func measure(ctx context.Context, l *load, pids []int) (*benchRun, error) {
	own, theirs, err := cpuTimes(pids)
	if err != nil {
		return nil, err
	}
	res := l.run(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	ownAfter, theirsAfter, err := cpuTimes(pids)
	if err != nil {
		return nil, err
	}
	h := &res.latency
	run := &benchRun{
		Op: l.op, Callers: l.callers, Ops: h.total, Errors: res.errors, Seconds: res.elapsed.Seconds(),
		Rate: float64(h.total) / res.elapsed.Seconds(),
		P50:  ms(h.quantile(0.5)), P99: ms(h.quantile(0.99)), P999: ms(h.quantile(0.999)), Max: ms(h.max),
	}
	if h.total > 0 {
		run.ClientCPU = (ownAfter - own).Seconds() / float64(h.total) * 1e6
		run.ServerCPU = (theirsAfter - theirs).Seconds() / float64(h.total) * 1e6
	}
	if res.last != nil {
		run.LastError = res.last.Error()
	}
	return run, nil
}

// cpuTimes is the CPU time used by this process, and by pids together. Where there
// is no /proc, and no pids are asked for, it is 0.
func cpuTimes(pids []int) (own, theirs time.Duration, err error) {
	if own, err = cpuTime(os.Getpid()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, 0, err
	}
	for _, pid := range pids {
		t, err := cpuTime(pid)
		if err != nil {
			return 0, 0, err
		}
		theirs += t
	}
	return own, theirs, nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (a *app) printRuns(runs []benchRun) error {
	var rows [][]string
	for _, r := range runs {
		server := "-"
		if r.ServerCPU > 0 {
			server = fmt.Sprintf("%.1f", r.ServerCPU)
		}
		rows = append(rows, []string{
			r.Op, strconv.Itoa(r.Callers), fmt.Sprintf("%.0f", r.Rate), fmt.Sprintf("%.3f ms", r.P50), fmt.Sprintf("%.3f ms", r.P99),
			fmt.Sprintf("%.3f ms", r.P999), strconv.FormatUint(r.Errors, 10), fmt.Sprintf("%.1f", r.ClientCPU), server,
		})
		if r.LastError != "" {
			a.note("with %d callers: %d errors, for example: %s", r.Callers, r.Errors, r.LastError)
		}
	}
	return printTable(a.out, "OP CALLERS OPS/S P50 P99 P999 ERRORS CLIENT-CPU-S/M SERVER-CPU-S/M", rows)
}
