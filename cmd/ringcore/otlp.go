package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// Bounds of an exporter.
const (
	spanQueue     = 8192 // spans that wait; further ones are dropped
	spanBatch     = 512
	exportEvery   = time.Second
	exportTimeout = 10 * time.Second
	exportLast    = 2 * time.Second // for what is left when the node closes
	complainEvery = time.Minute
)

// exporter is a ringcore.Tracer that sends spans to an OpenTelemetry collector: OTLP over HTTP, in
// JSON. A collector that is slow or away costs spans, nothing else. The protocol is small and stable; the
// OpenTelemetry SDK would be the largest dependency of the binary.
type exporter struct {
	url     string
	headers map[string]string
	node    string
	ratio   float64 // of requests without a trace, those that begin one
	log     *slog.Logger
	client  http.Client

	queue   chan *span
	dropped atomic.Uint64 // since they were last told
	quit    chan struct{} // closed by Close
	done    chan struct{} // closed by run
	told    time.Time     // when run has last complained
}

// newExporter begins to send; Close must follow.
func newExporter(url string, headers map[string]string, node string, ratio float64, log *slog.Logger) *exporter {
	e := &exporter{
		url: url, headers: headers, node: node, ratio: ratio, log: log, client: http.Client{Transport: &http.Transport{MaxIdleConns: 1}},
		queue: make(chan *span, spanQueue), quit: make(chan struct{}), done: make(chan struct{}),
	}
	go e.run()
	return e
}

// Close sends what there is. The node has closed before.
func (e *exporter) Close() {
	close(e.quit)
	<-e.done
	e.client.CloseIdleConnections()
}

// span is one that is recorded. After End it is run's.
type span struct {
	of         *exporter
	name       string
	about      ringcore.SpanInfo
	trace      ringcore.Trace
	parent     [8]byte // zero for none
	begun, end time.Time
	code       wire.Code
}

// Start implements ringcore.Tracer.
func (e *exporter) Start(parent *ringcore.Trace, name string, about ringcore.SpanInfo) ringcore.Span {
	if parent == nil && (e.ratio <= 0 || rand.Float64() >= e.ratio) || parent != nil && !parent.Sampled() {
		return nil
	}
	s := &span{of: e, name: name, about: about, begun: time.Now()}
	if parent != nil {
		s.trace, s.parent = *parent, parent.Span
	} else {
		s.trace.Flags = 1
		binary.BigEndian.PutUint64(s.trace.ID[:], rand.Uint64())
		binary.BigEndian.PutUint64(s.trace.ID[8:], max(rand.Uint64(), 1))
	}
	binary.BigEndian.PutUint64(s.trace.Span[:], max(rand.Uint64(), 1))
	return s
}

// Trace implements ringcore.Span.
func (s *span) Trace() *ringcore.Trace { return &s.trace }

// End implements ringcore.Span.
func (s *span) End(code wire.Code) {
	s.end, s.code = time.Now(), code
	select {
	case s.of.queue <- s:
	default:
		s.of.dropped.Add(1)
	}
}

// run sends batches until Close.
func (e *exporter) run() {
	defer close(e.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tick := time.NewTicker(exportEvery)
	defer tick.Stop()
	var batch []*span
	for {
		select {
		case s := <-e.queue:
			if batch = append(batch, s); len(batch) < spanBatch {
				continue
			}
		case <-tick.C:
		case <-e.quit:
			time.AfterFunc(exportLast, cancel)
			for len(e.queue) > 0 {
				batch = append(batch, <-e.queue)
			}
			e.send(ctx, batch)
			return
		}
		if len(batch) > 0 {
			e.send(ctx, batch)
			batch = batch[:0]
		}
	}
}

// send exports a batch, or drops it.
func (e *exporter) send(ctx context.Context, batch []*span) {
	err := e.post(ctx, batch)
	if err != nil {
		e.dropped.Add(uint64(len(batch)))
	}
	if n := e.dropped.Load(); n > 0 && time.Since(e.told) >= complainEvery {
		e.told = time.Now()
		e.dropped.Add(-n)
		e.log.Warn("spans dropped: the collector does not take them", "items", n, "err", err)
	}
}

func (e *exporter) post(ctx context.Context, batch []*span) error {
	if len(batch) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, exportTimeout)
	defer cancel()
	body, err := json.Marshal(e.encode(batch))
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range e.headers {
		req.Header.Set(name, value)
	}
	res, err := e.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("the collector answered %s", res.Status)
	}
	return nil
}
