package client

import (
	"context"
	"fmt"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

const (
	tendEvery = 50 * time.Millisecond
	pingAfter = 250 * time.Millisecond // of silence, while anybody waits for an answer: a node is asked for a sign of life
	hungAfter = 900 * time.Millisecond // of the same: its connection is given up

	probeFirst   = 100 * time.Millisecond // until a node that failed is asked whether it is back; doubles with each failure
	probeMost    = 500 * time.Millisecond
	probeTimeout = time.Second
)

// tend is the tender's goroutine: it gives up nodes that are silent, and finds out when
// those that failed are back, so that no caller has to wait for that.
func (c *Client) tend() {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	var links []*link
	for {
		select {
		case <-c.ctx.Done():
			return
		case now := <-ticker.C:
			links = c.listen(links[:0])
			c.probeDown(now)
		}
	}
}

// listen looks which connections have gone silent while callers wait for answers. It
// looks at all of them then: if the node that is asked next hangs as well, that is known
// by the time it is asked. A client that waits for nothing asks for nothing.
func (c *Client) listen(links []*link) []*link {
	c.mu.Lock()
	for l := range c.links {
		links = append(links, l)
	}
	c.mu.Unlock()
	waits := false
	for _, l := range links {
		waits = waits || l.waits()
	}
	for _, l := range links {
		l.tick(waits)
	}
	return links
}

// waits reports whether an answer is awaited.
func (l *link) waits() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.calls) > 0
}

// tick is called every tendEvery, on the tender's goroutine. Silence is counted in
// ticks: a client that was stopped itself finds answers unread, and must not take every
// node for dead.
func (l *link) tick(waits bool) {
	if l.heard.Swap(false) || !waits {
		l.quiet = 0
		return
	}
	l.quiet++
	switch silence := time.Duration(l.quiet) * tendEvery; {
	case silence == pingAfter:
		l.ping()
	case silence >= hungAfter:
		l.peer.failed() // before its callers hear of it and look for another
		l.fail(fmt.Errorf("not a byte came from %s for %v, although it was asked for a sign of life", l.peer.name, silence))
	}
}

// ping asks the node for a sign of life. Nobody waits for the answer itself.
func (l *link) ping() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && l.enqueue(&wire.Header{Kind: wire.KindRequest, Op: wire.OpPing}, nil, false) {
		l.dueLocked()
	}
}

// probeDown asks the nodes that failed whether they are back, each on a goroutine of its own.
func (c *Client) probeDown(now time.Time) {
	for _, p := range c.view.Load().order {
		if p.probeDue(now) && !c.spawn(func() { c.probe(p) }) {
			p.probed()
		}
	}
}

func (c *Client) probe(p *peer) {
	defer p.probed()
	limit := time.Now().Add(probeTimeout)
	ctx, cancel := context.WithDeadline(c.ctx, limit)
	defer cancel()
	l, err := p.connect(ctx, limit)
	if err == nil {
		h := wire.Header{Kind: wire.KindRequest, Op: wire.OpPing}
		h.SetTimeout(probeTimeout)
		err = l.roundTrip(ctx, &h, nil, limit, nil).err
	}
	if err != nil {
		p.failed()
		return
	}
	p.answered()
}
