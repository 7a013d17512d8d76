package dataplane

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

var testTrace = &wire.Trace{ID: [16]byte{1}, Span: [8]byte{2}, Flags: 1}

// A peer that says nothing of traces, being of an older version, gets none: its frames have the
// form that it knows.
func TestOlderPeerGetsNoTraces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &pipeNet{accepted: make(chan net.Conn, 10)}
		p := NewPeers(PeersConfig{
			Identity: identity("a"), Connect: network.connect,
			Resolve: func(ring.NodeID) (string, bool) { return "pipe", true },
		})
		defer func() { _ = p.Close() }()
		done := make(chan error, 1)
		p.Send("b", wire.Header{Op: wire.OpEffect, Trace: testTrace}, []byte("body"), time.Now().Add(time.Second), func(_ wire.Frame, err error) { done <- err })
		c := <-network.accepted
		greet(t, c)
		for {
			f, err := wire.ReadFrame(c, wire.MaxBody)
			if err != nil || f.Trace != nil || f.Op == wire.OpEffect && string(f.Body) != "body" {
				t.Fatalf("%+v, %v", f, err)
			}
			answer := wire.Header{Kind: wire.KindReply, Op: f.Op, ID: f.ID}
			if _, err := c.Write(wire.AppendFrame(nil, &answer, nil)); err != nil {
				t.Fatal(err)
			}
			if f.Op == wire.OpEffect {
				break
			}
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// One of this version gets them, and answers without.
func TestPeersTrace(t *testing.T) {
	got := make(chan wire.Header, 1)
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: handlerFunc(func(r *Request) {
		got <- r.Header
		r.Reply(wire.OK, 1, []byte("reply"))
	})})
	p := dialPeers(t, PeersConfig{}, n)
	f, err := p.Call(soon(t), "b", wire.Header{Op: wire.OpRead, Trace: testTrace}, []byte("body"))
	if h := <-got; err != nil || h.Trace == nil || *h.Trace != *testTrace || f.Trace != nil || string(f.Body) != "reply" {
		t.Fatalf("%+v came, %+v went back, %v", h, f, err)
	}
}

// recorder is a tracer that notes spans' names as they begin, and codes as they end.
type recorder struct {
	mu    sync.Mutex
	roots bool // it begins traces
	begun []string
	ended []wire.Code
}

type recordedSpan struct {
	of    *recorder
	trace *wire.Trace
}

func (r *recorder) Start(parent *wire.Trace, name string, _ wire.SpanInfo) wire.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	if parent == nil && !r.roots || parent != nil && !parent.Sampled() {
		return nil
	}
	r.begun = append(r.begun, name)
	return &recordedSpan{r, &wire.Trace{ID: [16]byte{1}, Span: [8]byte{byte(len(r.begun))}, Flags: 1}}
}

func (s *recordedSpan) Trace() *wire.Trace { return s.trace }

func (s *recordedSpan) End(code wire.Code) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.ended = append(s.of.ended, code)
}

// Only what comes from outside begins a trace by itself; what is not traced costs nothing.
func TestWhatIsTraced(t *testing.T) {
	rec := &recorder{roots: true}
	r := &Router{tracer: rec}
	fromOutside, fromPeer := &operation{r: r, op: wire.OpQuery}, &operation{r: r, op: wire.OpQuery, from: "b"}
	fromOutside.trace(nil)
	fromPeer.trace(nil)
	if fromOutside.span == nil || fromPeer.span != nil {
		t.Errorf("begun: %v", rec.begun)
	}
	fromPeer.trace(testTrace)
	if fromPeer.span == nil {
		t.Error("a peer's trace was not gone on with")
	}
	if r.traceOf(context.WithValue(t.Context(), wire.TraceKey{}, testTrace)) != testTrace || r.traceOf(t.Context()) != nil {
		t.Error("the context's trace is not found")
	}

	o, h := &operation{r: &Router{}}, wire.Header{}
	done := func(wire.Frame, error) {}
	n := testing.AllocsPerRun(100, func() {
		o.traced(&h, "b", done)
		_ = o.parent()
	})
	if n > 0 || h.Trace != nil {
		t.Errorf("%v allocations, %+v", n, h)
	}
}
