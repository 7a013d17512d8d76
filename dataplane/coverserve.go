package dataplane

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// chunkSize is how many bytes of items make a chunk; one item may go past it.
const chunkSize = 64 << 10

// ServeStream answers an OpCover or OpFold of another node with this node's part of one
// partition. It returns when the answer is written, the stream breaks, or the
// request's deadline passes; the stream is the caller's to close.
func (r *Router) ServeStream(ctx context.Context, s FrameStream, first wire.Frame) {
	h := wire.Header{
		Kind: wire.KindChunk, Op: first.Op, ID: first.ID, Service: first.Service, Partition: first.Partition,
		Epoch: uint64(r.rings.Ring().Epoch),
	}
	if first.TimeoutMS > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, first.Timeout())
		defer cancel()
		defer context.AfterFunc(ctx, func() { _ = s.Close() })() // also while the other side does not read
	}
	err := r.streamItems(ctx, s, h, first)
	if err == nil || errors.Is(err, errStream) {
		return
	}
	e := asError(err)
	h.Kind, h.Code, h.Epoch = wire.KindReply, e.Code, max(e.Epoch, uint64(r.rings.Ring().Epoch))
	if err := s.WriteFrame(&h, []byte(e.Message)); err == nil {
		_ = s.Flush() // the other side sees a broken stream
	}
}

// errStream says that a stream can no longer be written.
var errStream = errors.New("stream broke")

func (r *Router) streamItems(ctx context.Context, s FrameStream, h wire.Header, first wire.Frame) error {
	call, err := wire.ParseCoverCall(&first.Header, first.Body)
	switch {
	case err != nil:
		return wire.Errorf(wire.BadRequest, "%v", err)
	case first.Op != wire.OpCover && first.Op != wire.OpFold:
		return wire.Errorf(wire.BadRequest, "operation %d is no coverage query", first.Op)
	case int(first.Partition) >= r.rings.Ring().Q():
		return wire.Errorf(wire.BadRequest, "there is no partition %d", first.Partition)
	case r.parts.Add(1) > maxCoverParts:
		r.parts.Add(-1)
		return wire.Errorf(wire.Overload, "%d parts of coverage queries are under way at this node", maxCoverParts)
	}
	defer r.parts.Add(-1)
	var chunk []byte
	send := func() error {
		err := s.WriteFrame(&h, chunk)
		if err == nil {
			err = s.Flush()
		}
		if chunk = chunk[:0]; err != nil {
			return errors.Join(errStream, err)
		}
		return nil
	}
	err = r.local.Cover(ctx, &call, func(it *wire.Item) error {
		if chunk = wire.AppendItem(chunk, it); len(chunk) < chunkSize {
			return nil
		}
		return send()
	})
	if err != nil {
		return err
	}
	h.Flags = wire.FlagLast
	return send()
}

// ServeCover answers a client's OpCover with chunks; see wire.CoverRequest. The
// query runs on goroutines of the Router.
func (r *Router) ServeCover(req *Request) {
	call, err := wire.ParseCoverRequest(req.Body)
	if err != nil {
		r.refuse(req.Reply, err)
		return
	}
	info, ok := r.local.Service(req.Service)
	if !ok {
		r.refuse(req.Reply, errors.New("this node knows no such service"))
		return
	}
	if err := r.beginCover(); err != nil {
		r.reply(req, wire.Overload, []byte(asError(err).Message))
		return
	}
	started := r.spawn(func() {
		defer r.covers.Add(-1)
		r.answerCover(req, info, call)
	})
	if !started {
		r.covers.Add(-1)
		r.reply(req, wire.ShuttingDown, message("the node shuts down"))
	}
}

func (r *Router) answerCover(req *Request, info wire.ServiceInfo, call wire.CoverRequest) {
	out := coverChunks{send: req.Chunk}
	res, err := r.cover(req.Context(), req.Service, info, call.Body, CoverOptions{R: call.R}, out.add)
	if err == nil {
		err = out.flush()
	}
	if err != nil {
		e := asError(err)
		r.reply(req, e.Code, []byte(e.Message))
		return
	}
	end := wire.CoverEnd{Complete: res.Complete, Missing: make([]uint16, len(res.Missing)), Reduced: res.Reduced}
	for i, p := range res.Missing {
		end.Missing[i] = uint16(p)
	}
	body, err := json.Marshal(end)
	if err != nil {
		r.reply(req, wire.Internal, []byte(err.Error()))
		return
	}
	r.reply(req, wire.OK, body)
}

func (r *Router) reply(req *Request, code wire.Code, body []byte) {
	req.Reply(code, uint64(r.rings.Ring().Epoch), body)
}

// coverChunks gathers items into chunks, each of one partition and node.
type coverChunks struct {
	send      func(body []byte, last bool) error
	partition ring.Partition
	node      ring.NodeID
	buf       []byte
}

func (c *coverChunks) add(it CoverItem) error {
	if len(c.buf) > 0 && (it.Partition != c.partition || it.Node != c.node) {
		if err := c.flush(); err != nil {
			return err
		}
	}
	if len(c.buf) == 0 {
		c.partition, c.node = it.Partition, it.Node
		c.buf = wire.AppendCoverPart(c.buf, &wire.CoverPart{Partition: uint16(it.Partition), Node: string(it.Node)})
	}
	if c.buf = wire.AppendItem(c.buf, &it.Item); len(c.buf) < chunkSize {
		return nil
	}
	return c.flush()
}

func (c *coverChunks) flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	err := c.send(c.buf, false)
	c.buf = c.buf[:0]
	return err
}
