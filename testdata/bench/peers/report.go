package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// row is one measurement.
type row struct {
	System  string  `json:"system"`
	Rival   bool    `json:"rival,omitempty"` // replicated and durable, as Ringcore's puts are
	Op      string  `json:"op"`
	Detail  string  `json:"detail,omitempty"` // such as R=1
	Callers int     `json:"callers"`
	Ops     uint64  `json:"ops"`
	Errors  uint64  `json:"errors"`
	Rate    float64 `json:"ops_per_s"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	// CPU seconds for a million operations; all servers together.
	ServerCPU float64 `json:"server_cpu_s_per_million"`
	ClientCPU float64 `json:"client_cpu_s_per_million"`
	Others    float64 `json:"others_percent"` // of the machine, taken by neither

	LastError string `json:"last_error,omitempty"`
}

// report is what a run has found.
type report struct {
	Date    time.Time `json:"date"`
	Machine string    `json:"machine"`
	Keys    int       `json:"keys"`
	Seconds float64   `json:"seconds"` // of a measurement
	Limits  limits    `json:"limits"`
	Missing []string  `json:"missing"` // what could not be measured, and why
	Rows    []row     `json:"rows"`
	RESP    []row     `json:"resp"` // through the Redis protocol; Callers are connections
	Goals   []goal    `json:"goals"`
}

// find is the row of a measurement; nil if it was not made, or nothing came of it.
func (r *report) find(system, op, detail string, callers int) *row {
	for i := range r.Rows {
		if x := &r.Rows[i]; x.System == system && x.Op == op && x.Detail == detail && x.Callers == callers && x.Ops > 0 {
			return x
		}
	}
	return nil
}

// write prints the tables, and puts them and the JSON into files if there are to be some.
func (r *report) write(o *options) error {
	if o.json != "" {
		b, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.json, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	var b strings.Builder
	r.markdown(&b)
	if o.markdown != "" {
		if err := os.WriteFile(o.markdown, []byte(b.String()), 0o644); err != nil {
			return err
		}
	}
	_, err := io.WriteString(os.Stdout, b.String())
	return err
}

func (r *report) markdown(w io.Writer) {
	fmt.Fprintf(w, "%s, %s. Load and servers share the processors. %d keys, uniform, %.3g s a measurement.\n", r.Date.Format("2 January 2006"), r.Machine, r.Keys, r.Seconds)
	fmt.Fprintf(w, "CPU is seconds for a million operations, of all servers together. \"Others\" is the share of the machine that other programs took meanwhile.\n")
	if n, all := r.disturbed(); n > 0 {
		fmt.Fprintf(w, "\nOthers took more than %d %% of the machine in %d of %d measurements: their figures, and verdicts by them, say little. Repeat it when the machine is quiet.\n", loud, n, all)
	}
	for _, m := range r.Missing {
		fmt.Fprintf(w, "\nNot measured: %s.\n", m)
	}
	if len(r.Rows) > 0 {
		r.table(w, "put", "")
		r.table(w, "get", "R=1", "R=2")
	}
	r.respTable(w)
	fmt.Fprintf(w, "\n| goal | bar | measured | |\n|---|---|---|---|\n")
	for _, g := range r.Goals {
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", g.What, g.Bar, g.Measured, g.Verdict)
	}
}

// loud is the percentage of the machine from which on others disturb a measurement.
const loud = 25

// disturbed is how many measurements were, of all.
func (r *report) disturbed() (n, all int) {
	for _, rows := range [][]row{r.Rows, r.RESP} {
		for _, x := range rows {
			if all++; x.Others > loud {
				n++
			}
		}
	}
	return n, all
}

// table has the rows of an operation, and what ours is beside each with the same number
// of callers: for puts as they are, for gets with each number of answers.
func (r *report) table(w io.Writer, op string, details ...string) {
	fmt.Fprintf(w, "\n| %s | callers | ops/s | p50 ms | p99 ms | server CPU | client CPU | others |", op)
	rule := "|---|---|---|---|---|---|---|---|"
	for _, d := range details {
		fmt.Fprintf(w, " Ringcore%s to it: ops/s, CPU |", strings.TrimSuffix(" "+d, " "))
		rule += "---|"
	}
	fmt.Fprintf(w, "\n%s\n", rule)
	for _, x := range r.Rows {
		if x.Op != op {
			continue
		}
		name := x.System
		if x.Detail != "" {
			name += ", " + x.Detail
		}
		fmt.Fprintf(w, "| %s | %d | %.0f | %.3f | %.3f | %.1f | %.1f | %.0f %% |", name, x.Callers, x.Rate, x.P50, x.P99, x.ServerCPU, x.ClientCPU, x.Others)
		for _, d := range details {
			ours := r.find(ringcoreTitle, op, d, x.Callers)
			if ours == nil || x.System == ringcoreTitle || x.System == ringcoreAlone {
				fmt.Fprint(w, " |")
				continue
			}
			fmt.Fprintf(w, " %.2f, %.2f |", ours.Rate/x.Rate, ours.ServerCPU/x.ServerCPU)
		}
		fmt.Fprintln(w)
	}
}

func (r *report) respTable(w io.Writer) {
	if len(r.RESP) == 0 {
		return
	}
	fmt.Fprintf(w, "\n| Redis protocol | connections | ops/s | p50 ms | p99 ms | server CPU | client CPU | others |\n|---|---|---|---|---|---|---|---|\n")
	for _, x := range r.RESP {
		fmt.Fprintf(w, "| %s: %s %s | %d | %.0f | %.3f | %.3f | %.1f | %.1f | %.0f %% |\n", x.System, x.Op, x.Detail, x.Callers, x.Rate, x.P50, x.P99, x.ServerCPU, x.ClientCPU, x.Others)
	}
}
