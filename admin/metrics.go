package admin

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// namespace is the prefix of every metric of ours.
const namespace = "ringcore"

// metrics is a registry of its own with the process, the Go runtime, the node
// and the API's own requests in it.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(n Node) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "http_requests_total", Help: "HTTP requests answered, by route and status.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "http_request_seconds", Help: "From a request's header to the end of its answer, by route.",
			Buckets: prometheus.ExponentialBuckets(0.000256, 4, 9),
		}, []string{"route"}),
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.requests, m.seconds,
		nodeCollector{n},
	)
	return m
}

// handler answers scrapes. A metric that does not hold together is left out and
// logged; it does not fail the scrape.
func (m *metrics) handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 8,
	})
}

// count notes one answered request. route is a pattern of the routing table, so
// that the number of series is bounded.
func (m *metrics) count(route string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

// nodeCollector turns the node's snapshot into samples at each scrape.
type nodeCollector struct{ node Node }

// Describe sends nothing: which metrics there are is known at the scrape only.
func (c nodeCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c nodeCollector) Collect(out chan<- prometheus.Metric) {
	for _, m := range c.node.Metrics() {
		kind := prometheus.GaugeValue
		if m.Counter {
			kind = prometheus.CounterValue
		}
		desc := prometheus.NewDesc(prometheus.BuildFQName(namespace, "", m.Name), m.Help, nil, m.Labels)
		sample, err := prometheus.NewConstMetric(desc, kind, m.Value)
		if m.Steps != nil {
			sample, err = prometheus.NewConstHistogram(desc, m.Count, m.Value, m.Steps)
		}
		if err != nil {
			sample = prometheus.NewInvalidMetric(desc, err)
		}
		out <- sample
	}
}
