package dataplane

import (
	"bufio"
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
}

// link is a live connection to a peer: requests out, answers in. An entry of
// pending is removed by whoever calls its done, so that this happens once.
type link struct {
	node  ring.NodeID
	c     net.Conn
	out   *outbox
	now   func() time.Duration // the Peers' clock
	saw   func(ring.NodeID, uint64)
	heard atomic.Int64 // when bytes last came in, on that clock
	max   int

	mu      sync.Mutex // held for a few instructions, never while done is called
	id      uint64     // the last request's
	pending map[uint64]call
	since   time.Duration // when pending was last empty
	pinging bool
	hung    bool // marked failed for its silence
	closed  bool
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
	if len(l.pending) == 0 {
		l.since = l.now()
	}
	c.taken = l.out.taken.Load()
	l.pending[h.ID] = c
	l.mu.Unlock()

	err := l.out.offer(h, body)
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
	l.close()
	writer.Wait()
	return err
}

// close ends run soon. It may be called again.
func (l *link) close() {
	l.out.close()
	_ = l.c.Close()
}

// Read notes when the peer was last heard; one call brings many answers.
func (l *link) Read(p []byte) (int, error) {
	n, err := l.c.Read(p)
	if n > 0 {
		l.heard.Store(int64(l.now()))
	}
	return n, err
}

func (l *link) read() error {
	frames := wire.NewReader(bufio.NewReaderSize(l, readBuffer), wire.MaxBody)
	for {
		f, err := frames.Read()
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
		}
	}
	l.mu.Unlock()
	for _, c := range late {
		c.done(wire.Frame{}, wire.Errorf(wire.Deadline, "node %s has not answered in time", l.node))
	}
}

// silence is how long the peer has owed an answer without sending a byte.
func (l *link) silence(now time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) == 0 {
		return 0
	}
	return now - max(l.since, time.Duration(l.heard.Load()))
}

// ping asks the peer for a sign of life unless one is awaited; answered is called
// when it comes.
func (l *link) ping(h wire.Header, answered func()) {
	l.mu.Lock()
	awaited := l.pinging
	l.pinging = true
	l.mu.Unlock()
	if awaited {
		return
	}
	c := call{done: func(_ wire.Frame, err error) {
		l.mu.Lock()
		l.pinging, l.hung = false, l.hung && err != nil
		l.mu.Unlock()
		if err == nil {
			answered()
		}
	}}
	if err := l.send(&h, nil, c); err != nil {
		l.mu.Lock()
		l.pinging = false
		l.mu.Unlock()
	}
}

// markHung reports whether the peer was not yet taken for hung.
func (l *link) markHung() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.hung
	l.hung = true
	return !was
}
