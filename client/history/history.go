package history

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// History records operations and checks them as they end. It may be used from any
// goroutine.
type History struct {
	born  time.Time
	last  atomic.Uint64  // Value of the newest Put
	puts  map[Value]bool // instead of last, those that have begun, if they were recorded elsewhere
	final atomic.Bool

	keys sync.Map // string to *register; a key is never taken out

	mu       sync.Mutex // held for a few instructions
	report   Report
	listings []*Listing // under way
}

// New makes a History. It begins now, with no values under any key.
func New() *History {
	return &History{born: time.Now(), report: Report{Faults: map[Fault]uint64{}}}
}

// now is the time since the History was made.
func (h *History) now() time.Duration { return time.Since(h.born) }

// Begin notes an operation that is about to begin. A Put is given a Value.
func (h *History) Begin(client int, key string, kind Kind) *Call {
	c := &Call{Op: Op{Client: client, Key: key, Kind: kind}, history: h}
	if kind == Put {
		c.Value = Value(h.last.Add(1))
	}
	r := h.register(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	c.Start = h.now()
	r.begin(c)
	return c
}

// Done notes that the operation has ended, and checks it. A Get's Value must be set
// before. It must be called once.
func (c *Call) Done(outcome Outcome) {
	c.Outcome = outcome
	c.history.end(c, c.history.now)
}

func (h *History) end(c *Call, now func() time.Duration) {
	r := h.register(c.Key)
	r.mu.Lock()
	c.End = now()
	var v *Violation
	if c.Kind == Get && c.Outcome == OK && !h.begun(c.Value) {
		v = violation(Phantom, &c.Op)
		c.Outcome = Failed // it tells nothing about others
	}
	if other := r.end(c, h.final.Load(), h.floor()); v == nil {
		v = other
	}
	r.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.report.count(&c.Op)
	h.report.note(v)
}

// begun reports whether the Put of v has begun.
func (h *History) begun(v Value) bool {
	if h.puts != nil {
		return v == None || h.puts[v]
	}
	return uint64(v) <= h.last.Load()
}

// Final says that no write is under way any more and that the cluster has had its
// time: an acknowledged Put that is not read from now on is lost.
func (h *History) Final() { h.final.Store(true) }

// Keys calls f with every key of the history, in no order, until f returns false.
func (h *History) Keys(f func(key string) bool) {
	h.keys.Range(func(k, _ any) bool { return f(k.(string)) })
}

// Report is the verdict so far.
func (h *History) Report() Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.report
	r.Faults = maps.Clone(r.Faults)
	r.Violations = slices.Clone(r.Violations)
	return r
}

func (h *History) register(key string) *register {
	if r, ok := h.keys.Load(key); ok {
		return r.(*register)
	}
	r, _ := h.keys.LoadOrStore(key, newRegister())
	return r.(*register)
}

// Check is the verdict on operations that were recorded elsewhere, in any order.
// One that had not ended has the outcome Maybe.
func Check(ops []Op) Report {
	h := New()
	h.puts = map[Value]bool{}
	calls := make([]*Call, len(ops))
	type event struct {
		at   time.Duration
		ends bool
		i    int
	}
	var events []event
	for i, o := range ops {
		calls[i] = &Call{Op: o, history: h}
		events = append(events, event{o.Start, false, i}, event{max(o.Start, o.End), true, i})
	}
	slices.SortStableFunc(events, func(a, b event) int {
		if d := cmp.Compare(a.at, b.at); d != 0 || a.ends == b.ends {
			return d
		}
		if b.ends { // at one moment what begins comes first: they overlap
			return -1
		}
		return 1
	})
	for _, e := range events {
		c := calls[e.i]
		if e.ends {
			h.end(c, func() time.Duration { return e.at })
		} else {
			h.puts[c.Value] = h.puts[c.Value] || c.Kind == Put
			h.register(c.Key).begin(c)
		}
	}
	return h.Report()
}
