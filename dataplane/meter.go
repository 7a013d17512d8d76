package dataplane

import (
	"maps"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// MeterBuckets is how many buckets of times Requests have: two for each power of two of microseconds, the first below 1.5 µs,
// the last from 12.6 s on. A percentile read from them is at most a quarter off.
const MeterBuckets = 48

// Requests tell how commands or queries of one service ended that clients and this process
// have asked of a router, since the start. What other nodes pass on is counted where it came in.
type Requests struct {
	Service string
	Query   bool // else commands
	Codes   map[wire.Code]uint64
	Seconds float64              // that they took together
	Buckets [MeterBuckets]uint64 // of all, by time: see BucketLimit
}

// Failed is how many were answered by an error, which "not found" and "condition not met" are not.
func (r *Requests) Failed() (n uint64) {
	for code, of := range r.Codes {
		if code != wire.OK && code != wire.NotFound && code != wire.Unmet {
			n += of
		}
	}
	return n
}

// BucketLimit is the upper end of a bucket's times; the last one takes all that are longer.
func BucketLimit(i int) time.Duration {
	whole := time.Microsecond << (i/2 + 1)
	if i%2 == 0 {
		return whole * 3 / 4
	}
	return whole
}

// bucketOf is the bucket of a time.
func bucketOf(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 1))
	i := 2 * (bits.Len64(us) - 1) // the power of two that it lies in
	if high := bits.Len64(us) - 2; high >= 0 && us>>high&1 == 1 {
		i++ // the upper half of it
	}
	return min(i, MeterBuckets-1)
}

// meter counts operations that have ended. Counting is three atomic additions.
type meter struct {
	mu sync.Mutex                          // held to add a kind
	of atomic.Pointer[map[kind]*kindMeter] // replaced whole; nil while there is none
}

type kind struct {
	service uint32
	op      wire.Op
}

type kindMeter struct {
	name    string // of the service
	codes   [256]atomic.Uint64
	nanos   atomic.Uint64
	buckets [MeterBuckets]atomic.Uint64
}

// note counts an operation that ended with code after took. Only services of this node may
// come: what is counted has no end otherwise.
func (m *meter) note(service uint32, name string, op wire.Op, code wire.Code, took time.Duration) {
	k := m.find(kind{service, op}, name)
	k.codes[code].Add(1)
	k.nanos.Add(uint64(max(0, took)))
	k.buckets[bucketOf(took)].Add(1)
}

func (m *meter) find(of kind, name string) *kindMeter {
	if known := m.of.Load(); known != nil {
		if k := (*known)[of]; k != nil {
			return k
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	kinds := map[kind]*kindMeter{}
	if known := m.of.Load(); known != nil {
		maps.Copy(kinds, *known)
	}
	if kinds[of] == nil {
		kinds[of] = &kindMeter{name: name}
		m.of.Store(&kinds)
	}
	return kinds[of]
}

// Requests are the figures of every service and kind that there were any of, in no order. The
// parts of one may differ by what ends meanwhile.
func (r *Router) Requests() []Requests {
	known := r.meter.of.Load()
	if known == nil {
		return nil
	}
	var all []Requests
	for of, k := range *known {
		x := Requests{Service: k.name, Query: of.op == wire.OpQuery, Codes: make(map[wire.Code]uint64), Seconds: time.Duration(k.nanos.Load()).Seconds()}
		for code := range k.codes {
			if n := k.codes[code].Load(); n > 0 {
				x.Codes[wire.Code(code)] = n
			}
		}
		for i := range k.buckets {
			x.Buckets[i] = k.buckets[i].Load()
		}
		all = append(all, x)
	}
	return all
}

// UnderWay tells how many operations this node coordinates now, and the bytes of their keys and bodies.
func (r *Router) UnderWay() (operations, bytes int64) {
	return r.load.operations.Load(), r.load.bytes.Load()
}
