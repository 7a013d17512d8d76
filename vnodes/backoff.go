package vnodes

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff waits longer each time, with full jitter.
type backoff struct{ next, limit time.Duration }

func newBackoff(first, limit time.Duration) *backoff { return &backoff{next: first, limit: limit} }

// sleep waits; false if ctx has ended.
func (b *backoff) sleep(ctx context.Context) bool { return pause(ctx, b.delay()) }

// delay is how long to wait now.
func (b *backoff) delay() time.Duration {
	d := b.next/2 + rand.N(b.next)
	b.next = min(b.next*2, b.limit)
	return d
}

// nudge wakes who waits for ch, which has one slot, or will wait.
func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it is nudged already
	}
}

// pause waits for d; false if ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
