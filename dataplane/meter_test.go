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

// TestMeterCounts: every operation is counted once, with its service and kind, by its end and time.
func TestMeterCounts(t *testing.T) {
	r := &Router{}
	r.meter.note(7, "kv", wire.OpCommand, wire.OK, time.Millisecond)
	r.meter.note(7, "kv", wire.OpCommand, wire.Overload, 3*time.Millisecond)
	r.meter.note(7, "kv", wire.OpQuery, wire.NotFound, time.Microsecond)
	r.meter.note(8, "counter", wire.OpQuery, wire.OK, -time.Second)
	all := r.Requests()
	if len(all) != 3 {
		t.Fatalf("%+v", all)
	}
	for _, x := range all {
		count := uint64(0)
		for _, n := range x.Buckets {
			count += n
		}
		switch {
		case x.Service == "counter" || x.Query:
			if count != 1 || x.Failed() != 0 || x.Buckets[0] != 1 {
				t.Errorf("%+v", x)
			}
		case count != 2 || x.Failed() != 1 || x.Codes[wire.Overload] != 1 || x.Seconds < 0.00399 || x.Seconds > 0.00401:
			t.Errorf("%+v", x)
		}
	}
	if n := testing.AllocsPerRun(100, func() { r.meter.note(7, "kv", wire.OpQuery, wire.OK, time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
