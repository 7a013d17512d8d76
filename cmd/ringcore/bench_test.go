package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/client/load"
)

// benchKey is the key of record i.
func benchKey(i int) []byte { return load.Key(i) }

// The runs of a ramp: rates if there are some, else callers, and none twice.
func TestRamp(t *testing.T) {
	type run struct {
		callers int
		rate    float64
	}
	for _, c := range []struct {
		f    benchFlags
		want []run
	}{
		{benchFlags{callers: []int{1, 64}, ramp: 1}, []run{{1, 0}, {64, 0}}},
		{benchFlags{callers: []int{3, 10}, ramp: 4}, []run{{1, 0}, {2, 0}, {3, 0}, {3, 0}, {5, 0}, {8, 0}, {10, 0}}},
		{benchFlags{callers: []int{8}, rates: []float64{100, 300}, ramp: 2}, []run{{8, 50}, {8, 100}, {8, 150}, {8, 300}}},
		{benchFlags{callers: []int{8}, rates: []float64{0, 10}, ramp: 1}, []run{{8, 0}, {8, 10}}},
	} {
		var got []run
		for _, l := range c.f.loads() {
			got = append(got, run{l.Callers, l.Rate})
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v in %v, ramp %d: %v, want %v", c.f.callers, c.f.rates, c.f.ramp, got, c.want)
		}
	}
}

// A run that is no terminal's says every 10 seconds how it goes, one that is draws a line
// every second; in JSON nothing is said.
func TestProgressLine(t *testing.T) {
	var last load.Result
	for range 100 {
		last.Latency.Record(2 * time.Millisecond)
	}
	last.Errors = 3
	if got, want := progressLine(10*time.Second, time.Minute, 2*time.Second, &last), "10s of 1m0s: 50/s, p50 2.000 ms, p99 2.000 ms, longest 2.000 ms, 3 errors"; got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		a := &app{streams: streams{err: &said}}
		l := &load.Load{Op: "get", Callers: 2, Duration: 25 * time.Second, Keys: 1, Rate: 100, Target: load.Target{Get: func(context.Context, int, []byte) error { return nil }}}
		end := a.watch(l)
		l.Run(t.Context())
		end()
		lines := strings.Split(strings.TrimSuffix(said.String(), "\n"), "\n")
		if len(lines) != 2 || !strings.HasPrefix(lines[0], "10s of 25s: 100/s") || !strings.HasPrefix(lines[1], "20s of 25s: 100/s") {
			t.Errorf("%q", lines)
		}
	})
}

// What is shown adds up.
func TestPrintHistogram(t *testing.T) {
	var out strings.Builder
	if err := printHistogram(&out, []latencyBucket{{0.0005, 1}, {0.9, 1}, {1.02, 97}, {900, 1}}); err != nil {
		t.Fatal(err)
	}
	want := []string{"0.001 ms 1 1.000% #", "1.024 ms 98 99.000% " + strings.Repeat("#", 50), "1048.576 ms 1 100.000% #"}
	var got []string
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n")[1:] {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// TestBenchCompare: what is worse beyond the bound is an exit code of its own, better and
// noise are not; files that are no results, or have nothing in common, are wrong usage.
func TestBenchCompare(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, v any) string {
		b, ok := v.([]byte)
		if !ok {
			var err error
			if b, err = json.Marshal(v); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put := benchRun{Op: "put", Callers: 64, Ops: 1000, Rate: 1000, P50: 1, P99: 4, ClientCPU: 10, ServerCPU: 20}
	changed := func(change func(*benchRun)) benchResult {
		r := put
		change(&r)
		return benchResult{Workload: &benchWorkload{Keys: 10, ValueSize: "100"}, Runs: []benchRun{r}}
	}
	base := write("base", changed(func(*benchRun) {}))
	for name, c := range map[string]struct {
		after any
		args  []string
		code  int
		says  string
	}{
		"same":       {changed(func(*benchRun) {}), nil, 0, "1.00"},
		"noise":      {changed(func(r *benchRun) { r.Rate = 900; r.P99 = 4.5 }), nil, 0, "0.90"},
		"better":     {changed(func(r *benchRun) { r.Rate = 9000; r.ServerCPU = 1 }), nil, 0, "9.00"},
		"slower":     {changed(func(r *benchRun) { r.Rate = 800 }), nil, 3, "OPS/S is 0.80"},
		"bound":      {changed(func(r *benchRun) { r.Rate = 800 }), []string{"--worse", "30%"}, 0, "0.80"},
		"a fraction": {changed(func(r *benchRun) { r.Rate = 800 }), []string{"--worse", "0.3"}, 0, "0.80"},
		"later":      {changed(func(r *benchRun) { r.P99 = 5 }), nil, 3, "P99 is 1.25"},
		"dearer":     {changed(func(r *benchRun) { r.ServerCPU = 30 }), nil, 3, "SERVER-CPU is 1.50"},
		"dear only":  {changed(func(r *benchRun) { r.Rate = 500; r.P99 = 9 }), []string{"--judge", "client-cpu,server-cpu"}, 0, "0.50"},
		"failing":    {changed(func(r *benchRun) { r.Errors = 100 }), nil, 3, "errors"},
		"unmeasured": {changed(func(r *benchRun) { r.ServerCPU = 0 }), nil, 0, "-"},
		"other keys": {benchResult{Workload: &benchWorkload{Keys: 11}, Runs: []benchRun{put}}, nil, 0, "different workloads"},
		"other runs": {changed(func(r *benchRun) { r.Callers = 1 }), nil, 2, "no run in common"},
		"more runs":  {benchResult{Runs: []benchRun{put, {Op: "get", Callers: 1, Ops: 1, Rate: 1}}}, nil, 0, "get, 1 callers: only in"},
		"no JSON":    {[]byte("OP CALLERS"), nil, 2, "no result of bench"},
		"no result":  {[]byte(`{"active":[]}`), nil, 2, "no result of bench"},
		"no bound":   {changed(func(*benchRun) {}), []string{"--worse", "much"}, 2, "15%"},
		"no column":  {changed(func(*benchRun) {}), []string{"--judge", "beauty"}, 2, "beauty"},
	} {
		var out, errOut strings.Builder
		code := run(t.Context(), append([]string{"bench", "compare", base, write(name, c.after)}, c.args...), streams{out: &out, err: &errOut}, func(string) string { return "" })
		if code != c.code || !strings.Contains(out.String()+errOut.String(), c.says) {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", name, code, c.code, c.says, out.String(), errOut.String())
		}
	}
	var out, errOut strings.Builder
	if code := run(t.Context(), []string{"bench", "compare", base, filepath.Join(dir, "none")}, streams{out: &out, err: &errOut}, os.Getenv); code != exitUsage {
		t.Errorf("a file that is not there: exit %d: %s", code, errOut.String())
	}
	out.Reset()
	if code := run(t.Context(), []string{"bench", "compare", "-o", "json", base, write("slow", changed(func(r *benchRun) { r.Rate = 500 }))}, streams{out: &out, err: &errOut}, os.Getenv); code != exitUnhealthy {
		t.Errorf("JSON: exit %d", code)
	}
	var told struct {
		Worse bool
		Runs  []struct {
			Op     string
			Ratios map[string]float64
		}
	}
	if err := json.Unmarshal([]byte(out.String()), &told); err != nil || !told.Worse || len(told.Runs) != 1 || told.Runs[0].Ratios["ops"] != 0.5 {
		t.Errorf("%v: %s", err, out.String())
	}
}
