package admin

import (
	"context"
	"net/http"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// trace begins the span of a request, if it is traced: because its header traceparent says so, or, if
// it is for a key, because the tracer wants to see it. What the request asks of the node is a part
// of that. end takes the answer's status.
func (a *api) trace(r *http.Request, pattern string) (traced *http.Request, end func(status int)) {
	parent := wire.ParseTrace(r.Header.Get("Traceparent"))
	if parent == nil && pattern != kvMount {
		return r, func(int) {}
	}
	span := a.tracer.Start(parent, "HTTP "+r.Method+" "+pattern, wire.SpanInfo{Kind: wire.SpanServer, Partition: -1})
	end = func(int) {}
	if span != nil {
		parent = span.Trace()
		end = func(status int) { span.End(codeOf(status)) }
	}
	if parent == nil {
		parent = &wire.Trace{} // the tracer has been asked: not once more further in
	}
	return r.WithContext(context.WithValue(r.Context(), wire.TraceKey{}, parent)), end
}

// codeOf is what an answer's status says of its request. What the caller has done wrong is no failure.
func codeOf(status int) wire.Code {
	switch {
	case status < http.StatusInternalServerError:
		return wire.OK
	case status == http.StatusServiceUnavailable:
		return wire.Unavailable
	case status == http.StatusGatewayTimeout:
		return wire.Deadline
	case status == http.StatusInsufficientStorage:
		return wire.DiskFull
	}
	return wire.Internal
}
