package vnodes

import (
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// TestMeter: every request is counted, one in 16 is timed, and each is answered once.
func TestMeter(t *testing.T) {
	var m meter
	answered, wrapped := 0, 0
	for range 64 {
		r := &wire.Request{}
		before := func(wire.Code, uint64, []byte) { answered++ }
		r.Done = before
		m.admit(r)
		seen := m.smoothed.Load()
		r.Done(wire.OK, 0, nil)
		if m.smoothed.Load() != seen {
			wrapped++
		}
	}
	if m.requests.Load() != 64 || answered != 64 || wrapped > 4 || m.smoothed.Load() <= 0 {
		t.Errorf("%d counted, %d answered, %d timed, %d ns", m.requests.Load(), answered, wrapped, m.smoothed.Load())
	}
}

func TestMeterSmooths(t *testing.T) {
	var m meter
	for range 100 {
		m.timed(time.Millisecond)
	}
	if got := time.Duration(m.smoothed.Load()); got != time.Millisecond {
		t.Errorf("a hundred times a millisecond are %v", got)
	}
	m.timed(9 * time.Millisecond)
	if got := time.Duration(m.smoothed.Load()); got != 2*time.Millisecond {
		t.Errorf("then nine: %v", got)
	}
}
