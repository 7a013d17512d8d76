package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ringcore/ringcore/client/load"
)

// benchResult is what bench has found, as JSON.
type benchResult struct {
	Workload *benchWorkload `json:"workload,omitempty"` // of all runs; not in files of older versions
	Runs     []benchRun     `json:"runs"`
	Check    *verdict       `json:"check,omitempty"`
}

// benchWorkload is what runs have in common: results of different workloads are not
// worth a comparison.
type benchWorkload struct {
	Reads       int     `json:"reads,omitempty"` // percent of a mix
	Keys        int     `json:"keys"`
	Zipf        float64 `json:"zipf,omitempty"` // exponent; 0: uniform
	ValueSize   string  `json:"value_size"`
	ReadQuorum  string  `json:"read_quorum,omitempty"`
	WriteQuorum string  `json:"write_quorum,omitempty"`
}

func (f *benchFlags) workload() *benchWorkload {
	w := &benchWorkload{Keys: f.load.Keys, Zipf: f.load.Zipf, ValueSize: f.load.Sizes.String(), ReadQuorum: f.r, WriteQuorum: f.w}
	if f.load.Op == "mix" {
		w.Reads = f.load.Reads
	}
	return w
}

// benchRun is one line of bench's output, and its JSON.
type benchRun struct {
	Op      string  `json:"op"`
	Callers int     `json:"callers"`
	Wanted  float64 `json:"rate,omitempty"` // operations per second of an open loop
	Ops     uint64  `json:"ops"`
	Errors  uint64  `json:"errors"`
	Unsent  uint64  `json:"unsent,omitempty"` // of an open loop: they were due, and no caller was free until the end
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

	Histogram []latencyBucket `json:"histogram,omitempty"`
}

// latencyBucket is how many operations took at most so long, and longer than the bucket
// before says.
type latencyBucket struct {
	Most  float64 `json:"le_ms"`
	Count uint64  `json:"count"`
}

// measure is one run, with the CPU time that it took.
func measure(ctx context.Context, l *load.Load, pids []int) (*benchRun, error) {
	own, theirs, err := cpuTimes(pids)
	if err != nil {
		return nil, err
	}
	res := l.Run(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	ownAfter, theirsAfter, err := cpuTimes(pids)
	if err != nil {
		return nil, err
	}
	h := &res.Latency
	run := &benchRun{
		Op: l.Op, Callers: l.Callers, Wanted: l.Rate, Ops: h.Total(), Errors: res.Errors, Unsent: res.Unsent, Seconds: res.Elapsed.Seconds(),
		Rate: float64(h.Total()) / res.Elapsed.Seconds(),
		P50:  ms(h.Quantile(0.5)), P99: ms(h.Quantile(0.99)), P999: ms(h.Quantile(0.999)), Max: ms(h.Max()),
	}
	for end, n := range h.Buckets() {
		run.Histogram = append(run.Histogram, latencyBucket{ms(end), n})
	}
	if h.Total() > 0 {
		run.ClientCPU = (ownAfter - own).Seconds() / float64(h.Total()) * 1e6
		run.ServerCPU = (theirsAfter - theirs).Seconds() / float64(h.Total()) * 1e6
	}
	if res.Last != nil {
		run.LastError = res.Last.Error()
	}
	return run, nil
}

// cpuTimes is the CPU time used by this process, and by pids together. Where there
// is no /proc, and no pids are asked for, it is 0.
func cpuTimes(pids []int) (own, theirs time.Duration, err error) {
	if own, err = load.CPUTime(os.Getpid()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, 0, err
	}
	for _, pid := range pids {
		t, err := load.CPUTime(pid)
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
		if r.Unsent > 0 {
			a.note("the rate of %.0f/s was not reached: %d operations were due and never sent", r.Wanted, r.Unsent)
		}
	}
	err := printTable(a.out, "OP CALLERS OPS/S P50 P99 P999 ERRORS CLIENT-CPU-S/M SERVER-CPU-S/M", rows)
	for _, r := range runs {
		if len(r.Histogram) > 0 && err == nil {
			fmt.Fprintf(a.out, "\n%s, %d callers, %.0f/s\n", r.Op, r.Callers, r.Rate)
			err = printHistogram(a.out, r.Histogram)
		}
	}
	return err
}

// printHistogram draws buckets, those of a power of two together.
func printHistogram(w io.Writer, buckets []latencyBucket) error {
	const width = 50
	var total, most uint64
	var lines []latencyBucket
	for _, b := range buckets {
		end := 0.001 // a microsecond
		for end < b.Most {
			end *= 2
		}
		if n := len(lines); n == 0 || lines[n-1].Most < end {
			lines = append(lines, latencyBucket{Most: end})
		}
		lines[len(lines)-1].Count += b.Count
		most = max(most, lines[len(lines)-1].Count)
		total += b.Count
	}
	var rows [][]string
	below := uint64(0)
	for _, l := range lines {
		below += l.Count
		bar := strings.Repeat("#", int((l.Count*width+most-1)/most))
		rows = append(rows, []string{
			fmt.Sprintf("%.3f ms", l.Most), strconv.FormatUint(l.Count, 10), fmt.Sprintf("%.3f%%", float64(below)/float64(total)*100), bar,
		})
	}
	return printTable(w, "AT-MOST COUNT SO-FAR SHARE", rows)
}
