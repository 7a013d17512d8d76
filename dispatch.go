package ringcore

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ringcore/ringcore/dataplane"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// requests answers what comes on peer and client connections.
type requests struct{ c *core }

// Serve passes r on to the part that answers it.
func (h requests) Serve(r *dataplane.Request) {
	c := h.c
	switch r.Op {
	case wire.OpCommand, wire.OpQuery, wire.OpCover, wire.OpEffect, wire.OpRead, wire.OpHintStores:
		why := c.n.away()
		switch {
		case why != "":
			r.Reply(wire.Unavailable, c.epoch(), []byte(why))
		case r.From != "" && !c.isCurrent(r.From):
			r.Reply(wire.NotMember, c.epoch(), []byte("the calling node has left the cluster"))
		default:
			c.router.Serve(r)
		}
	case wire.OpRing:
		c.serveMeta(r)
	case wire.OpWatch, wire.OpPropose:
		if r.From == "" {
			r.Reply(wire.Refused, c.epoch(), []byte("only nodes may ask this"))
			return
		}
		c.serveLater(r)
	case wire.OpProgress:
		body, err := json.Marshal(c.vnodes.Progress())
		c.answer(r, body, err)
	case wire.OpStatus:
		c.serveStatus(r)
	case wire.OpRepair:
		if r.From == "" {
			r.Reply(wire.Refused, c.epoch(), []byte("only nodes may ask this"))
			return
		}
		c.serveRepair(r)
	case wire.OpSizes:
		c.serveSizes(r)
	case wire.OpLoad:
		c.serveLoad(r)
	case wire.OpCopies:
		c.serveCopies(r)
	case wire.OpRepairs:
		body, err := json.Marshal(c.vnodes.Repairs())
		c.answer(r, body, err)
	default:
		r.Reply(wire.NotSupported, c.epoch(), unknownOp(r.Op))
	}
}

// unknownOp says that an operation is one of another version.
func unknownOp(op wire.Op) []byte {
	return fmt.Appendf(nil, "this node does not know operation %d: the caller is of another version", op)
}

// serveMeta answers at once: the operation does not wait.
func (c *core) serveMeta(r *dataplane.Request) {
	body, err := c.meta.Serve(r.Context(), r.Op, r.From, r.Epoch, r.Body)
	c.answer(r, body, err)
}

// serveLater answers from a goroutine: the operation may wait.
func (c *core) serveLater(r *dataplane.Request) {
	if !c.spawn(func() { c.serveMeta(r) }) {
		r.Reply(wire.ShuttingDown, c.epoch(), nil)
	}
}

func (c *core) answer(r *dataplane.Request, body []byte, err error) {
	if err != nil {
		e := problem(err)
		r.Reply(e.Code, max(e.Epoch, c.epoch()), []byte(e.Message))
		return
	}
	r.Reply(wire.OK, c.epoch(), body)
}

// streams answers the bulk conversations of other nodes.
type streams struct{ c *core }

// ServeStream reads the request that opens s and passes both on.
func (h streams) ServeStream(ctx context.Context, s *dataplane.Stream) {
	first, err := s.ReadFrame()
	if err != nil {
		return
	}
	if h.c.n.outdated.Load() {
		return
	}
	if first.Op == wire.OpCover || first.Op == wire.OpFold {
		h.c.router.ServeStream(ctx, s, first)
		return
	}
	h.c.vnodes.ServeStream(ctx, s, first)
}

// strangers answers nodes that are no members.
type strangers struct{ c *core }

// Serve answers who this node is, and lets others in.
func (h strangers) Serve(r *dataplane.Request) {
	c := h.c
	switch r.Op {
	case wire.OpIntroduce:
		var i wire.Introduction
		if json.Unmarshal(r.Body, &i) == nil && i.ClusterID == c.clusterID && c.isCurrent(ring.NodeID(i.NodeID)) {
			c.book.put(i) // it has been restarted elsewhere
			c.otherGeneration(ring.NodeID(i.NodeID), i.Generation)
		}
		me := c.introduction()
		me.Epoch = c.epoch()
		body, err := json.Marshal(me)
		c.answer(r, body, err)
	case wire.OpJoin:
		if c.n.joining.Load() {
			r.Reply(wire.Conflict, 0, []byte("the node there is itself joining another cluster: wait until it has, or join by another member"))
			return
		}
		c.serveLater(r)
	default:
		r.Reply(wire.NotSupported, 0, unknownOp(r.Op))
	}
}
