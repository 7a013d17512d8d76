package dataplane

import (
	"errors"
	"fmt"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// inbound is a request that came over the network, and the way to answer it.
type inbound struct {
	wire.Header
	body     []byte
	from     ring.NodeID // "" for a client
	deadline time.Time
	waited   bool     // as in Request
	origin   *Request // nil in tests
	reply    func(code wire.Code, epoch uint64, body []byte)
}

// Serve answers a request that came over the network: OpCommand, OpQuery and
// OpCover of clients and peers, OpEffect, OpRead and OpHintStores of peers. It does not block.
func (r *Router) Serve(req *Request) {
	if req.Op == wire.OpCover {
		r.ServeCover(req)
		return
	}
	r.serve(inbound{req.Header, req.Body, req.From, req.Deadline, req.waited, req, req.Reply})
}

func (r *Router) serve(in inbound) {
	switch in.Op {
	case wire.OpCommand, wire.OpQuery:
		r.serveCall(in)
	case wire.OpEffect, wire.OpRead, wire.OpHintStores:
		r.serveReplica(in)
	default:
		r.refuse(in.reply, fmt.Errorf("operation %d is not for the router", in.Op))
	}
}

// serveCall runs what a client or another router asks for. Only a router can ask a
// node to stand in for another; a client's word for that does not count.
func (r *Router) serveCall(in inbound) {
	c, err := wire.ParseCall(in.body)
	if err != nil {
		r.refuse(in.reply, err)
		return
	}
	if in.from == "" {
		in.Flags &^= wire.FlagFallback
	}
	if c.Flags&wire.CallRestore != 0 && (in.from == "" || in.Op != wire.OpCommand || int(in.Partition) >= r.rings.Ring().Q()) {
		r.refuse(in.reply, errors.New("only nodes of the cluster may restore records"))
		return
	}
	if !in.deadline.IsZero() {
		in.deadline = early(in.deadline)
	}
	r.do(&operation{
		r: r, op: in.Op, service: in.Service, call: c, part: ring.Partition(in.Partition), flags: in.Flags,
		deadline: in.deadline, waited: in.waited, origin: in.origin, done: in.reply, from: in.from, epoch: ring.Epoch(in.Epoch),
	}, in.Trace)
}

// serveReplica hands what another node coordinates to this node's vnode.
func (r *Router) serveReplica(in inbound) {
	q := &wire.Request{
		Op: in.Op, Service: in.Service, Partition: in.Partition, Flags: in.Flags,
		Gen: in.Gen, Epoch: in.Epoch, Deadline: in.deadline, Done: in.reply,
	}
	var err error
	switch {
	case in.from == "":
		err = errors.New("only nodes of the cluster may ask a replica")
	case int(in.Partition) >= r.rings.Ring().Q():
		err = fmt.Errorf("there is no partition %d", in.Partition)
	case in.Op == wire.OpHintStores:
	case in.Op == wire.OpRead:
		q.Call, err = wire.ParseCall(in.body)
		q.For = q.Call.For
	case in.Flags&wire.FlagFallback != 0:
		q.For, q.Effect, err = parseHint(in.body)
	default:
		q.Effect = in.body
	}
	if err != nil {
		r.refuse(in.reply, err)
		return
	}
	r.dispatch(q, in.Trace, wire.SpanServer, in.from)
}

func (r *Router) refuse(reply func(wire.Code, uint64, []byte), err error) {
	reply(wire.BadRequest, uint64(r.rings.Ring().Epoch), []byte(err.Error()))
}
