package dataplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// conn is one accepted multiplexed connection: peer, client or stranger.
type conn struct {
	c       net.Conn
	kind    byte
	from    ring.NodeID
	handler Handler
	epoch   func() uint64
	clocks  *Clocks // tells peers that ping the time; nil for nobody
	check   uint32  // short form of this node's cluster id
	log     *slog.Logger
	out     *outbox
	ctx     context.Context // done when the connection is gone

	transit     transit // reader only, like the next
	lull        lull
	maxInFlight int64
	maxBytes    int64 // of the bodies of requests under way
	maxBody     int
	inFlight    atomic.Int64 // requests without an answer yet
	bytes       atomic.Int64 // of their bodies
}

// serve reads requests until the connection ends, and says why it did. It owns
// the writer's goroutine, and closes c.
func (c *conn) serve(cancel context.CancelFunc) error {
	var writer sync.WaitGroup
	var writeErr error
	writer.Go(func() {
		writeErr = c.out.run()
		_ = c.c.Close() // wakes the reader
	})
	err := c.read()
	cancel()
	c.out.close()
	_ = c.c.Close()
	writer.Wait()
	return errors.Join(err, writeErr)
}

func (c *conn) read() error {
	batch := batch{cork: c.out.cork, frames: wire.NewReader(c.c, c.maxBody)}
	defer batch.end()
	for {
		f, err := batch.next()
		if err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		if err := c.take(f); err != nil {
			return err
		}
		if c.out.full.Load() { // who does not read its answers may not ask more
			batch.end()
			c.out.waitRoom()
		}
	}
}

// take checks one frame and hands it on; an error closes the connection.
func (c *conn) take(f wire.Frame) error {
	if f.Kind != wire.KindRequest {
		return fmt.Errorf("frame of kind %d where a request was expected", f.Kind)
	}
	r := &Request{Header: f.Header, Body: f.Body, From: c.from, conn: c}
	now := time.Now()
	age := c.transit.age(now, f.Sent)
	r.waited = c.lull.outlasted(now, age)
	late := f.TimeoutMS > 0 && age >= f.Timeout()
	if late && age > longTransit {
		return fmt.Errorf("a request was on its way for %v, longer than it had time", age)
	}
	if f.TimeoutMS > 0 {
		r.Deadline = now.Add(f.Timeout() - age)
	}
	inFlight, bytes := c.inFlight.Add(1), c.bytes.Add(int64(len(r.Body)))
	switch {
	case c.kind == wire.ConnPeer && f.Cluster != c.check:
		return fmt.Errorf("frame of cluster check %08x on a connection of %08x", f.Cluster, c.check)
	case c.kind == wire.ConnClient && f.Cluster != c.check && f.Cluster != 0:
		r.Reply(wire.WrongCluster, c.epoch(), []byte("the request is meant for another cluster"))
	case f.Op == wire.OpPing && c.kind == wire.ConnPeer && c.clocks != nil:
		r.Reply(wire.OK, c.epoch(), c.clocks.tell())
	case f.Op == wire.OpPing && c.kind != wire.ConnStrange:
		r.Reply(wire.OK, c.epoch(), nil)
	case late:
		r.Reply(wire.Deadline, c.epoch(), []byte("the deadline passed before the request arrived"))
	case inFlight > c.maxInFlight || bytes > c.maxBytes:
		r.Reply(wire.Overload, c.epoch(), []byte("too many requests under way on this connection"))
	default:
		c.handler.Serve(r)
	}
	return nil
}

// reply queues the one answer to r.
func (c *conn) reply(r *Request, code wire.Code, epoch uint64, body []byte) {
	c.inFlight.Add(-1)
	c.bytes.Add(-int64(len(r.Body)))
	h := r.answer(wire.KindReply)
	h.Code, h.Epoch = code, epoch
	if len(body) > wire.MaxBody {
		h.Code, body = wire.TooLarge, []byte("the answer is longer than a frame may be")
	}
	if c.out.force(&h, body) == errFull {
		h.Code = wire.Maybe
		_ = c.out.force(&h, []byte("the answer was dropped: earlier ones have not been read")) // short: fails only without a reader
	}
}
