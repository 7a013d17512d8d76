package main

import (
	"encoding/hex"
	"net/http"
	"strconv"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// The JSON form of OTLP's ExportTraceServiceRequest, of version 1: ids in hexadecimal, 64-bit
// integers as text.
type (
	otlpRequest struct {
		ResourceSpans []otlpResourceSpans `json:"resourceSpans"`
	}
	otlpResourceSpans struct {
		Resource   otlpResource     `json:"resource"`
		ScopeSpans []otlpScopeSpans `json:"scopeSpans"`
	}
	otlpResource struct {
		Attributes []otlpAttribute `json:"attributes"`
	}
	otlpScopeSpans struct {
		Scope otlpScope  `json:"scope"`
		Spans []otlpSpan `json:"spans"`
	}
	otlpScope struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	otlpSpan struct {
		TraceID    string          `json:"traceId"`
		SpanID     string          `json:"spanId"`
		Parent     string          `json:"parentSpanId,omitempty"`
		Flags      uint32          `json:"flags"`
		Name       string          `json:"name"`
		Kind       int             `json:"kind"`
		Begun      string          `json:"startTimeUnixNano"`
		Ended      string          `json:"endTimeUnixNano"`
		Attributes []otlpAttribute `json:"attributes"`
		Status     otlpStatus      `json:"status"`
	}
	otlpStatus struct {
		Code    int    `json:"code,omitempty"` // 2: it failed
		Message string `json:"message,omitempty"`
	}
	otlpAttribute struct {
		Key   string    `json:"key"`
		Value otlpValue `json:"value"`
	}
	otlpValue struct {
		Text   *string `json:"stringValue,omitempty"`
		Number *string `json:"intValue,omitempty"`
	}
)

func textAttribute(key, value string) otlpAttribute {
	return otlpAttribute{key, otlpValue{Text: &value}}
}

// encode makes the request of a batch.
func (e *exporter) encode(batch []*span) otlpRequest {
	version := thisBuild().Version
	spans := make([]otlpSpan, len(batch))
	for i, s := range batch {
		spans[i] = s.encode()
	}
	return otlpRequest{[]otlpResourceSpans{{
		Resource:   otlpResource{[]otlpAttribute{textAttribute("service.name", "ringcore"), textAttribute("service.instance.id", e.node), textAttribute("service.version", version)}},
		ScopeSpans: []otlpScopeSpans{{otlpScope{"github.com/ringcore/ringcore", version}, spans}},
	}}}
}

func (s *span) encode() otlpSpan {
	x := otlpSpan{
		TraceID: hex.EncodeToString(s.trace.ID[:]), SpanID: hex.EncodeToString(s.trace.Span[:]), Flags: uint32(s.trace.Flags), Name: s.name,
		Kind:  map[ringcore.SpanKind]int{ringcore.SpanInside: 1, ringcore.SpanServer: 2, ringcore.SpanClient: 3}[s.about.Kind],
		Begun: strconv.FormatInt(s.begun.UnixNano(), 10), Ended: strconv.FormatInt(s.end.UnixNano(), 10),
		Attributes: []otlpAttribute{textAttribute("ringcore.code", s.code.String())},
	}
	if s.parent != [8]byte{} {
		x.Parent = hex.EncodeToString(s.parent[:])
	}
	if s.about.Service != "" {
		x.Attributes = append(x.Attributes, textAttribute("ringcore.service", s.about.Service))
	}
	if s.about.Partition >= 0 {
		x.Attributes = append(x.Attributes, otlpAttribute{"ringcore.partition", otlpValue{Number: new(strconv.Itoa(s.about.Partition))}})
	}
	if s.about.Peer != "" {
		x.Attributes = append(x.Attributes, textAttribute("ringcore.peer", s.about.Peer))
	}
	if s.code != wire.OK && s.code.HTTPStatus() >= http.StatusInternalServerError { // the others are answers
		x.Status = otlpStatus{2, s.code.String()}
	}
	return x
}
