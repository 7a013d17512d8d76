package dataplane

import (
	"context"
	"sync/atomic"
	"time"
)

// pauses tells when this process last stood still: it was stopped, or its machine was. Its
// connections and clocks went on, and others may have given it up meanwhile.
type pauses struct {
	born time.Time
	seen atomic.Int64 // nanoseconds since born: when it was last seen running
	over atomic.Int64 // ... and when the last pause was over
}

// pauseLook is how often a process that does nothing else looks at the time.
const pauseLook = 50 * time.Millisecond

// watch looks at the time until ctx ends.
func (p *pauses) watch(ctx context.Context) {
	tick := time.NewTicker(pauseLook)
	defer tick.Stop()
	for ctx.Err() == nil {
		p.look()
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// look takes down a pause that is just over. Any goroutine may be the first to run then.
func (p *pauses) look() {
	now := int64(time.Since(p.born))
	seen := p.seen.Load()
	if now-seen >= int64(longLull) {
		p.over.Store(now)
	}
	if now > seen {
		p.seen.CompareAndSwap(seen, now)
	}
}

// since reports whether there was one since t.
func (p *pauses) since(t time.Time) bool {
	p.look()
	over := p.over.Load()
	return over > 0 && time.Duration(over) > t.Sub(p.born)
}
