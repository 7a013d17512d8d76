package admin

import (
	"context"
	"sync"
)

// hubBuffer is how many events a subscriber may lag behind.
const hubBuffer = 256

// Hub spreads events to subscribers. The zero value is ready for use. It starts
// no goroutine that outlives its subscriber's context.
type Hub struct {
	mu     sync.Mutex // held only to add, remove and send, which never blocks
	subs   map[*subscription]struct{}
	closed bool
}

type subscription struct {
	ch chan Event // closed by whoever removes the subscription from Hub.subs, under mu
}

// Publish hands e to every subscriber. It never blocks: one whose buffer is full
// loses its subscription, so that it notices that it has missed something.
func (h *Hub) Publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		select {
		case s.ch <- e:
		default:
			h.drop(s)
		}
	}
}

// Subscribe returns the events from now on. The channel is closed when ctx ends,
// when the subscriber lags by more than its buffer, or when the hub closes.
func (h *Hub) Subscribe(ctx context.Context) <-chan Event {
	s := &subscription{ch: make(chan Event, hubBuffer)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || ctx.Err() != nil {
		close(s.ch)
		return s.ch
	}
	if h.subs == nil {
		h.subs = make(map[*subscription]struct{})
	}
	h.subs[s] = struct{}{}
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.drop(s)
	})
	return s.ch
}

// Close ends all subscriptions, and every later one at once.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.subs {
		h.drop(s)
	}
}

// drop removes s if it is still there. The caller holds mu.
func (h *Hub) drop(s *subscription) {
	if _, ok := h.subs[s]; ok {
		delete(h.subs, s)
		close(s.ch)
	}
}
