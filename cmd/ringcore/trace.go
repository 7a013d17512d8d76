package main

import (
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore"
)

// The variables by which OpenTelemetry's own tools are told of a collector.
const (
	otelEndpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	otelHeaders  = "OTEL_EXPORTER_OTLP_HEADERS"
)

// traceSettings say where traces go.
type traceSettings struct {
	endpoint string
	ratio    float64
}

func (s *traceSettings) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.endpoint, "trace-endpoint", "", "OpenTelemetry collector that spans are sent to by OTLP over HTTP, as http://127.0.0.1:4318 ("+otelEndpoint+"; nothing is traced)")
	f.Float64Var(&s.ratio, "trace-ratio", 0, "part of the requests, from 0 to 1, that begin a trace if their caller has none; those whose caller's is sampled are always traced")
}

// target is where to send; empty if nothing is traced.
func (s *traceSettings) target(getenv func(string) string) (string, error) {
	if s.ratio < 0 || s.ratio > 1 {
		return "", usagef("write a number from 0 to 1", "--trace-ratio is %v", s.ratio)
	}
	endpoint, from := s.endpoint, "--trace-endpoint"
	if endpoint == "" {
		endpoint, from = getenv(otelEndpoint), otelEndpoint
	}
	if endpoint == "" {
		return "", nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", usagef("write http://host:4318", "%s %q is no address of a collector", from, endpoint)
	}
	if !strings.HasSuffix(u.Path, "/v1/traces") {
		u = u.JoinPath("v1", "traces")
	}
	return u.String(), nil
}

// open has the node's spans exported, if there is where to; what it returns must be called when the node
// has closed.
func (s *traceSettings) open(a *app, cfg *ringcore.Config) (done func(), err error) {
	target, err := s.target(a.getenv)
	if err != nil || target == "" {
		return func() {}, err
	}
	node := cfg.Name
	if node == "" {
		node, _ = os.Hostname() // as the node does, which says what is wrong with it
	}
	e := newExporter(target, parseHeaders(a.getenv(otelHeaders)), node, s.ratio, cfg.Logger)
	cfg.Tracer = e
	return e.Close, nil
}

// parseHeaders reads name=value,name=value, percent-encoded, as OpenTelemetry writes it.
func parseHeaders(s string) map[string]string {
	headers := map[string]string{}
	for pair := range strings.SplitSeq(s, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if plain, err := url.PathUnescape(value); ok && err == nil {
			headers[name] = plain
		}
	}
	return headers
}
