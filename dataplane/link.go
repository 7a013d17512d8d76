package dataplane

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// call is one request that this node has sent, or will send when it is connected.
type call struct {
	done     func(wire.Frame, error)
	deadline time.Duration // on the Peers' clock; 0 for none
	taken    uint64        // how often the outbox had been taken when the call was queued
	read     bool          // an OpRead
}

// lingerFrom is how many reads are under way to a peer when the next ones wait for their
// answers: what gathers meanwhile goes in one system call and wakes the peer once, and
// what it answers wakes this node once.
const lingerFrom = 4

// link is a live connection to a peer: requests out, answers in. An entry of
// pending is removed by whoever calls its done, so that this happens once.
type link struct {
	node  ring.NodeID
	c     net.Conn
	out   *outbox
	saw   func(ring.NodeID, uint64)
	heard atomic.Bool // bytes have come in since tick last looked
	quiet int         // calls of tick since something was heard; tick's own
	max   int

	traces bool // the peer reads traces

	mu      sync.Mutex // held for a few instructions, never while done is called
	id      uint64     // the last request's
	pending map[uint64]call
	reads   int // of pending
	pinging bool
	closed  bool
	why     error // why this side ended the connection, if it did
}

// send queues a request. If it returns an error the request surely does not run
// and done has not been, and will not be, called.
func (l *link) send(h *wire.Header, body []byte, c call) *wire.Error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return wire.Errorf(wire.Unavailable, "the connection to node %s broke", l.node)
	}
	if len(l.pending) >= l.max {
		l.mu.Unlock()
		return wire.Errorf(wire.Overload, "%d requests are under way to node %s", l.max, l.node)
	}
	l.id++
	h.ID = l.id
	if !l.traces {
		h.Trace = nil
	}
	c.taken, c.read = l.out.taken.Load(), h.Op == wire.OpRead
	l.pending[h.ID] = c
	linger := c.read && l.reads >= lingerFrom
	if c.read {
		l.reads++
	}
	l.mu.Unlock()

	err := l.out.offer(h, body, linger)
	if err == nil {
		return nil
	}
	if _, mine := l.remove(h.ID); !mine {
		return nil // whoever removed it has called done
	}
	if err == errFull {
		return wire.Errorf(wire.Overload, "%d bytes wait to be written to node %s", maxPeerQueued, l.node)
	}
	return wire.Errorf(wire.Unavailable, "the connection to node %s broke", l.node)
}

func (l *link) remove(id uint64) (call, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.pending[id]
	delete(l.pending, id)
	if c.read {
		l.reads--
	}
	return c, ok
}

// run serves the connection until it breaks and says why; fail must follow. It
// owns the writer's goroutine.
func (l *link) run() error {
	var writer sync.WaitGroup
	writer.Go(func() {
		_ = l.out.run()
		_ = l.c.Close() // wakes the reader
	})
	err := l.read()
	l.close(err)
	writer.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

// close ends run soon, for the reason why. It may be called again.
func (l *link) close(why error) {
	l.mu.Lock()
	if l.why == nil {
		l.why = why
	}
	l.mu.Unlock()
	l.out.close()
	_ = l.c.Close()
}

// Read notes that the peer was heard; one call brings many answers.
func (l *link) Read(p []byte) (int, error) {
	n, err := l.c.Read(p)
	if n > 0 {
		l.heard.Store(true)
	}
	return n, err
}

func (l *link) read() error {
	batch := batch{cork: l.out.cork, frames: wire.NewReader(l, wire.MaxBody), also: l.out}
	defer batch.end()
	for {
		f, err := batch.next()
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		if f.Kind != wire.KindReply {
			return fmt.Errorf("frame of kind %d where an answer was expected", f.Kind)
		}
		l.saw(l.node, f.Epoch)
		if c, ok := l.remove(f.ID); ok { // else its deadline has passed
			c.done(f, nil)
		}
	}
}

// fail ends every pending call: those that may have been written with Maybe.
func (l *link) fail(cause error) {
	l.mu.Lock()
	l.closed = true
	pending := l.pending
	l.pending = nil
	l.mu.Unlock()
	taken := l.out.taken.Load()
	maybe := wire.Errorf(wire.Maybe, "the connection to node %s broke: %v", l.node, cause)
	unsent := wire.Errorf(wire.Unavailable, "the connection to node %s broke before the request was written: %v", l.node, cause)
	for _, c := range pending {
		if c.taken == taken {
			c.done(wire.Frame{}, unsent)
		} else {
			c.done(wire.Frame{}, maybe)
		}
	}
}

// expire ends the calls whose deadline has passed.
func (l *link) expire(now time.Duration) {
	l.mu.Lock()
	var late []call
	for id, c := range l.pending {
		if c.deadline != 0 && c.deadline <= now {
			late = append(late, c)
			delete(l.pending, id)
			if c.read {
				l.reads--
			}
		}
	}
	l.mu.Unlock()
	for _, c := range late {
		c.done(wire.Frame{}, wire.Errorf(wire.Deadline, "node %s has not answered in time", l.node))
	}
}

// tick is to be called every tendEvery. It returns for how long the peer has been silent,
// counted in ticks: a node that was stopped itself finds what came meanwhile unread, and
// must not take everybody else for dead.
func (l *link) tick() time.Duration {
	if heard, drained := l.heard.Swap(false), l.out.drain.Swap(false); heard || drained {
		l.quiet = 0
		return 0
	}
	l.quiet++
	return time.Duration(l.quiet) * tendEvery
}

// ping asks the peer for a sign of life unless one is awaited; answered is called
// when it comes, with the time when it was asked for.
func (l *link) ping(h wire.Header, answered func(f wire.Frame, sent time.Time)) {
	l.mu.Lock()
	awaited := l.pinging
	l.pinging = true
	l.mu.Unlock()
	if awaited {
		return
	}
	sent := time.Now()
	c := call{done: func(f wire.Frame, err error) {
		l.pinged()
		if err == nil {
			answered(f, sent)
		}
	}}
	if err := l.send(&h, nil, c); err != nil {
		l.pinged()
	}
}

func (l *link) pinged() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pinging = false
}
