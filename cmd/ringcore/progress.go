package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// progress tells on stderr how far something is: on a terminal in one line that is drawn
// anew, else now and then. Its goroutine ends with end.
type progress struct {
	what    string
	begun   time.Time
	steps   int64
	done    atomic.Int64 // of steps
	records atomic.Int64
	bytes   atomic.Int64

	stop   chan struct{}
	ticker sync.WaitGroup
}

// newProgress begins to tell of what, which takes so many steps.
func (a *app) newProgress(what string, steps int) *progress {
	p := &progress{what: what, begun: time.Now(), steps: int64(steps), stop: make(chan struct{})}
	form, every, clear := "%s\n", plainProgress, ""
	if terminal(a.err) {
		form, every, clear = "\r%s\x1b[K", terminalProgress, "\r\x1b[K"
	}
	p.ticker.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintf(a.err, form, p.line())
			case <-p.stop:
				fmt.Fprint(a.err, clear)
				return
			}
		}
	})
	return p
}

// end stops telling. It is called once.
func (p *progress) end() {
	close(p.stop)
	p.ticker.Wait()
}

func (p *progress) step() { p.done.Add(1) }

func (p *progress) add(records, bytes int64) {
	p.records.Add(records)
	p.bytes.Add(bytes)
}

func (p *progress) line() string {
	took, done := time.Since(p.begun), p.done.Load()
	left := "-"
	if done > 0 {
		left = (took * time.Duration(p.steps-done) / time.Duration(done)).Round(time.Second).String()
	}
	percent := 100 * float64(done) / float64(max(p.steps, 1))
	return fmt.Sprintf("%s %s %3.0f%%: %d records, %s, %s/s, %s left",
		p.what, gauge(percent), percent, p.records.Load(), size(p.bytes.Load()), size(int64(float64(p.bytes.Load())/took.Seconds())), left)
}
