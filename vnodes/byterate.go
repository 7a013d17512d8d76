package vnodes

import (
	"context"
	"sync"
	"time"
)

// byteRate spreads bytes over time. Its users share it.
type byteRate struct {
	perSecond int64

	mu   sync.Mutex // held for arithmetic only
	free time.Time  // when all that was taken is spread
}

// take counts n bytes and waits until those before them have had their time, or ctx ends.
func (r *byteRate) take(ctx context.Context, n int) {
	now := time.Now()
	r.mu.Lock()
	if r.free.Before(now) {
		r.free = now
	}
	wait := r.free.Sub(now)
	r.free = r.free.Add(time.Duration(int64(n) * int64(time.Second) / r.perSecond))
	r.mu.Unlock()
	if wait > time.Millisecond {
		pause(ctx, wait)
	}
}
