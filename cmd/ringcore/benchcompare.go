package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// column is a figure of a run that is compared.
type column struct {
	name string
	of   func(*benchRun) float64 // 0: not measured
	more bool                    // is better
}

func (c *column) heading() string { return strings.ToUpper(strings.Replace(c.name, "ops", "ops/s", 1)) }

func columns() []column {
	return []column{
		{"ops", func(r *benchRun) float64 { return r.Rate }, true},
		{"p50", func(r *benchRun) float64 { return r.P50 }, false},
		{"p99", func(r *benchRun) float64 { return r.P99 }, false},
		{"client-cpu", func(r *benchRun) float64 { return r.ClientCPU }, false},
		{"server-cpu", func(r *benchRun) float64 { return r.ServerCPU }, false},
	}
}

// compared is a run that both files have, and its JSON.
type compared struct {
	Op      string             `json:"op"`
	Callers int                `json:"callers"`
	Rate    float64            `json:"rate,omitempty"`
	Ratios  map[string]float64 `json:"ratios"` // after to before, of each column that both have
	Worse   []string           `json:"worse"`  // what is beyond the bound, in words
}

// compareFlags are the flags of bench compare.
type compareFlags struct {
	worse string
	judge []string
}

func (a *app) benchCompare() *cobra.Command {
	f := &compareFlags{}
	cmd := &cobra.Command{
		Use:   "compare BEFORE.json AFTER.json",
		Short: "Compare two results of bench --json",
		Long: "Compare two results of bench --json: every figure of AFTER divided by that of BEFORE, a line for each run that both have.\n\n" +
			"The exit code is 3 if a figure is worse by more than --worse, or more of AFTER's operations failed, and 2 if a file is no result.",
		Example: "  ringcore bench compare before.json after.json --worse 10% --judge client-cpu,server-cpu",
		Args:    cobra.ExactArgs(2),
		RunE:    func(_ *cobra.Command, args []string) error { return a.compare(f, args[0], args[1]) },
	}
	var names []string
	for _, c := range columns() {
		names = append(names, c.name)
	}
	cmd.Flags().StringVar(&f.worse, "worse", "15%", "by how much a figure may be worse")
	cmd.Flags().StringSliceVar(&f.judge, "judge", names, "figures that may not be worse")
	return cmd
}

func (a *app) compare(f *compareFlags, before, after string) error {
	bound, err := fraction(f.worse)
	if err != nil {
		return usagef("pass for example --worse 15%", "--worse: %v", err)
	}
	for _, name := range f.judge {
		if !slices.ContainsFunc(columns(), func(c column) bool { return c.name == name }) {
			return usagef("see ringcore bench compare --help", "there is no figure %q to judge", name)
		}
	}
	old, err := readResult(before)
	if err != nil {
		return err
	}
	now, err := readResult(after)
	if err != nil {
		return err
	}
	if old.Workload != nil && now.Workload != nil && *old.Workload != *now.Workload {
		a.note("different workloads: %+v and %+v", *old.Workload, *now.Workload)
	}
	for _, r := range missing(now.Runs, old.Runs) {
		a.note("%s: only in %s", runName(r.Op, r.Callers, r.Wanted), after)
	}
	for _, r := range missing(old.Runs, now.Runs) {
		a.note("%s: only in %s", runName(r.Op, r.Callers, r.Wanted), before)
	}
	var both []compared
	worse := 0
	for i := range old.Runs {
		if at := slices.IndexFunc(now.Runs, old.Runs[i].same); at >= 0 {
			c := compareRuns(&old.Runs[i], &now.Runs[at], bound, f.judge)
			worse += len(c.Worse)
			both = append(both, c)
		}
	}
	if len(both) == 0 {
		return usagef("compare results of the same --op, --callers and --rate", "%s and %s have no run in common", before, after)
	}
	if err := a.printCompared(both, worse > 0); err != nil {
		return err
	}
	if worse > 0 {
		return &failure{code: exitUnhealthy, err: fmt.Errorf("%d figures are worse by more than %s", worse, f.worse)}
	}
	return nil
}

// fraction reads 15% or 0.15.
func fraction(s string) (float64, error) {
	digits, percent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(v >= 0 && v < 1e6) {
		return 0, fmt.Errorf("%q is no share such as 15%% or 0.15", s)
	}
	if percent {
		v /= 100
	}
	return v, nil
}

func readResult(path string) (*benchResult, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, &failure{code: exitUsage, err: err}
	}
	var r benchResult
	err = json.Unmarshal(b, &r)
	if err == nil && len(r.Runs) == 0 {
		err = errors.New("it has no runs")
	}
	if err != nil {
		return nil, usagef("pass what ringcore bench --json has printed", "%s is no result of bench: %v", path, err)
	}
	return &r, nil
}

// same reports whether o measured the same as r.
func (r *benchRun) same(o benchRun) bool {
	return r.Op == o.Op && r.Callers == o.Callers && r.Wanted == o.Wanted
}

// missing are those of runs that others lack.
func missing(runs, others []benchRun) []benchRun {
	var all []benchRun
	for i := range runs {
		if !slices.ContainsFunc(others, runs[i].same) {
			all = append(all, runs[i])
		}
	}
	return all
}

// compareRuns judges by the named columns, and by whether more operations failed.
func compareRuns(before, after *benchRun, bound float64, judge []string) compared {
	c := compared{Op: before.Op, Callers: before.Callers, Rate: before.Wanted, Ratios: map[string]float64{}, Worse: []string{}}
	for _, col := range columns() {
		x, y := col.of(before), col.of(after)
		if x <= 0 || y <= 0 {
			continue
		}
		ratio := y / x
		c.Ratios[col.name] = ratio
		worse := ratio > 1+bound
		if col.more {
			worse = ratio < 1-bound
		}
		if worse && slices.Contains(judge, col.name) {
			c.Worse = append(c.Worse, fmt.Sprintf("%s is %.2f times that before: %.5g, was %.5g", col.heading(), ratio, y, x))
		}
	}
	if failed(after) > failed(before)+0.0001 {
		c.Worse = append(c.Worse, fmt.Sprintf("errors: %d of %d, were %d of %d", after.Errors, after.Ops+after.Errors, before.Errors, before.Ops+before.Errors))
	}
	return c
}

// runName is a run in words.
func runName(op string, callers int, rate float64) string {
	name := fmt.Sprintf("%s, %d callers", op, callers)
	if rate > 0 {
		name += fmt.Sprintf(", %.0f/s", rate)
	}
	return name
}

// failed is the share of a run's operations that failed.
func failed(r *benchRun) float64 {
	return float64(r.Errors) / float64(max(r.Ops+r.Errors, 1))
}

func (a *app) printCompared(runs []compared, worse bool) error {
	if a.json() {
		return a.printJSON(map[string]any{"worse": worse, "runs": runs})
	}
	header := "OP CALLERS RATE"
	for _, col := range columns() {
		header += " " + col.heading()
	}
	var rows [][]string
	for _, r := range runs {
		row := []string{r.Op, strconv.Itoa(r.Callers), "-"}
		if r.Rate > 0 {
			row[2] = fmt.Sprintf("%.0f", r.Rate)
		}
		for _, col := range columns() {
			cell := "-"
			if ratio, ok := r.Ratios[col.name]; ok {
				cell = fmt.Sprintf("%.2f", ratio)
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	err := printTable(a.out, header, rows)
	for _, r := range runs {
		for _, w := range r.Worse {
			fmt.Fprintf(a.out, "%s: %s\n", runName(r.Op, r.Callers, r.Rate), w)
		}
	}
	return err
}
