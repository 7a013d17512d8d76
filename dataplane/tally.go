package dataplane

import (
	"maps"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// The steps of a Tally: the first ends at 64 µs, each further one at twice the one before.
const (
	firstStep = 6 // 2^6 µs
	steps     = 18
)

// Tally tells how the operations of one kind that this node has coordinated ended.
type Tally struct {
	Service string
	Op      wire.Op
	Codes   map[wire.Code]uint64 // operations by how they ended
	Steps   []uint64             // operations by how long they took: Steps[i] of at most StepEnd(i); the last one has all others too
	Seconds float64              // of all together
}

// StepEnd is the longest time that step i of a Tally counts; the last step has no end.
func StepEnd(i int) time.Duration { return time.Microsecond << (firstStep + i) }

// tallies count settled operations. Counting is three atomic additions.
type tallies struct {
	mu sync.Mutex                          // held to add a key
	of atomic.Pointer[map[tallyKey]*tally] // replaced whole; nil while there is none
}

type tallyKey struct {
	service uint32
	op      wire.Op
}

type tally struct {
	name   string // of the service
	codes  [256]atomic.Uint64
	steps  [steps]atomic.Uint64
	micros atomic.Uint64
}

// note counts an operation that ended with code after d. Only services of this node may come:
// what is counted has no end otherwise.
func (t *tallies) note(service uint32, name string, op wire.Op, code wire.Code, d time.Duration) {
	x := t.find(tallyKey{service, op}, name)
	us := uint64(max(0, d.Microseconds()))
	x.codes[code].Add(1)
	x.steps[stepOf(us)].Add(1)
	x.micros.Add(us)
}

func (t *tallies) find(key tallyKey, name string) *tally {
	if of := t.of.Load(); of != nil {
		if x := (*of)[key]; x != nil {
			return x
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	of := map[tallyKey]*tally{}
	if old := t.of.Load(); old != nil {
		maps.Copy(of, *old)
	}
	if of[key] == nil {
		of[key] = &tally{name: name}
		t.of.Store(&of)
	}
	return of[key]
}

// stepOf is the step of a time in microseconds.
func stepOf(us uint64) int {
	if us <= 1<<firstStep {
		return 0
	}
	return min(bits.Len64(us-1)-firstStep, steps-1)
}

// Tallies tell how operations have ended since the node began, in no order. The sums and steps
// of operations that end meanwhile may differ by those.
func (r *Router) Tallies() []Tally {
	of := r.tallies.of.Load()
	if of == nil {
		return nil
	}
	var all []Tally
	for key, x := range *of {
		t := Tally{Service: x.name, Op: key.op, Codes: make(map[wire.Code]uint64), Steps: make([]uint64, steps), Seconds: float64(x.micros.Load()) / 1e6}
		for code := range x.codes {
			if n := x.codes[code].Load(); n > 0 {
				t.Codes[wire.Code(code)] = n
			}
		}
		for i := range x.steps {
			t.Steps[i] = x.steps[i].Load()
		}
		all = append(all, t)
	}
	return all
}

// UnderWay tells how many operations this node coordinates now, and the bytes of their keys and bodies.
func (r *Router) UnderWay() (operations, bytes int64) {
	return r.load.operations.Load(), r.load.bytes.Load()
}
