package main

import (
	"fmt"
	"time"

	"github.com/ringcore/ringcore/client/load"
)

// How often bench says how it goes: a terminal's line is drawn anew.
const (
	terminalProgress = time.Second
	plainProgress    = 10 * time.Second
)

// watch has a run tell on stderr how it goes. end clears the line.
func (a *app) watch(l *load.Load) (end func()) {
	form, end := "%s\n", func() {}
	l.Every = plainProgress
	if terminal(a.err) {
		form, l.Every = "\r%s\x1b[K", terminalProgress
		end = func() { fmt.Fprint(a.err, "\r\x1b[K") }
	}
	var before time.Duration
	l.Progress = func(elapsed time.Duration, last *load.Result) {
		fmt.Fprintf(a.err, form, progressLine(elapsed, l.Duration, elapsed-before, last))
		before = elapsed
	}
	return end
}

// progressLine is what came in the last stretch of a run.
func progressLine(elapsed, duration, stretch time.Duration, last *load.Result) string {
	h := &last.Latency
	return fmt.Sprintf("%s of %s: %.0f/s, p50 %.3f ms, p99 %.3f ms, longest %.3f ms, %d errors",
		elapsed.Round(time.Second), duration, float64(h.Total())/stretch.Seconds(), ms(h.Quantile(0.5)), ms(h.Quantile(0.99)), ms(h.Max()), last.Errors)
}
