package ringcore

import (
	"context"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// What a program needs that traces its requests, in whatever system: the toolkit itself has none.
type (
	// Tracer is told what a node does for requests that are traced; see Config.Tracer.
	Tracer = wire.Tracer
	// Span is something that takes time, in a trace.
	Span = wire.Span
	// SpanInfo is what a span is about.
	SpanInfo = wire.SpanInfo
	// SpanKind says on which side of a conversation a span is.
	SpanKind = wire.SpanKind
	// Trace names a span as W3C trace context does.
	Trace = wire.Trace
)

// The kinds of spans.
const (
	SpanInside = wire.SpanInside
	SpanServer = wire.SpanServer
	SpanClient = wire.SpanClient
)

// WithTrace has what is called with the context be a part of t.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, wire.TraceKey{}, t)
}

// ParseTrace reads the HTTP header traceparent; nil if it is not well-formed.
func ParseTrace(traceparent string) *Trace { return wire.ParseTrace(traceparent) }
