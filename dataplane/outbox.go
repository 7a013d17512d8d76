package dataplane

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/socket"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// Errors of an outbox.
var (
	errFull   = errors.New("the connection's write queue is full")
	errClosed = errors.New("the connection is closed")
)

// outbox is what waits to be written to one connection. Any goroutine may queue
// frames; one at a time writes all that has gathered in one call and then swaps the two
// buffers. That is whoever lets go of the cork, as far as the kernel takes it at once;
// what is left, and what is queued while nobody holds the cork, run writes on a goroutine
// of its own.
type outbox struct {
	c      net.Conn
	socket *socket.Conn // c, nil if that is none of the system's
	cork   *Cork
	taken  atomic.Uint64 // how often the queue was taken; raised while mu is held
	max    int           // bytes in the queue from which on it is full
	full   atomic.Bool   // the queue is full; a hint, exact under mu
	drain  atomic.Bool   // a write has waited until the other side took something; whoever asks sets it back

	mu      sync.Mutex // held to copy a frame, never while writing
	more    sync.Cond  // due, or closed
	room    sync.Cond  // the queue was taken, or closed
	queue   []byte
	rest    []byte // taken, and not written: it comes before queue
	spare   []byte // for queue, when that is taken
	writing bool   // somebody writes
	kept    bool   // who lets go of the cork writes, or run is due
	due     bool   // run is to write: nobody else will
	closed  bool
}

// newOutbox is for c; k may be nil.
func newOutbox(c net.Conn, k *Cork, maxBytes int) *outbox {
	if k == nil {
		k = NewCork()
	}
	o := &outbox{c: c, cork: k, max: maxBytes}
	o.more.L, o.room.L = &o.mu, &o.mu
	if t, ok := c.(*tracked); ok {
		c = t.Conn
	}
	o.socket, _ = c.(*socket.Conn)
	return o
}

// offer queues a frame unless the queue is full. It never blocks. A frame that may linger
// waits until another one that may not is queued, or flush is called, or for the cork's watch.
func (o *outbox) offer(h *wire.Header, body []byte, linger bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed && len(o.queue) >= o.max {
		return errFull
	}
	if linger && !o.closed && !o.kept && len(o.queue) < maxLinger {
		first := len(o.queue) == 0
		o.queue = wire.AppendFrame(o.queue, h, body)
		if first {
			o.cork.linger(o)
		}
		return nil
	}
	return o.append(h, body)
}

// force queues a frame even if the queue is full; the caller bounds how often. A
// long body is refused when it is full several times over.
func (o *outbox) force(h *wire.Header, body []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(body) > shortAnswer && !o.closed && len(o.queue) >= longAnswers*o.max {
		return errFull
	}
	return o.append(h, body)
}

// wait queues a frame of a long answer when little else is queued: who reads slowly
// holds up those who make the answer, and nothing gathers here.
func (o *outbox) wait(h *wire.Header, body []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waitLocked(min(o.max, maxChunksQueued))
	return o.append(h, body)
}

// waitRoom returns when the queue is not full, or is closed.
func (o *outbox) waitRoom() {
	if !o.full.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waitLocked(o.max)
}

func (o *outbox) waitLocked(most int) {
	for len(o.queue) >= most && !o.closed {
		o.room.Wait()
	}
}

// append is the one place where the queue grows; mu is held.
func (o *outbox) append(h *wire.Header, body []byte) error {
	if o.closed {
		return errClosed
	}
	o.queue = wire.AppendFrame(o.queue, h, body)
	if len(o.queue) >= o.max {
		o.full.Store(true)
	}
	if !o.kept {
		if o.kept = o.cork.keep(o); !o.kept {
			o.dueLocked()
		}
	}
	return nil
}

// wake has run write what there is.
func (o *outbox) wake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dueLocked()
}

func (o *outbox) dueLocked() {
	o.due, o.kept = true, true
	o.more.Signal()
}

// flush writes what is queued as far as the kernel takes it at once; run does the rest.
func (o *outbox) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed, len(o.queue) == 0:
		o.kept = o.due
	case o.socket == nil, o.writing, o.rest != nil:
		o.dueLocked()
	default:
		batch := o.takeLocked()
		o.mu.Unlock()
		n := o.try(batch)
		o.mu.Lock()
		o.wrote(batch, n)
	}
}

// takeLocked takes the queue, to write it; wrote must follow. mu is held.
func (o *outbox) takeLocked() []byte {
	batch := o.queue
	o.queue, o.spare = o.spare, nil
	o.writing, o.kept, o.due = true, false, false
	o.taken.Add(1)
	o.full.Store(false)
	o.room.Broadcast()
	return batch
}

// wrote notes that n bytes of batch were written. mu is held.
func (o *outbox) wrote(batch []byte, n int) {
	o.writing = false
	switch {
	case o.closed:
	case n < len(batch):
		o.rest, o.kept, o.due = batch[n:], true, true
	case cap(batch) <= keepBuffer:
		o.spare = batch[:0]
	}
	if o.due {
		o.more.Signal()
	}
}

// try writes what the kernel takes at once, and returns how much that was: nothing also
// if it fails, which the next write will tell.
func (o *outbox) try(batch []byte) int {
	if o.socket == nil {
		return 0
	}
	return o.socket.TryWrite(batch)
}

// run writes until the outbox is closed, which is no error, or a write fails. It
// closes the outbox in the end. One goroutine owns it.
func (o *outbox) run() error {
	defer o.close()
	for {
		batch, ok := o.take()
		if !ok {
			return nil
		}
		if err := o.write(batch[o.try(batch):]); err != nil {
			return err
		}
		o.mu.Lock()
		o.wrote(batch, len(batch))
		o.mu.Unlock()
	}
}

// write gives batch to the kernel, a long one in pieces. A piece that had to wait and was
// taken in the end shows that the other side's kernel, at least, reads: on a slow link
// that may be the only sign of life while a long frame is on its way.
func (o *outbox) write(batch []byte) error {
	if len(batch) == 0 {
		return nil
	}
	for len(batch) > 0 {
		piece := batch[:min(len(batch), writePiece)]
		begun := time.Now()
		if err := o.c.SetWriteDeadline(begun.Add(writeTimeout)); err != nil {
			return err
		}
		if _, err := o.c.Write(piece); err != nil {
			return err
		}
		if batch = batch[len(piece):]; len(batch) > 0 && time.Since(begun) > writeWaited {
			o.drain.Store(true)
		}
	}
	return o.c.SetWriteDeadline(time.Time{}) // try keeps to it too
}

// take waits until there is something for run to write, and takes it; wrote must follow.
func (o *outbox) take() ([]byte, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	waited := false
	for !o.closed {
		switch {
		case !o.due || o.writing:
			o.more.Wait()
			waited = true
		case o.rest != nil:
			batch := o.rest
			o.rest, o.writing = nil, true
			o.due = len(o.queue) > 0
			o.kept = o.due
			return batch, true
		case len(o.queue) == 0:
			o.kept, o.due = false, false
		case waited:
			// Whoever else is ready to send gets its turn before the system call: with
			// many callers this makes one write of what would be many.
			waited = false
			o.mu.Unlock()
			runtime.Gosched()
			o.mu.Lock()
		default:
			return o.takeLocked(), true
		}
	}
	return nil, false
}

// close makes run end and every later frame fail. What is queued is lost.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.queue, o.rest, o.spare = nil, nil, nil
	o.more.Broadcast()
	o.room.Broadcast()
}
