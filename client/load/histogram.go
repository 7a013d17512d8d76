package load

import (
	"iter"
	"math/bits"
	"time"
)

// Shape of a histogram: values below subBuckets have a bucket each, every power
// of two above is cut into subBuckets/2 equal ones. An answer is at most 1/32 too high.
const (
	subBits    = 6
	subBuckets = 1 << subBits
	buckets    = subBuckets + (63-subBits)*subBuckets/2
)

// Histogram counts durations. The zero value is empty. Not safe for concurrent
// use: each goroutine fills its own, and they are added in the end.
type Histogram struct {
	counts [buckets]uint64
	total  uint64
	max    time.Duration
}

// Total is how many durations were counted.
func (h *Histogram) Total() uint64 { return h.total }

// Max is the longest of them.
func (h *Histogram) Max() time.Duration { return h.max }

// Buckets are those that are not empty, in order: the longest duration that a bucket
// takes, and how many it has.
func (h *Histogram) Buckets() iter.Seq2[time.Duration, uint64] {
	return func(yield func(time.Duration, uint64) bool) {
		for i, n := range h.counts {
			if n > 0 && !yield(time.Duration(bucketEnd(i)), n) {
				return
			}
		}
	}
}

// Record counts d, which is taken as 0 if negative.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))]++
	h.total++
	h.max = max(h.max, d)
}

// Add counts everything that o has counted.
func (h *Histogram) Add(o *Histogram) {
	if o.total == 0 {
		return
	}
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// Quantile is a duration that the share q of all, 0 to 1, does not exceed; 0 if
// there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.total))
	if float64(rank) < q*float64(h.total) {
		rank++ // rounded up: the 0.99 quantile of 10 is the greatest
	}
	rank = max(rank, 1)
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return min(time.Duration(bucketEnd(i)), h.max)
		}
	}
	return h.max
}

// bucketOf is the bucket of v, which is below 2^63.
func bucketOf(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - subBits // v>>shift has subBits bits
	return subBuckets + (shift-1)*subBuckets/2 + int(v>>shift) - subBuckets/2
}

// bucketEnd is the greatest value in bucket i.
func bucketEnd(i int) uint64 {
	if i < subBuckets {
		return uint64(i)
	}
	shift := (i-subBuckets)/(subBuckets/2) + 1
	top := uint64((i-subBuckets)%(subBuckets/2) + subBuckets/2)
	return (top+1)<<shift - 1
}
