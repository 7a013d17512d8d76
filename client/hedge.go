package client

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// hedgeAfter is how long a node may take over a query before another one is asked too:
// longer than the node itself waits before it asks another replica.
const hedgeAfter = 100 * time.Millisecond

// hedge is what it takes to ask another node while a query waits for the first.
type hedge struct {
	view      *view
	partition ring.Partition
	request   *request
	route     *route
}

// begin asks another node, if there is one that can be asked at once, on a goroutine of
// its own. An answer that any node would give is handed to request id of l, as if l's
// node had given it; a worse one is not: l's node may yet do better.
func (h *hedge) begin(ctx context.Context, l *link, id uint64) {
	c, v, partition, r := l.client, h.view, h.partition, *h.request
	p := v.pick(partition, h.route.tried)
	if p == nil || !p.usable() || !p.connected() {
		return
	}
	h.route.tried = append(h.route.tried, p)
	// The caller may change them once it has an answer.
	r.call.Key, r.call.Body = slices.Clone(r.call.Key), bytes.Clone(r.call.Body)
	c.spawn(func() {
		f, err := c.attempt(ctx, v, p, partition, &r, nil)
		if err == nil && conclusive(f.Code) {
			l.hand(id, answer{frame: f, other: true})
		}
	})
}

// conclusive reports whether every node would give an answer with that code.
func conclusive(code wire.Code) bool {
	switch code {
	case wire.OK, wire.NotFound, wire.BadRequest, wire.TooLarge, wire.NotSupported:
		return true
	}
	return false
}

// hand gives the answer to request id to whoever waits for it; if nobody does it is lost.
func (l *link) hand(id uint64, a answer) {
	l.mu.Lock()
	c := l.takeCall(id)
	l.mu.Unlock()
	if c != nil {
		a.item = c.item
		c.done <- a
	}
}
