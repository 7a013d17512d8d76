package dataplane

import (
	"context"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Queries runs several queries of a service at once and waits for all replies; then it
// tells each in order, with Query's errors. What they ask of a peer goes in one write, and
// those that this node answers by itself cost neither a goroutine nor a timer. The calls
// must not change before all are answered.
func (r *Router) Queries(ctx context.Context, service string, calls []wire.Call, each func(i int, reply []byte, err error)) {
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(r.timeout)
	}
	id, deadline := wire.ServiceID(service), early(end)
	q := &queries{left: len(calls), answers: make([]result, len(calls)), done: make(chan struct{})}
	r.cork.Hold()
	for i := range calls {
		r.Do(wire.OpQuery, id, calls[i], 0, deadline, func(code wire.Code, epoch uint64, body []byte) {
			q.answered(i, result{code, epoch, body, true})
		})
		if i%batchFrames == batchFrames-1 {
			r.cork.Release()
			r.cork.Hold()
		}
	}
	r.cork.Release()
	for i, a := range q.wait(ctx, end) {
		if !a.there {
			each(i, nil, wire.Errorf(wire.Deadline, "the caller stopped waiting: %v", context.DeadlineExceeded))
			continue
		}
		reply, err := a.reply()
		each(i, reply, err)
	}
}

// queries are the answers to several queries.
type queries struct {
	mu      sync.Mutex // held for a few instructions
	left    int
	answers []result
	over    bool // nobody waits any more
	done    chan struct{}
}

func (q *queries) answered(i int, a result) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over {
		return
	}
	q.answers[i] = a
	if q.left--; q.left == 0 {
		close(q.done)
	}
}

// wait returns when all are there, or at end, or when ctx ends.
func (q *queries) wait(ctx context.Context, end time.Time) []result {
	q.mu.Lock()
	left := q.left
	q.mu.Unlock()
	if left > 0 {
		late := time.NewTimer(time.Until(end))
		defer late.Stop()
		select {
		case <-q.done:
		case <-late.C:
		case <-ctx.Done():
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.over = true
	return q.answers
}
