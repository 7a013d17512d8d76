package client

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
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

	down     atomic.Bool // it failed: asked only if no other is left, until a probe or a request is answered
	mu       sync.Mutex  // held to count a failure or success
	failures int         // in a row
	probeAt  time.Time   // if down
	probing  bool
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
	nc, hello, err := p.client.dial(ctx, p.addr, p.client.clusterID(), p.id)
	p.dialed, p.dialErr = time.Now(), err
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnsent, err)
	}
	l := newLink(p.client, p, nc)
	l.traces = slices.Contains(hello.Caps, wire.CapTrace)
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
	p.probeAt = time.Now().Add(min(probeFirst<<min(p.failures, 10), probeMost))
	p.failures++
	p.down.Store(true)
}

// answered notes that the node is well.
func (p *peer) answered() {
	if p.usable() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures = 0
	p.down.Store(false)
}

// usable reports whether the node may be asked before those that failed lately.
func (p *peer) usable() bool { return !p.down.Load() }

// probeDue reports whether it is time to see if the node is back; the caller probes it
// then, and must call probed.
func (p *peer) probeDue(now time.Time) bool {
	if p.usable() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	due := p.down.Load() && !p.probing && now.After(p.probeAt)
	p.probing = p.probing || due
	return due
}

func (p *peer) probed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.probing = false
}
