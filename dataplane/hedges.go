package dataplane

import (
	"sync"
	"time"
)

// hedgeSlack is how much later than hedgeAfter a read may be hedged.
const hedgeSlack = 2 * time.Millisecond

// hedges is the clock of all reads that wait for replicas: one timer for all instead of
// one for each, since nearly all are answered long before. A read stays here until its
// time has come, answered or not. Its methods may be called from any goroutine.
type hedges struct {
	mu    sync.Mutex // held for a few instructions
	reads []hedged   // in the order of their times
	first int        // of reads: those before it are done with
	timer *time.Timer
	armed bool
}

type hedged struct {
	q   *read
	due time.Time
}

// add has q hedged hedgeAfter from now, unless it is closed by then.
func (h *hedges) add(q *read) {
	due := time.Now().Add(hedgeAfter)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads = append(h.reads, hedged{q, due})
	if h.armed {
		return
	}
	h.armed = true
	if h.timer == nil {
		h.timer = time.AfterFunc(hedgeAfter, h.fire)
	} else {
		h.timer.Reset(hedgeAfter)
	}
}

// fire hedges the reads whose time has come.
func (h *hedges) fire() {
	for {
		now := time.Now()
		q := h.next(now)
		if q == nil {
			return
		}
		if q.slow() {
			q.pump()
			h.add(q)
		}
	}
}

// next takes a read whose time has come; nil if there is none, and the timer is set then.
func (h *hedges) next(now time.Time) *read {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.first == len(h.reads) {
		h.reads, h.first, h.armed = h.reads[:0], 0, false
		return nil
	}
	x := h.reads[h.first]
	if wait := x.due.Sub(now); wait > 0 {
		h.tidy()
		h.timer.Reset(max(wait, hedgeSlack))
		return nil
	}
	h.reads[h.first] = hedged{}
	h.first++
	return x.q
}

// tidy gives back the room of those that are done with. mu is held.
func (h *hedges) tidy() {
	if h.first < len(h.reads)/2 {
		return
	}
	n := copy(h.reads, h.reads[h.first:])
	clear(h.reads[n:])
	h.reads, h.first = h.reads[:n], 0
}
