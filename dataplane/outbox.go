package dataplane

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Errors of an outbox.
var (
	errFull   = errors.New("the connection's write queue is full")
	errClosed = errors.New("the connection is closed")
)

// outbox is what waits to be written to one connection. Any goroutine may queue
// frames; run, on one goroutine, writes all that has gathered in one call and
// then swaps the two buffers.
type outbox struct {
	c     net.Conn
	taken atomic.Uint64 // how often run has taken the queue; raised while mu is held
	max   int           // bytes in the queue from which on it is full
	full  atomic.Bool   // the queue is full; a hint, exact under mu
	drain atomic.Bool   // a write has waited until the other side took something; whoever asks sets it back

	mu     sync.Mutex // held to copy a frame, never while writing
	more   sync.Cond  // there is something to write, or closed
	room   sync.Cond  // the queue was taken, or closed
	queue  []byte
	closed bool
}

func newOutbox(c net.Conn, maxBytes int) *outbox {
	o := &outbox{c: c, max: maxBytes}
	o.more.L, o.room.L = &o.mu, &o.mu
	return o
}

// offer queues a frame unless the queue is full. It never blocks.
func (o *outbox) offer(h *wire.Header, body []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed && len(o.queue) >= o.max {
		return errFull
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
	if len(o.queue) == 0 {
		o.more.Signal()
	}
	o.queue = wire.AppendFrame(o.queue, h, body)
	if len(o.queue) >= o.max {
		o.full.Store(true)
	}
	return nil
}

// run writes until the outbox is closed, which is no error, or a write fails. It
// closes the outbox in the end. One goroutine owns it.
func (o *outbox) run() error {
	defer o.close()
	var spare []byte
	for {
		batch, ok := o.take(spare)
		if !ok {
			return nil
		}
		if err := o.write(batch); err != nil {
			return err
		}
		if spare = batch[:0]; cap(spare) > keepBuffer {
			spare = nil
		}
	}
}

// write gives batch to the kernel, a long one in pieces. A piece that had to wait and was
// taken in the end shows that the other side's kernel, at least, reads: on a slow link
// that may be the only sign of life while a long frame is on its way.
func (o *outbox) write(batch []byte) error {
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
	return nil
}

// take waits for frames and exchanges the queue for spare.
func (o *outbox) take(spare []byte) ([]byte, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		for len(o.queue) == 0 && !o.closed {
			o.more.Wait()
		}
		// Whoever else is ready to send gets its turn before the system call: with
		// many callers this makes one write of what would be many.
		o.mu.Unlock()
		runtime.Gosched()
		o.mu.Lock()
	}
	if o.closed {
		return nil, false
	}
	batch := o.queue
	o.queue = spare
	o.taken.Add(1)
	o.full.Store(false)
	o.room.Broadcast()
	return batch, true
}

// close makes run end and every later frame fail. What is queued is lost.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.queue = nil
	o.more.Broadcast()
	o.room.Broadcast()
}
