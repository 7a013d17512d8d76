package ringcore

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv"
)

// tracedSpan is a span as it was recorded.
type tracedSpan struct {
	node, name string
	about      SpanInfo
	parent     *Trace
	trace      *Trace
	codes      []wire.Code // one, once it has ended
}

// traceBook records the spans of several nodes.
type traceBook struct {
	mu    sync.Mutex
	roots bool // nodes begin traces
	spans []*tracedSpan
	last  uint64
}

// nodeTracer is the book's tracer for one node.
type nodeTracer struct {
	book *traceBook
	node string
}

func (t nodeTracer) Start(parent *Trace, name string, about SpanInfo) Span {
	b := t.book
	b.mu.Lock()
	defer b.mu.Unlock()
	if parent == nil && !b.roots || parent != nil && !parent.Sampled() {
		return nil
	}
	b.last++
	own := &Trace{Flags: 1}
	binary.BigEndian.PutUint64(own.Span[:], b.last)
	binary.BigEndian.PutUint64(own.ID[:], b.last)
	if parent != nil {
		own.ID = parent.ID
	}
	s := &tracedSpan{node: t.node, name: name, about: about, parent: parent, trace: own}
	b.spans = append(b.spans, s)
	return openSpan{b, s}
}

type openSpan struct {
	book *traceBook
	span *tracedSpan
}

func (s openSpan) Trace() *Trace { return s.span.trace }

func (s openSpan) End(code wire.Code) {
	s.book.mu.Lock()
	defer s.book.mu.Unlock()
	s.span.codes = append(s.span.codes, code)
}

// under draws the trees of those spans whose parent is at, with the names of their nodes and how
// they ended, the same whatever the order.
func (b *traceBook) under(at [8]byte, depth int) string {
	var lines []string
	for _, s := range b.spans {
		if s.parent == nil && at == [8]byte{} || s.parent != nil && s.parent.Span == at {
			ended := ""
			if len(s.codes) > 0 {
				ended = s.codes[0].String()
			}
			lines = append(lines, fmt.Sprintf("%s%s %s: %s\n%s", strings.Repeat("  ", depth), s.node, s.name, ended, b.under(s.trace.Span, depth+1)))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// take waits until all spans have ended, and as many as wanted have come, and draws those under at.
func (b *traceBook) take(t *testing.T, at [8]byte, want int) string {
	t.Helper()
	var drawn string
	eventually(t, "all spans ended", func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		drawn = b.under(at, 0)
		if lines := strings.Count(drawn, "\n"); lines < want || strings.Contains(drawn, ": \n") {
			return fmt.Errorf("of %d spans:\n%s", want, drawn)
		}
		for _, s := range b.spans {
			if s.parent != nil && s.parent.ID != s.trace.ID || len(s.codes) > 1 {
				t.Errorf("%+v", s)
			}
		}
		b.spans = nil
		return nil
	})
	return drawn
}

var outside = ParseTrace("00-aabbccddeeff00112233445566778899-0102030405060708-01")

// TestTraceThroughThreeNodes: what comes in with a trace, by whatever door, makes one tree of spans on
// all nodes that take part.
func TestTraceThroughThreeNodes(t *testing.T) {
	book := &traceBook{}
	open := func(name string, join ...string) *Node {
		return testNode(t, Config{Name: name, Join: join, Partitions: 8, Tracer: nodeTracer{book, name}})
	}
	n1 := open("n1")
	n2, n3 := open("n2", n1.Info().Addr), open("n3", n1.Info().Addr)
	settled(t, n1, n2, n3)
	t.Run("HTTP", func(t *testing.T) { traceHTTP(t, book, n2) })
	t.Run("Go client", func(t *testing.T) { traceClient(t, book, n1) })
	t.Run("context", func(t *testing.T) { traceContext(t, book, n3) })
	t.Run("begun here", func(t *testing.T) { traceBegun(t, book, n1) })
	t.Run("handoff", func(t *testing.T) { traceHandoff(t, book, n1, n3) })
}

// writeAt is the tree of a write to all replicas that n2 coordinates.
const writeAt = `n2 command: ok
    n2 replicate: ok
      n1 vnode effect: ok
    n2 replicate: ok
      n3 vnode effect: ok
    n2 vnode command: ok
`

func traceHTTP(t *testing.T, book *traceBook, n2 *Node) {
	put := func(parent string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+n2.Info().HTTPAddr+"/v1/kv/b/k?w=all", strings.NewReader("v"))
		if err != nil {
			t.Fatal(err)
		}
		if parent != "" {
			req.Header.Set("Traceparent", parent)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil || res.StatusCode != http.StatusNoContent {
			t.Fatal(res, err)
		}
		_ = res.Body.Close()
	}
	put("") // nobody asks for it
	put("00-aabbccddeeff00112233445566778899-0102030405060708-00")
	put("nonsense")
	put(outside.String())
	if got, want := book.take(t, outside.Span, 7), "n2 HTTP PUT /v1/kv/: ok\n  "+writeAt; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func traceClient(t *testing.T, book *traceBook, n1 *Node) {
	c, err := client.Open(t.Context(), client.Config{Addrs: []string{n1.Info().Addr}, Trace: func(context.Context) *Trace { return outside }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Put(t.Context(), "b", []byte("k"), []byte("v"), client.WriteOptions{W: client.All}); err != nil {
		t.Fatal(err)
	}
	first := book.take(t, outside.Span, 6)
	if !strings.Contains(first, "command: ok\n  n") || strings.Count(first, "vnode effect") != 2 || strings.HasPrefix(first, " ") || strings.Count(first, "\nn") > 0 {
		t.Errorf("a write:\n%s", first)
	}
	if _, err := c.Get(t.Context(), "b", []byte("k"), client.ReadOptions{R: client.All}); err != nil {
		t.Fatal(err)
	}
	if got := book.take(t, outside.Span, 6); !strings.Contains(got, "query: ok\n  n") || strings.Count(got, "read replica: ok\n    n") != 2 || strings.Count(got, "vnode read: ok") != 3 {
		t.Errorf("a read:\n%s", got)
	}
}

func traceContext(t *testing.T, book *traceBook, n3 *Node) {
	ctx := WithTrace(t.Context(), outside)
	if _, err := n3.Query(ctx, "nosuch", Call{Bucket: "b", Key: []byte("k")}); err == nil { // of no service: no span
		t.Fatal("no error")
	}
	if _, err := n3.KV().Get(ctx, "b", []byte("missing"), kv.Options{R: wire.QuorumAll}); err == nil {
		t.Fatal("no error")
	}
	if got := book.take(t, outside.Span, 6); !strings.HasPrefix(got, "n3 query: ok\n") || strings.Count(got, "vnode read: ok") != 3 {
		t.Errorf("a key that is not there:\n%s", got)
	}
}

func traceBegun(t *testing.T, book *traceBook, n1 *Node) {
	book.mu.Lock()
	book.roots = true
	book.mu.Unlock()
	mustPut(t, n1, "k", "v")
	got := book.take(t, [8]byte{}, 6)
	book.mu.Lock()
	book.roots = false
	book.mu.Unlock()
	if strings.Count(got, "\nn") > 0 || !strings.HasPrefix(got, "n1 command: ok\n") || strings.Count(got, "vnode effect") != 2 {
		t.Errorf("one trace that the coordinator began:\n%s", got)
	}
}

// traceHandoff lets n3 leave: what it hands over are traces of its own.
func traceHandoff(t *testing.T, book *traceBook, n1, n3 *Node) {
	n4 := testNode(t, Config{Name: "n4", Join: []string{n1.Info().Addr}, Tracer: nodeTracer{book, "n4"}})
	settled(t, n1, n3, n4)
	book.mu.Lock()
	book.roots = true
	book.spans = nil
	book.mu.Unlock()
	if _, err := (view{n1}).Change(t.Context(), admin.ChangeRequest{Kind: "leave", Node: "n3", Commit: true}); err != nil {
		t.Fatal(err)
	}
	<-n3.Done()
	book.mu.Lock()
	book.roots = false
	book.mu.Unlock()
	got := book.take(t, [8]byte{}, 2)
	if !strings.Contains(got, "n3 handoff move: ok\n  n4 receive handoff: ok\n") {
		t.Errorf("handoffs:\n%s", got)
	}
}
