package dataplane

import (
	"context"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Handler answers the requests of multiplexed connections.
type Handler interface {
	// Serve is called on the connection's reader, in the order of arrival: it must not
	// block. It, or whoever it passes r on to, calls r.Reply exactly once, at any time.
	Serve(r *Request)
}

// Request is one request on a peer, client or stranger connection. Body belongs
// to the handler.
type Request struct {
	wire.Header
	Body     []byte
	From     ring.NodeID // "" for a client; on a stranger connection what the caller says of itself
	Deadline time.Time   // from the header's timeout, counted from arrival; zero if none

	conn   *conn
	waited bool // it lay there while this node did not read: its sender may have asked another one since

	mu      sync.Mutex // held for a few instructions
	replied bool
	ctx     context.Context // nil until asked for
	cancel  context.CancelFunc
}

// Reply ends the request; any goroutine may call it, exactly once. It never
// blocks and copies body. The answer's epoch is epoch, the rest of its header the
// request's. A caller that does not read its answers gets Maybe instead of the
// long ones that no longer fit.
func (r *Request) Reply(code wire.Code, epoch uint64, body []byte) {
	if !r.finish() {
		r.conn.log.Error("request answered twice", "peer", r.From, "kind", r.Op, "err", code.String())
		return
	}
	r.conn.reply(r, code, epoch, body)
}

// Chunk sends one piece of a long answer; Reply must follow the last one. It
// blocks while the connection's write queue is full, and fails once the
// connection is gone. One goroutine at a time; not on the connection's reader.
func (r *Request) Chunk(body []byte, last bool) error {
	h := r.answer(wire.KindChunk)
	if last {
		h.Flags = wire.FlagLast
	}
	return r.conn.out.wait(&h, body)
}

// Context is done when the connection is gone, the deadline has passed or the
// request has been answered.
func (r *Request) Context() context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx != nil {
		return r.ctx
	}
	if r.Deadline.IsZero() {
		r.ctx, r.cancel = context.WithCancel(r.conn.ctx)
	} else {
		r.ctx, r.cancel = context.WithDeadline(r.conn.ctx, r.Deadline)
	}
	if r.replied {
		r.cancel()
	}
	return r.ctx
}

// gone reports whether nobody hears an answer any more: the connection is closed.
func (r *Request) gone() bool { return r.conn.ctx.Err() != nil }

// finish reports whether this is the first answer, and ends the context.
func (r *Request) finish() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.replied {
		return false
	}
	r.replied = true
	if r.cancel != nil {
		r.cancel()
	}
	return true
}

// answer is the header of an answer to r.
func (r *Request) answer(kind wire.Kind) wire.Header {
	h := r.Header
	h.Kind, h.Flags, h.TimeoutMS, h.Cluster, h.Trace = kind, 0, 0, r.conn.check, nil
	return h
}
