package dataplane

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// MeterBuckets is how many buckets of times a Meter has: two for each power of two of microseconds, the first below 1.5 µs,
// the last from 12.6 s on. A percentile read from them is at most a quarter off.
const MeterBuckets = 48

// Meter counts what clients and this process have asked of a router, and how long it took.
// What other nodes pass on is counted where it came in.
type Meter struct {
	commands, queries kindMeter
}

type kindMeter struct {
	failed  atomic.Uint64
	nanos   atomic.Uint64
	buckets [MeterBuckets]atomic.Uint64
}

// Requests are a Meter's figures of one kind since the start.
type Requests struct {
	Count   uint64   `json:"count"`   // answered
	Failed  uint64   `json:"failed"`  // of those: by an error, which "not found" is not
	Seconds float64  `json:"seconds"` // that they took together
	Buckets []uint64 `json:"buckets"` // of Count, by time: see BucketLimit; what is behind the last one is 0
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

func (m *Meter) note(op wire.Op, code wire.Code, took time.Duration) {
	k := &m.queries
	if op == wire.OpCommand {
		k = &m.commands
	}
	k.buckets[bucketOf(took)].Add(1)
	k.nanos.Add(uint64(took))
	switch code {
	case wire.OK, wire.NotFound, wire.Unmet:
	default:
		k.failed.Add(1)
	}
}

// Commands are the commands' figures.
func (m *Meter) Commands() Requests { return m.commands.read() }

// Queries are the queries' figures.
func (m *Meter) Queries() Requests { return m.queries.read() }

func (k *kindMeter) read() Requests {
	r := Requests{Failed: k.failed.Load(), Seconds: time.Duration(k.nanos.Load()).Seconds(), Buckets: []uint64{}}
	for i := range k.buckets {
		n := k.buckets[i].Load()
		r.Count += n
		if n > 0 {
			r.Buckets = append(r.Buckets, make([]uint64, i+1-len(r.Buckets))...)
			r.Buckets[i] = n
		}
	}
	return r
}
