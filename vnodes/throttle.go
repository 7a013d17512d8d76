package vnodes

import (
	"context"
	"sync"
	"time"
)

// throttle is a rate that may change while others wait for it.
type throttle struct {
	limit func() int64 // bytes a second; less than 1 for as many as there are

	mu   sync.Mutex // held for arithmetic
	debt float64    // bytes that have passed and are not paid for, at time at
	at   time.Time
}

// throttleLook is how long a waiting caller goes by a limit that may have changed.
const throttleLook = 100 * time.Millisecond

// pass waits until n more bytes may pass; false if ctx has ended.
func (t *throttle) pass(ctx context.Context, n int) bool {
	for {
		wait := t.try(n, time.Now())
		if wait <= 0 {
			return ctx.Err() == nil
		}
		if !pause(ctx, min(wait, throttleLook)) {
			return false
		}
	}
}

// try lets n bytes pass at now, or says how long to wait.
func (t *throttle) try(n int, now time.Time) time.Duration {
	limit := float64(t.limit())
	t.mu.Lock()
	defer t.mu.Unlock()
	if limit < 1 {
		t.debt = 0
		return 0
	}
	t.debt = max(0, t.debt-limit*now.Sub(t.at).Seconds())
	t.at = now
	if t.debt > 0 {
		return time.Duration(t.debt / limit * float64(time.Second))
	}
	t.debt = float64(n)
	return 0
}
