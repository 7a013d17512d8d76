package dataplane

import (
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// TestTally: every operation is counted once, by its end and by its time, and in no step that
// ends before it.
func TestTally(t *testing.T) {
	r := &Router{}
	times := []time.Duration{0, 64 * time.Microsecond, 65 * time.Microsecond, 128 * time.Microsecond, time.Millisecond, time.Second, time.Hour, -time.Second}
	for _, d := range times {
		r.tallies.note(7, "kv", wire.OpQuery, wire.OK, d)
	}
	r.tallies.note(7, "kv", wire.OpCommand, wire.Overload, time.Millisecond)
	r.tallies.note(8, "counter", wire.OpCommand, wire.OK, time.Millisecond)
	all := r.Tallies()
	if len(all) != 3 {
		t.Fatalf("%d tallies: %+v", len(all), all)
	}
	for _, x := range all {
		if x.Service == "kv" && x.Op == wire.OpCommand && x.Codes[wire.Overload] != 1 {
			t.Errorf("%+v", x)
		}
		if x.Op != wire.OpQuery {
			continue
		}
		if x.Codes[wire.OK] != uint64(len(times)) || x.Steps[0] != 3 || x.Steps[1] != 2 || x.Steps[steps-1] != 1 {
			t.Errorf("%+v", x)
		}
	}
	for i := range steps - 1 {
		if end := uint64(StepEnd(i).Microseconds()); stepOf(end) != i || stepOf(end+1) != i+1 {
			t.Errorf("step %d ends at %d µs; it and the next go to %d and %d", i, end, stepOf(end), stepOf(end+1))
		}
	}
	if n := testing.AllocsPerRun(100, func() { r.tallies.note(7, "kv", wire.OpQuery, wire.OK, time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
