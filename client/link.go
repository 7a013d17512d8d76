package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/socket"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// Bounds of one connection.
const (
	linkInFlight     = 1000    // requests without an answer; further ones wait. A node takes 1024.
	linkKeepBuffer   = 1 << 20 // a longer write buffer is not kept
	linkWriteTimeout = 30 * time.Second
	linkWriteWaited  = 5 * time.Millisecond // a longer write waited until the node's side took something
	linkWritePiece   = 128 << 10            // of a long batch, is given to the kernel at once
)

// link is a connection to one node, shared by all callers: one of them writes whatever
// has gathered in one system call, see gatherer, or the writer's goroutine does what
// would block; another goroutine reads and hands out the answers.
type link struct {
	nc     net.Conn
	client *Client
	peer   *peer
	slots  chan struct{} // holds one element for each request under way
	heard  atomic.Bool   // the node has given a sign of life since the tender last looked
	quiet  int           // how often the tender has found none in a row; its own

	socket *socket.Conn // nc, nil if that is none of the system's
	traces bool         // the node reads traces

	mu      sync.Mutex // held to queue a frame or look up a call, never across I/O
	more    sync.Cond  // due, or the link is broken
	queue   []byte     // frames to be written
	rest    []byte     // taken, and not written: it comes before queue
	spare   []byte     // for queue, when that is taken
	writing bool       // somebody writes
	kept    bool       // somebody is to write, a reader or the writer
	due     bool       // the writer is
	calls   map[uint64]*call
	queries int    // of calls
	last    uint64 // id of the newest request
	err     error  // why the link is broken; set once
}

// call waits for one answer. It is used again and again; whoever has taken it
// from the pool puts it back when nobody else can send to done any more.
type call struct {
	done  chan answer // with room for the answer, so that the reader never blocks
	query bool
	item  *item // of a batch, which writes what it has sent; nil if it is none's
	timer *time.Timer
	body  []byte // the encoded request
}

type answer struct {
	frame wire.Frame
	err   error // the link broke
	other bool  // another node gave it, to a hedge
	item  *item // its call's
}

// Failures of a link, by what the request came to.
var (
	errUnsent = errors.New("the request was not sent")
	errLost   = errors.New("the connection broke with the request under way")
	errLate   = errors.New("no answer in time")
)

func newCall() *call {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &call{done: make(chan answer, 1), timer: t}
}

func newLink(c *Client, p *peer, nc net.Conn) *link {
	l := &link{nc: nc, client: c, peer: p, slots: make(chan struct{}, linkInFlight), calls: map[uint64]*call{}}
	l.more.L = &l.mu
	l.socket, _ = nc.(*socket.Conn)
	return l
}

// roundTrip sends a request and waits until limit for its answer. An error wraps
// errUnsent, errLost or errLate, the latter also if ctx ends. If the answer is slow to
// come more begins, if it is not nil.
func (l *link) roundTrip(ctx context.Context, h *wire.Header, body *wire.Call, limit time.Time, more *hedge) answer {
	c := l.client.calls.Get().(*call)
	c.body = c.body[:0]
	if body != nil {
		c.body = wire.AppendCall(c.body, body)
	}
	c.timer.Reset(time.Until(limit))
	select {
	case l.slots <- struct{}{}:
	default:
		select {
		case l.slots <- struct{}{}:
		case <-c.timer.C:
			l.release(c)
			return answer{err: fmt.Errorf("%w: too many are under way", errUnsent)}
		case <-ctx.Done():
			l.release(c)
			return answer{err: fmt.Errorf("%w: %w", errUnsent, ctx.Err())}
		}
	}
	defer func() { <-l.slots }()
	id, err := l.send(h, c)
	if err != nil {
		l.release(c)
		return answer{err: err}
	}
	return l.wait(ctx, id, c, limit, more)
}

func (l *link) wait(ctx context.Context, id uint64, c *call, limit time.Time, more *hedge) answer {
	defer l.release(c)
	if time.Until(limit) <= hedgeAfter {
		more = nil
	}
	if more != nil {
		c.timer.Reset(hedgeAfter)
	}
	for {
		var late error
		select {
		case a := <-c.done:
			return a
		case <-c.timer.C:
			if more != nil {
				more.begin(ctx, l, id)
				more = nil
				c.timer.Reset(time.Until(limit))
				continue
			}
			late = errLate
		case <-ctx.Done():
			late = fmt.Errorf("%w: %w", errLate, ctx.Err())
		}
		if !l.forget(id) {
			return <-c.done // the answer was on its way to us just now
		}
		return answer{err: late}
	}
}

// release gives c back. Nobody may send to c.done any more.
func (l *link) release(c *call) {
	c.timer.Stop() // from here on its channel is empty
	if cap(c.body) > linkKeepBuffer {
		c.body = nil
	}
	l.client.calls.Put(c)
}

// send queues the request that c holds, and writes it unless somebody else is about to.
func (l *link) send(h *wire.Header, c *call) (id uint64, err error) {
	l.mu.Lock()
	if l.err != nil {
		defer l.mu.Unlock()
		return 0, fmt.Errorf("%w: %w", errUnsent, l.err)
	}
	c.query = h.Op == wire.OpQuery
	write := l.enqueue(h, c.body, c.item != nil || c.query && l.queries >= gatherFrom)
	l.calls[h.ID] = c
	if c.query {
		l.queries++
	}
	l.mu.Unlock()
	if write {
		l.flush()
	}
	return h.ID, nil
}

// enqueue gives a frame its number and queues it. It reports whether it is on the caller
// to write it. One that lingers waits for the reader. l.mu is held.
func (l *link) enqueue(h *wire.Header, body []byte, linger bool) (write bool) {
	l.last++
	h.ID, h.Sent = l.last, wire.SentAt(time.Since(l.client.born))
	first := len(l.queue) == 0
	l.queue = wire.AppendFrame(l.queue, h, body)
	switch {
	case l.kept:
	case linger && len(l.queue) < gatherBytes:
		if first {
			l.client.gather.linger(l)
		}
	default:
		l.kept = l.client.gather.keep(l)
		return !l.kept
	}
	return false
}

// takeCall removes a call, for an answer or because it is given up; nil if it is gone.
// l.mu is held.
func (l *link) takeCall(id uint64) *call {
	c := l.calls[id]
	if c == nil {
		return nil
	}
	delete(l.calls, id)
	if c.query {
		l.queries--
	}
	return c
}

// forget gives up on an answer; false if it has been handed out already.
func (l *link) forget(id uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.takeCall(id) != nil
}

// broken reports whether no request can be sent any more.
func (l *link) broken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err != nil
}

// fail breaks the link for the reason err, once, and tells everybody who waits.
func (l *link) fail(err error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.err = err
	calls := l.calls
	l.calls = nil
	l.queue, l.rest, l.spare = nil, nil, nil
	l.more.Signal()
	l.mu.Unlock()
	_ = l.nc.Close() // wakes reader and writer
	for _, c := range calls {
		c.done <- answer{err: fmt.Errorf("%w: %w", errLost, err), item: c.item}
	}
}

// write is the writer's goroutine.
func (l *link) write() {
	for {
		batch, ok := l.take()
		if !ok {
			return
		}
		if err := l.put(batch[l.try(batch):]); err != nil {
			l.fail(fmt.Errorf("write to %s: %w", l.peer.name, err))
			return
		}
		l.mu.Lock()
		l.wroteLocked(batch, len(batch))
		l.mu.Unlock()
	}
}

// take waits until there is something for the writer, and takes it; false if the link is
// broken.
func (l *link) take() ([]byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil {
		switch {
		case !l.due || l.writing:
			l.more.Wait()
		case l.rest != nil:
			batch := l.rest
			l.rest, l.writing = nil, true
			l.due = len(l.queue) > 0
			l.kept = l.due
			return batch, true
		case len(l.queue) == 0:
			l.due, l.kept = false, false
		default:
			return l.takeLocked(), true
		}
	}
	return nil, false
}

// put gives batch to the kernel, a long one in pieces: one that had to wait and was taken
// in the end is a sign of life, on a slow link perhaps the only one for a while.
func (l *link) put(batch []byte) error {
	if len(batch) == 0 {
		return nil
	}
	for len(batch) > 0 {
		piece := batch[:min(len(batch), linkWritePiece)]
		begun := time.Now()
		if err := l.nc.SetWriteDeadline(begun.Add(linkWriteTimeout)); err != nil {
			return err
		}
		if _, err := l.nc.Write(piece); err != nil {
			return err
		}
		if batch = batch[len(piece):]; len(batch) > 0 && time.Since(begun) > linkWriteWaited {
			l.heard.Store(true)
		}
	}
	return l.nc.SetWriteDeadline(time.Time{}) // try keeps to it too
}

// Read notes that the node was heard; one call brings many answers.
func (l *link) Read(p []byte) (int, error) {
	n, err := l.nc.Read(p)
	if n > 0 {
		l.heard.Store(true)
	}
	return n, err
}

// read is the reader's goroutine.
func (l *link) read() {
	frames := wire.NewReader(l, wire.MaxBody)
	n := 0 // answers handed out since it has begun to; nobody writes meanwhile
	end := func() {
		if n > 0 {
			n = 0
			l.client.gather.release(l)
		}
	}
	defer end()
	for {
		if n == gatherMost || !frames.Ready() {
			end()
		}
		f, err := frames.Read()
		if err == nil && f.Kind != wire.KindReply {
			err = fmt.Errorf("a frame of kind %d where a reply was expected", f.Kind)
		}
		if err != nil {
			l.fail(fmt.Errorf("read from %s: %w", l.peer.name, err))
			return
		}
		if n++; n == 1 {
			l.client.gather.hold()
		}
		l.client.noteEpoch(f.Epoch)
		l.hand(f.ID, answer{frame: f})
	}
}
