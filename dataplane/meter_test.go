package dataplane

import (
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

func TestMeterBuckets(t *testing.T) {
	for _, d := range []time.Duration{
		0, time.Microsecond, 2 * time.Microsecond, 3 * time.Microsecond, 4 * time.Microsecond, 5 * time.Microsecond, 6 * time.Microsecond,
		99 * time.Microsecond, time.Millisecond, 767 * time.Millisecond, time.Second, 8 * time.Second,
	} {
		i := bucketOf(d)
		if d >= BucketLimit(i) || i > 0 && d < BucketLimit(i-1) {
			t.Errorf("%v is in bucket %d, which ends at %v", d, i, BucketLimit(i))
		}
	}
	if i := bucketOf(time.Hour); i != MeterBuckets-1 {
		t.Errorf("an hour is in bucket %d", i)
	}
}

func TestMeterCounts(t *testing.T) {
	var m Meter
	m.note(wire.OpCommand, wire.OK, time.Millisecond)
	m.note(wire.OpCommand, wire.Overload, 3*time.Millisecond)
	m.note(wire.OpQuery, wire.NotFound, time.Microsecond)
	c, q := m.Commands(), m.Queries()
	if c.Count != 2 || c.Failed != 1 || c.Seconds < 0.00399 || c.Seconds > 0.00401 {
		t.Errorf("commands %+v", c)
	}
	if q.Count != 1 || q.Failed != 0 || len(q.Buckets) != bucketOf(time.Microsecond)+1 {
		t.Errorf("queries %+v", q)
	}
}
