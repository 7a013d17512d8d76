package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Item is one piece of a coverage answer. Its slices are valid only during the
// call that hands it over.
type Item struct {
	Partition ring.Partition
	Node      string // the name of the node that it came from
	Key       []byte
	Value     []byte
}

// Coverage says whether an answer is whole.
type Coverage struct {
	Complete bool
	Missing  []ring.Partition // those of which items may be missing; never nil
	Reduced  bool             // fewer replicas were read than meet every write
}

// CoverOptions say how a coverage query runs.
type CoverOptions struct {
	R       Quorum        // replicas of each partition to read; enough to meet every write of a majority by default
	Timeout time.Duration // a minute if zero and the context has no deadline
}

// Cover runs a coverage query of a service over the whole cluster, and hands each
// item to emit, one at a time, each partition's in key order. It stops when emit
// fails and returns that error. It uses a connection of its own, so that a slow
// emit holds up nobody else.
func (c *Client) Cover(ctx context.Context, service string, body []byte, o CoverOptions, emit func(*Item) error) (Coverage, error) {
	if _, ok := ctx.Deadline(); !ok || o.Timeout > 0 {
		if o.Timeout <= 0 {
			o.Timeout = defaultCoverTimeout
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Timeout)
		defer cancel()
	}
	q := &coverQuery{client: c, service: wire.ServiceID(service), body: wire.AppendCoverRequest(nil, &wire.CoverRequest{R: o.R, Body: body}), emit: emit}
	q.route.tried = q.route.space[:0]
	return q.run(ctx)
}

// coverQuery is a coverage query on its way.
type coverQuery struct {
	client  *Client
	service uint32
	body    []byte
	emit    func(*Item) error
	route   route
	emitted bool // something has been handed over: the query cannot begin anew
}

func (q *coverQuery) run(ctx context.Context) (Coverage, error) {
	c := q.client
	limit, _ := ctx.Deadline()
	for {
		v := c.view.Load()
		p := v.pick(ring.Partition(writeID()%uint64(v.ring.Q())), q.route.tried)
		if p == nil {
			if !c.backoff(ctx, &q.route, limit) {
				return q.giveUp(ctx)
			}
			continue
		}
		q.route.tried = append(q.route.tried, p)
		end, err := q.ask(ctx, v, p)
		if err == nil {
			return coverage(end), nil
		}
		q.route.last = err
		code, final := wire.OK, q.emitted || errors.As(err, new(emitError))
		if e, ok := asError(err); ok {
			code = e.Code
			final = final || !c.again(code, true)
		} else if !final {
			c.blame(ctx, p)
		}
		if final || ctx.Err() != nil || c.ctx.Err() != nil || code == wire.Overload && !c.backoff(ctx, &q.route, limit) {
			return q.giveUp(ctx)
		}
	}
}

func (q *coverQuery) giveUp(ctx context.Context) (Coverage, error) {
	err := q.route.last
	none := Coverage{Missing: []ring.Partition{}}
	if own, ok := errors.AsType[emitError](err); ok {
		return none, own.error
	}
	return none, q.client.give(ctx, &request{op: wire.OpQuery}, &q.route)
}

// emitError is an error of the caller's own function.
type emitError struct{ error }

// ask runs the query at one node. Errors that are no *Error are the network's.
func (q *coverQuery) ask(ctx context.Context, v *view, p *peer) (wire.CoverEnd, error) {
	var end wire.CoverEnd
	nc, _, err := q.client.dial(ctx, p.addr, v.clusterID, p.id)
	if err != nil {
		return end, err
	}
	defer nc.Close()
	hangUp := func() { _ = nc.Close() }
	defer context.AfterFunc(ctx, hangUp)()
	defer context.AfterFunc(q.client.ctx, hangUp)()
	if err := q.send(ctx, nc, v); err != nil {
		return end, fmt.Errorf("ask %s: %w", p.name, err)
	}
	frames := wire.NewReader(nc, wire.MaxBody)
	for {
		f, err := frames.Read()
		if err != nil {
			return end, fmt.Errorf("read from %s: %w", p.name, err)
		}
		q.client.noteEpoch(f.Epoch)
		switch {
		case f.Kind == wire.KindChunk:
			err = q.chunk(v, f.Body)
		case f.Kind != wire.KindReply:
			err = fmt.Errorf("a frame of kind %d from %s where a chunk was expected", f.Kind, p.name)
		case f.Code != wire.OK:
			return end, &Error{Code: f.Code, Message: string(f.Body), Epoch: f.Epoch}
		default:
			if err := json.Unmarshal(f.Body, &end); err != nil {
				return end, fmt.Errorf("decode the end of a coverage query: %w", err)
			}
			p.answered()
			return end, nil
		}
		if err != nil {
			return end, err
		}
	}
}

func (q *coverQuery) send(ctx context.Context, nc net.Conn, v *view) error {
	h := wire.Header{Kind: wire.KindRequest, Op: wire.OpCover, ID: 1, Cluster: v.check, Service: q.service, Epoch: uint64(v.ring.Epoch)}
	if limit, ok := ctx.Deadline(); ok {
		h.SetTimeout(time.Until(limit))
	}
	_, err := nc.Write(wire.AppendFrame(nil, &h, q.body))
	return err
}

// chunk hands over the items of one chunk.
func (q *coverQuery) chunk(v *view, body []byte) error {
	part, rest, err := wire.CutCoverPart(body)
	if err != nil {
		return err
	}
	out := Item{Partition: ring.Partition(part.Partition), Node: v.name(ring.NodeID(part.Node))}
	for len(rest) > 0 {
		var it wire.Item
		if it, rest, err = wire.CutItem(rest); err != nil {
			return err
		}
		if it.Deleted {
			continue
		}
		out.Key, out.Value = it.Key, it.Value
		q.emitted = true
		if err := q.emit(&out); err != nil {
			return emitError{err}
		}
	}
	return nil
}

func coverage(end wire.CoverEnd) Coverage {
	cover := Coverage{Complete: end.Complete, Reduced: end.Reduced, Missing: make([]ring.Partition, len(end.Missing))}
	for i, p := range end.Missing {
		cover.Missing[i] = ring.Partition(p)
	}
	return cover
}
