package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// collector is an OpenTelemetry collector that keeps what it is sent.
type collector struct {
	*httptest.Server
	mu      sync.Mutex
	spans   []otlpSpan
	nodes   []string // service.instance.id of each request
	headers http.Header
	path    string
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var req otlpRequest
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		if err := d.Decode(&req); err != nil || len(req.ResourceSpans) != 1 {
			t.Errorf("%+v, %v", req, err)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.path, c.headers = r.URL.Path, r.Header
		c.nodes = append(c.nodes, *req.ResourceSpans[0].Resource.Attributes[1].Value.Text)
		c.spans = append(c.spans, req.ResourceSpans[0].ScopeSpans[0].Spans...)
	}))
	t.Cleanup(c.Server.Close)
	return c
}

// TestStartExportsSpans: a node that is told of a collector sends it the spans of a request that came
// with a trace, of one that did not nothing, and the last ones when it stops.
func TestStartExportsSpans(t *testing.T) {
	c := newCollector(t)
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan int, 1)
	dir := t.TempDir()
	env := map[string]string{otelEndpoint: c.URL, otelHeaders: "authorization=Bearer%20x"}
	go func() {
		defer in.Close()
		ended <- run(ctx, []string{"start", "--data-dir", dir, "--name", "n7", "--addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--gossip-addr", "127.0.0.1:0", "--resp-addr", "off", "--partitions", "8", "--log-level", "error"},
			streams{in: strings.NewReader(""), out: in, err: io.Discard}, func(name string) string { return env[name] })
	}()
	ready, err := bufio.NewReader(out).ReadString('\n')
	_, at, found := strings.Cut(ready, " http=")
	if err != nil || !found {
		t.Fatal(ready, err)
	}
	at, _, _ = strings.Cut(at, " ")
	for _, parent := range []string{"", "00-aabbccddeeff00112233445566778899-0102030405060708-01"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+at+"/v1/kv/b/k", strings.NewReader("v"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Traceparent", parent)
		res, err := http.DefaultClient.Do(req)
		if err != nil || res.StatusCode != http.StatusNoContent {
			t.Fatal(res, err)
		}
		_ = res.Body.Close()
	}
	cancel()
	if code := <-ended; code != exitOK {
		t.Fatalf("exit %d", code)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.path != "/v1/traces" || c.headers.Get("Authorization") != "Bearer x" || slices.ContainsFunc(c.nodes, func(n string) bool { return n != "n7" }) {
		t.Errorf("%s, %v, %v", c.path, c.headers, c.nodes)
	}
	parent := "0102030405060708"
	for _, name := range []string{"HTTP PUT /v1/kv/", "command", "vnode command"} {
		i := slices.IndexFunc(c.spans, func(s otlpSpan) bool { return s.Name == name })
		if i < 0 {
			t.Fatalf("there is no %s: %+v", name, c.spans)
		}
		s := c.spans[i]
		if s.TraceID != "aabbccddeeff00112233445566778899" || s.Parent != parent || len(s.SpanID) != 16 || s.Begun == "" || s.Ended < s.Begun || s.Status.Code != 0 || s.Flags != 1 {
			t.Errorf("%s under %s: %+v", name, parent, s)
		}
		parent = s.SpanID
	}
	if len(c.spans) != 3 {
		t.Errorf("%d spans: %+v", len(c.spans), c.spans)
	}
}

// What fails is told as failed, and what is about a partition and a peer says so.
func TestSpanEncoding(t *testing.T) {
	e := &exporter{ratio: 1, queue: make(chan *span, 1)}
	s := e.Start(nil, "replicate", ringcore.SpanInfo{Kind: ringcore.SpanClient, Service: "kv", Partition: 12, Peer: "n2"})
	s.End(wire.Unavailable)
	text, err := json.Marshal(e.encode([]*span{<-e.queue}))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"kind":3`, `"status":{"code":2,"message":"unavailable"}`, `{"key":"ringcore.partition","value":{"intValue":"12"}}`, `{"key":"ringcore.peer","value":{"stringValue":"n2"}}`,
		`{"key":"ringcore.service","value":{"stringValue":"kv"}}`, `"traceId":"` + s.Trace().String()[3:35] + `"`,
	} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s lacks %s", text, part)
		}
	}
	if strings.Contains(string(text), "parentSpanId") {
		t.Errorf("a root has a parent: %s", text)
	}
}

// What begins a trace: by the ratio if there is no parent, by the parent if there is one.
func TestSampling(t *testing.T) {
	parent := ringcore.ParseTrace("00-aabbccddeeff00112233445566778899-0102030405060708-01")
	silent := *parent
	silent.Flags = 0
	for _, x := range []struct {
		ratio  float64
		parent *ringcore.Trace
		want   bool
	}{{0, nil, false}, {1, nil, true}, {0, parent, true}, {1, &silent, false}} {
		e := &exporter{ratio: x.ratio}
		if got := e.Start(x.parent, "x", ringcore.SpanInfo{}); (got != nil) != x.want {
			t.Errorf("%+v: %v", x, got)
		}
	}
}

// A collector that is away costs the spans, and a line of the log.
func TestCollectorAway(t *testing.T) {
	log := &strings.Builder{}
	e := newExporter("http://127.0.0.1:1/v1/traces", nil, "n1", 1, slog.New(slog.NewTextHandler(log, nil)))
	for range 3 {
		e.Start(nil, "x", ringcore.SpanInfo{}).End(wire.OK)
	}
	e.Close()
	if !strings.Contains(log.String(), "spans dropped") || !strings.Contains(log.String(), "items=3") {
		t.Errorf("log: %s", log)
	}
	full := &exporter{ratio: 1, queue: make(chan *span, 1)}
	for range 3 {
		full.Start(nil, "x", ringcore.SpanInfo{}).End(wire.OK) // blocks nobody
	}
	if full.dropped.Load() != 2 {
		t.Errorf("%d dropped", full.dropped.Load())
	}
}

func TestTraceSettings(t *testing.T) {
	for _, x := range []struct {
		endpoint, env string
		ratio         float64
		want          string // empty with an error if wrong
		wrong         bool
	}{
		{"", "", 0, "", false},
		{"http://a:4318", "http://b:1", 0.5, "http://a:4318/v1/traces", false},
		{"", "https://b/otlp/", 0, "https://b/otlp/v1/traces", false},
		{"http://a:4318/v1/traces", "", 1, "http://a:4318/v1/traces", false},
		{"a:4318", "", 0, "", true},
		{"", "grpc://a", 0, "", true},
		{"http://a:4318", "", 1.5, "", true},
	} {
		s := traceSettings{x.endpoint, x.ratio}
		got, err := s.target(func(name string) string { return map[string]string{otelEndpoint: x.env}[name] })
		if got != x.want || (err != nil) != x.wrong {
			t.Errorf("%+v: %q, %v", x, got, err)
		}
	}
}
