package vnodes

import (
	"errors"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// trace begins the span of an attempt to hand over; nil if it is not traced.
func (h *handing) trace() wire.Span {
	t := h.m.cfg.Tracer
	if t == nil {
		return nil
	}
	s := &h.d.session
	return t.Start(nil, "handoff "+string(s.Kind), wire.SpanInfo{Partition: int(s.Partition), Peer: string(s.To)})
}

// trace begins the span of a handoff stream's receiver, if the sender's is traced.
func (rc *receiver) trace() wire.Span {
	parent := wire.ParseTrace(rc.open.Trace)
	if t := rc.m.cfg.Tracer; t != nil && parent.Sampled() {
		return t.Start(parent, "receive handoff", wire.SpanInfo{Kind: wire.SpanServer, Partition: int(rc.p), Peer: string(rc.open.Session.From)})
	}
	return nil
}

// outcome is what has become of the stream: READY, or the sender has to come again.
func (rc *receiver) outcome() error {
	if rc.ready {
		return nil
	}
	return wire.Errorf(wire.Maybe, "the stream ended before all was verified")
}

// endSpan says how a span ended, if there is one.
func endSpan(s wire.Span, err error) {
	if s == nil {
		return
	}
	code := wire.OK
	if e, ok := errors.AsType[*wire.Error](err); ok {
		code = e.Code
	} else if err != nil {
		code = wire.Unavailable // it is tried again
	}
	s.End(code)
}
