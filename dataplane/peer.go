package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// peer is one other node: the connection to it, or the way to one.
//
//	idle ─Send or probe→ dialling ─hello→ linked ─connection broke, or silent for long→ idle
//	dialling ─refused→ idle, and no dial before retryAt
//
// Probes dial again while a dial hangs, so that a node is used as soon as it can be
// reached: the first connection counts.
type peer struct {
	node ring.NodeID
	own  *Peers

	mu      sync.Mutex    // held to look and to queue, never while dialling or calling done
	link    *link         // nil unless linked
	dials   int           // under way
	taken   int           // of these, those that the other side's system has taken
	fresh   bool          // the node was up when the newest dial began
	retryAt time.Duration // no dial before, on the Peers' clock
	lost    error         // why there is no link, if there was a dial
	absent  time.Duration // since when each dial was refused, or taken and left without an answer, on the Peers' clock; 0 if that is not so
	waiting []waitingCall // until a dial ends
	bytes   int           // of their bodies
}

// waitingCall is a request that waits for the connection.
type waitingCall struct {
	call
	h    wire.Header
	body []byte
}

// send queues the request on the link, or until there is one. An error means that
// done has not been, and will not be, called.
func (p *peer) send(h *wire.Header, body []byte, c call) *wire.Error {
	p.mu.Lock()
	if l := p.link; l != nil {
		p.mu.Unlock()
		return l.send(h, body, c)
	}
	defer p.mu.Unlock()
	if p.dials == 0 || p.heard() {
		if err := p.startDial(); err != nil {
			return wire.Errorf(wire.Unavailable, "node %s cannot be reached: %v", p.node, err)
		}
	}
	if len(p.waiting) >= p.own.cfg.MaxInFlight || p.bytes >= maxPeerQueued {
		return wire.Errorf(wire.Overload, "%d requests wait for a connection to node %s", len(p.waiting), p.node)
	}
	p.waiting = append(p.waiting, waitingCall{c, *h, body})
	p.bytes += len(body)
	return nil
}

// startDial begins to connect, unless the last attempt is very young and nothing has been
// heard of the node since. mu is held.
func (p *peer) startDial() error {
	now := p.own.now()
	if now < p.retryAt && !p.heard() {
		return p.lost
	}
	if !p.own.start(func() { p.connect(true) }) {
		return net.ErrClosed
	}
	p.dials++
	p.fresh = p.own.liveness.Up(p.node)
	p.retryAt = now + redialWait
	return nil
}

// heard reports whether the node has come up since the newest dial began. What becomes of
// that then says nothing: it may lie among those that the node has found when it went on,
// behind so many others that it is answered too late. mu is held.
func (p *peer) heard() bool { return !p.fresh && p.own.liveness.Up(p.node) }

// connect is the life of one connection, on a goroutine of the Peers. If nobody needs
// it, a node that cannot be reached is not taken for down.
func (p *peer) connect(needed bool) {
	wasUp := p.own.liveness.Up(p.node)
	c, theirs, err := p.dial()
	if err != nil {
		for _, w := range p.dialFailed(err, needed, wasUp) {
			w.done(wire.Frame{}, wire.Errorf(wire.Unavailable, "node %s cannot be reached: %v", p.node, err))
		}
		return
	}
	l := p.own.newLink(p.node, c, &theirs)
	unsent, first := p.linkUp(l)
	if first && p.own.cfg.Clocks != nil {
		l.ping(p.own.pingHeader(), p.ponged) // a node that starts waits for the time
	}
	for _, w := range unsent {
		w.done(wire.Frame{}, wire.Errorf(wire.Overload, "too much waited for a connection to node %s", p.node))
	}
	if !first {
		_ = c.Close()
		return
	}
	if p.own.ctx.Err() != nil {
		l.close(net.ErrClosed) // Close may have come before there was a link to close
	}
	err = l.run()
	p.unlink(err)
	l.fail(err)
}

// linkUp makes l the connection, unless there is one, and sends what waited for it, in
// order; it returns what does not fit.
func (p *peer) linkUp(l *link) (unsent []waitingCall, first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dials--
	if p.link != nil {
		return nil, false
	}
	p.own.liveness.Worked(p.node)
	for i := range p.waiting {
		if w := &p.waiting[i]; l.send(&w.h, w.body, w.call) != nil {
			unsent = append(unsent, *w)
		}
	}
	p.waiting, p.bytes, p.link = nil, 0, l
	return unsent, true
}

// dialFailed notes that a dial came to nothing. Unless there is a connection by now the
// node is marked failed, if the dial was needed and the node has not come up since it began,
// and what waited for one is returned.
func (p *peer) dialFailed(cause error, needed, wasUp bool) (waiting []waitingCall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dials--
	if p.link != nil {
		return nil
	}
	if !needed && len(p.waiting) == 0 {
		return nil
	}
	switch since := !wasUp && p.own.liveness.Up(p.node); {
	case since && (p.dials > 0 || p.heard() && p.startDial() == nil):
		return nil
	case !since:
		p.own.broke(p.node, cause)
	}
	waiting = p.waiting
	p.waiting, p.bytes, p.lost = nil, 0, cause
	return waiting
}

// unlink notes that the connection is gone, and marks the node failed.
func (p *peer) unlink(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link, p.lost = nil, cause
	p.own.broke(p.node, cause)
}

// probe tries to hear from a peer that is not up: by a ping if there is a
// connection, else by making one, unless one that has been taken will not be given up before
// the next probe: a node that is stopped finds all of them when it goes on, the newest last.
func (p *peer) probe() {
	p.mu.Lock()
	l := p.link
	if l == nil && (p.taken == 0 || p.own.now() >= p.retryAt+p.own.cfg.DialTimeout-2*redialWait) {
		_ = p.startDial() // too young or closed: the next probe tries again
	}
	p.mu.Unlock()
	if l != nil {
		l.ping(p.own.pingHeader(), p.ponged)
	}
}

// seen dials to a peer that has just connected itself, however young the last attempt is.
func (p *peer) seen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.link == nil {
		p.retryAt = 0
		_ = p.startDial() // closed
	}
}

// reach dials anew to a peer that has come up by itself during a dial, so that nobody has to
// wait for what becomes of that.
func (p *peer) reach() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.link == nil && p.dials > 0 && p.heard() {
		_ = p.startDial()
	}
}

// askTime asks the peer what time it is. A connection that is made for that alone says
// nothing of the node if it comes to nothing.
func (p *peer) askTime() {
	p.mu.Lock()
	l := p.link
	if l == nil && p.dials == 0 && p.own.start(func() { p.connect(false) }) {
		p.dials++
	}
	p.mu.Unlock()
	if l != nil {
		l.ping(p.own.pingHeader(), p.ponged)
	}
}

// ponged takes the answer to a ping that was sent at sent.
func (p *peer) ponged(f wire.Frame, sent time.Time) {
	p.own.liveness.Worked(p.node)
	if c := p.own.cfg.Clocks; c != nil {
		c.hear(p.node, f.Body, sent)
	}
}

// tend ends what is late and watches over a peer that has gone silent: one that nobody waits
// for is asked for a sign of life only if idle says so, and asked says that it was.
func (p *peer) tend(now time.Duration, idle bool) (asked bool) {
	p.mu.Lock()
	l := p.link
	late := p.expireWaiting(now)
	p.mu.Unlock()
	for _, w := range late {
		w.done(wire.Frame{}, wire.Errorf(wire.Deadline, "no connection to node %s in time", p.node))
	}
	if l == nil {
		return false
	}
	l.expire(now)
	silence, hung, wanted := l.tick()
	switch {
	case hung:
		l.close(fmt.Errorf("not a byte came for %v, although it was asked for a sign of life", silence))
	case silence >= pingAfter && (wanted || idle):
		l.ping(p.own.pingHeader(), p.ponged)
		return !wanted
	}
	return false
}

// expireWaiting takes the waiting calls whose deadline has passed. mu is held.
func (p *peer) expireWaiting(now time.Duration) (late []waitingCall) {
	kept := p.waiting[:0]
	for _, w := range p.waiting {
		if w.deadline != 0 && w.deadline <= now {
			late = append(late, w)
			p.bytes -= len(w.body)
		} else {
			kept = append(kept, w)
		}
	}
	clear(p.waiting[len(kept):])
	p.waiting = kept
	return late
}

// stop closes the connection, if there is one.
func (p *peer) stop() {
	p.mu.Lock()
	l := p.link
	p.mu.Unlock()
	if l != nil {
		l.close(net.ErrClosed)
	}
}

// dial connects to node for the purpose conn, within the dial timeout, and returns its hello. It calls taken, if
// that is not nil, when the other side's system has taken the connection, before the node
// has answered.
func (p *Peers) dial(ctx context.Context, node ring.NodeID, conn byte, taken func()) (net.Conn, wire.Hello, error) {
	addr, ok := p.cfg.Resolve(node)
	if !ok {
		return nil, wire.Hello{}, fmt.Errorf("no address is known for node %s", node)
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.DialTimeout)
	defer cancel()
	say := p.cfg.Identity.hello(node)
	say.Sent = wire.SentAt(p.now())
	connect := p.cfg.Connect
	if taken != nil {
		connect = func(ctx context.Context, addr string) (net.Conn, error) {
			c, err := p.cfg.Connect(ctx, addr)
			if err == nil {
				taken()
			}
			return c, err
		}
	}
	c, theirs, err := dialHello(ctx, connect, addr, conn, say)
	if err != nil {
		if e, ok := errors.AsType[*wire.Error](err); ok && e.Code == wire.WrongCluster && e.Epoch > 0 {
			p.cfg.SawEpoch(node, e.Epoch) // of another generation, perhaps a later one
		}
		return nil, theirs, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return c, theirs, nil
}
