package client

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/metadata/ring"
)

// For how long a node that failed is asked only if no other is left.
const (
	shunFirst = 100 * time.Millisecond // doubles with each failure in a row
	shunMost  = 5 * time.Second
)

// peer is a node that the client may ask. It outlives rings and connections.
type peer struct {
	client *Client
	id     ring.NodeID
	name   string
	addr   string

	link    atomic.Pointer[link]
	dialing chan struct{} // holds an element while somebody connects
	dialed  time.Time     // when somebody last did; who holds dialing owns it
	dialErr error         // what it came to; likewise

	mu       sync.Mutex   // held to count a failure or success
	failures int          // in a row
	shunned  atomic.Int64 // until when, in nanoseconds since 1970; written under mu
}

func newPeer(c *Client, id ring.NodeID, name, addr string) *peer {
	return &peer{client: c, id: id, name: name, addr: addr, dialing: make(chan struct{}, 1)}
}

// connect returns the connection to the node, a new one if need be. Callers that
// find none wait for the first of them, and share its failure. An error means that
// nothing was sent.
func (p *peer) connect(ctx context.Context, limit time.Time) (*link, error) {
	if l := p.link.Load(); l != nil && !l.broken() {
		return l, nil
	}
	asked := time.Now()
	ctx, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	select {
	case p.dialing <- struct{}{}:
		defer func() { <-p.dialing }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: connect to %s: %w", errUnsent, p.name, ctx.Err())
	}
	if l := p.link.Load(); l != nil && !l.broken() {
		return l, nil
	}
	if p.dialErr != nil && p.dialed.After(asked) {
		return nil, fmt.Errorf("%w: %w", errUnsent, p.dialErr)
	}
	nc, _, err := p.client.dial(ctx, p.addr, p.client.clusterID(), p.id)
	p.dialed, p.dialErr = time.Now(), err
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnsent, err)
	}
	l := newLink(p.client, p, nc)
	if !p.client.start(l) {
		_ = nc.Close()
		return nil, fmt.Errorf("%w: %w", errUnsent, ErrClosed)
	}
	p.link.Store(l)
	return l, nil
}

// connected reports whether there is a connection that works, as far as is known.
func (p *peer) connected() bool {
	l := p.link.Load()
	return l != nil && !l.broken()
}

// hangUp breaks the connection, if there is one, for the reason err.
func (p *peer) hangUp(err error) {
	if l := p.link.Load(); l != nil {
		l.fail(err)
	}
}

// failed notes that the node did not answer.
func (p *peer) failed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := min(shunFirst<<min(p.failures, 10), shunMost)
	p.failures++
	p.shunned.Store(time.Now().Add(d).UnixNano())
}

// answered notes that the node is well.
func (p *peer) answered() {
	if p.shunned.Load() == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures = 0
	p.shunned.Store(0)
}

// usable reports whether the node may be asked before those that failed lately.
// When its time is over, one caller is let through to see, and the others wait on.
func (p *peer) usable(now int64) bool {
	until := p.shunned.Load()
	return until == 0 || now >= until && p.shunned.CompareAndSwap(until, now+int64(shunMost))
}
