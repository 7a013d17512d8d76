package vnodes

import (
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// meterEvery is of how many requests one is timed: two looks at the clock and a closure
// for each would be felt.
const meterEvery = 16

// meter counts a vnode's requests and times some of them, from their arrival until their
// reply: what they wait for others, what they run, and what the disk takes.
type meter struct {
	requests atomic.Uint64
	smoothed atomic.Int64 // nanoseconds; the mean of the latest, each of which counts for an eighth; 0 if none was timed
}

// admit counts r, and may time it.
func (m *meter) admit(r *wire.Request) {
	if m.requests.Add(1)%meterEvery != 1 {
		return
	}
	began, done := time.Now(), r.Done
	r.Done = func(code wire.Code, epoch uint64, body []byte) {
		m.timed(time.Since(began))
		done(code, epoch, body)
	}
}

// timed enters one request. Two at once may lose one of them.
func (m *meter) timed(took time.Duration) {
	old := m.smoothed.Load()
	if old == 0 {
		m.smoothed.Store(int64(max(took, 1)))
		return
	}
	m.smoothed.Store(max(old+(int64(took)-old)/8, 1))
}
