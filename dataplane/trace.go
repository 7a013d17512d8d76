package dataplane

import (
	"context"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// What is traced costs allocations and calls; what is not, a look at a nil. Spans of one
// command, at its coordinator and a replica:
//
//	command                    from its arrival to the answer
//	├ vnode command            until this node's vnode has run it, and its log is synced
//	├ replicate                until the other node has answered
//	│ └ vnode effect           at that node
//	└ hint                     for a slot that is away

// traceOf is what ctx says that the call is a part of; nil if nothing is traced.
func (r *Router) traceOf(ctx context.Context) *wire.Trace {
	if r.tracer == nil {
		return nil
	}
	t, _ := ctx.Value(wire.TraceKey{}).(*wire.Trace)
	return t
}

// traceName is the name of the span of a request to another node.
func traceName(op wire.Op, flags wire.Flags) string {
	switch {
	case op == wire.OpEffect && flags&wire.FlagFallback != 0:
		return "hint"
	case op == wire.OpEffect:
		return "replicate"
	case op == wire.OpRead:
		return "read replica"
	}
	return "forward"
}

// vnodeName is the name of what a vnode does for op.
func vnodeName(op wire.Op) string {
	switch op {
	case wire.OpCommand:
		return "vnode command"
	case wire.OpEffect:
		return "vnode effect"
	}
	return "vnode read"
}

// about is what the operation's spans are about.
func (o *operation) about(kind wire.SpanKind, peer ring.NodeID) wire.SpanInfo {
	return wire.SpanInfo{Kind: kind, Service: o.info.Name, Partition: int(o.part), Peer: string(peer)}
}

// trace begins the operation's span, if it is traced: because parent is, or because the
// tracer wants to see it. Only where an operation comes from outside a trace may begin.
func (o *operation) trace(parent *wire.Trace) {
	if parent == nil && o.from != "" {
		return
	}
	name, kind := "command", wire.SpanServer
	if o.op == wire.OpQuery {
		name = "query"
	}
	if o.origin == nil {
		kind = wire.SpanInside
	}
	o.span = o.r.tracer.Start(parent, name, o.about(kind, o.from))
}

// traced has h say what it is a part of, and done end that, if the operation is traced.
func (o *operation) traced(h *wire.Header, node ring.NodeID, done func(wire.Frame, error)) func(wire.Frame, error) {
	if o.span == nil {
		return done
	}
	s := o.r.tracer.Start(o.span.Trace(), traceName(h.Op, h.Flags), o.about(wire.SpanClient, node))
	if s == nil {
		return done
	}
	h.Trace = s.Trace()
	return func(f wire.Frame, err error) {
		code, _, _ := outcome(f, err)
		s.End(code)
		done(f, err)
	}
}

// dispatch hands q to this node's vnode, for parent if that is not nil.
func (r *Router) dispatch(q *wire.Request, parent *wire.Trace, kind wire.SpanKind, from ring.NodeID) {
	if parent.Sampled() && r.tracer != nil {
		info, _ := r.local.Service(q.Service)
		s := r.tracer.Start(parent, vnodeName(q.Op), wire.SpanInfo{Kind: kind, Service: info.Name, Partition: int(q.Partition), Peer: string(from)})
		if done := q.Done; s != nil {
			q.Done = func(code wire.Code, epoch uint64, body []byte) {
				s.End(code)
				done(code, epoch, body)
			}
		}
	}
	r.local.Dispatch(q)
}

// parent is what the operation's parts have as theirs; nil if it is not traced.
func (o *operation) parent() *wire.Trace {
	if o.span == nil {
		return nil
	}
	return o.span.Trace()
}
