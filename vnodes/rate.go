package vnodes

import (
	"context"
	"sync"
	"time"
)

// rate lets so many bytes pass in a second, over all who share it. Who comes when
// nobody has for a while need not wait.
type rate struct {
	perSecond int64

	mu   sync.Mutex // held for arithmetic
	next time.Time  // when all that has passed is paid for
}

// pass waits until n more bytes may pass; false if ctx has ended.
func (r *rate) pass(ctx context.Context, n int) bool {
	r.mu.Lock()
	now := time.Now()
	if r.next.Before(now) {
		r.next = now
	}
	wait := r.next.Sub(now)
	r.next = r.next.Add(time.Duration(float64(n) / float64(r.perSecond) * float64(time.Second)))
	r.mu.Unlock()
	if wait <= 0 {
		return ctx.Err() == nil
	}
	return pause(ctx, wait)
}
