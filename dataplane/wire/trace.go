package wire

import (
	"encoding/hex"
	"strings"
)

// CapTrace in a Hello's Caps says that the speaker reads traces behind the bodies of
// requests. To others none is sent.
const CapTrace = "trace"

// TraceSize is the length of an encoded Trace in bytes.
const TraceSize = 25

// Trace names a span of a trace as W3C trace context does: what is done for it has it as
// its parent.
type Trace struct {
	ID    [16]byte
	Span  [8]byte
	Flags byte // bit 0: the trace is recorded; else nothing of it travels
}

// TraceKey is the key of a *Trace in a context: what the call is a part of.
type TraceKey struct{}

// Sampled reports whether the trace is recorded.
func (t *Trace) Sampled() bool { return t != nil && t.Flags&1 != 0 }

// String is t as in the HTTP header traceparent.
func (t *Trace) String() string {
	b := make([]byte, 0, 55)
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, t.ID[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, t.Span[:])
	b = append(b, '-')
	return string(hex.AppendEncode(b, []byte{t.Flags}))
}

// ParseTrace reads the HTTP header traceparent; nil if it is not well-formed. Of later versions it
// reads what this one knows.
func ParseTrace(s string) *Trace {
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' || s[:2] == "ff" || s != strings.ToLower(s) ||
		len(s) > 55 && (s[:2] == "00" || s[55] != '-') {
		return nil
	}
	t := &Trace{}
	var version, flags [1]byte
	for _, x := range []struct {
		to   []byte
		from string
	}{{version[:], s[:2]}, {t.ID[:], s[3:35]}, {t.Span[:], s[36:52]}, {flags[:], s[53:55]}} {
		if _, err := hex.Decode(x.to, []byte(x.from)); err != nil {
			return nil
		}
	}
	if t.ID == [16]byte{} || t.Span == [8]byte{} {
		return nil
	}
	t.Flags = flags[0]
	return t
}

// appendTrace appends the encoding of t: its fields, in order.
func appendTrace(dst []byte, t *Trace) []byte {
	return append(append(append(dst, t.ID[:]...), t.Span[:]...), t.Flags)
}

// cutTrailer takes n bytes off the body's end: a Trace, and what later versions may have besides.
func (f *Frame) cutTrailer(n int) error {
	if n == 0 {
		return nil
	}
	at := len(f.Body) - n
	if at < 0 {
		return ErrTrailer
	}
	if b := f.Body[at:]; n >= TraceSize {
		f.Trace = &Trace{ID: [16]byte(b), Span: [8]byte(b[16:]), Flags: b[24]}
	}
	if f.Body = f.Body[:at:at]; at == 0 {
		f.Body = nil
	}
	return nil
}

// Tracer is told what a node does for requests that are traced. Its methods may be called from
// any goroutine and must not block.
type Tracer interface {
	// Start begins a span under parent; without one it may begin a trace. It returns nil for
	// what shall not be recorded, and for a parent that is not sampled.
	Start(parent *Trace, name string, about SpanInfo) Span
}

// Span is something that takes time, in a trace.
type Span interface {
	// Trace is what parts of it have as their parent. It must not change.
	Trace() *Trace
	// End says how it ended. It is called once.
	End(code Code)
}

// SpanInfo is what a span is about. What does not apply is empty, or -1.
type SpanInfo struct {
	Kind      SpanKind
	Service   string
	Partition int
	Peer      string // id of the other node
}

// SpanKind says on which side of a conversation a span is.
type SpanKind uint8

// The kinds.
const (
	SpanInside SpanKind = iota // of neither
	SpanServer                 // it serves a request that came over a network
	SpanClient                 // it waits for another node's answer
)
