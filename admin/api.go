package admin

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/ringcore/ringcore/admin/console"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// Options of a Handler.
type Options struct {
	// Pprof serves /debug/pprof. Set it only if the listener is bound to loopback:
	// profiles show memory and take CPU time.
	Pprof  bool
	Logger *slog.Logger // slog.Default() if nil

	// Loopback refuses requests for other hosts than this machine. Set it if the listener
	// is bound to loopback.
	Loopback bool

	Tracer wire.Tracer // is told of requests; nothing is traced if nil

	MaxBodies int64 // bytes that the bodies of all requests may take up at a time; 256 MiB if 0
}

// api answers the requests. It has no state but counters and the event streams' places.
type api struct {
	node    Node
	log     *slog.Logger
	metrics *metrics
	streams chan struct{} // one place for each event stream that is open
	bodies  bodies
	index   string
	console *console.Console

	loopback bool // see Options, like the next
	tracer   wire.Tracer
}

// route is one line of the routing table.
type route struct {
	method, path string
	about        string // for the index page; empty: not listed
	handle       http.HandlerFunc
}

// Handler makes the HTTP API of n, with kv, if not nil, mounted at /v1/kv/ and
// /v1/ping. It checks origins for all and caps the bodies of its own routes; kv
// caps its own.
func Handler(n Node, kv http.Handler, opts Options) http.Handler {
	log := opts.Logger
	if log == nil {
		log = slog.Default()
	}
	a := &api{node: n, log: log, metrics: newMetrics(n), streams: make(chan struct{}, maxStreams), console: console.New(), loopback: opts.Loopback, tracer: opts.Tracer}
	a.bodies.limit = cmp.Or(opts.MaxBodies, defaultBodies)
	routes := a.routes()
	if kv != nil {
		routes = append(routes, kvRoutes(kv)...)
	}
	if opts.Pprof {
		routes = append(routes, pprofRoutes()...)
	}
	mux := http.NewServeMux()
	for _, r := range routes {
		if r.handle != nil {
			mux.HandleFunc(strings.TrimSpace(r.method+" "+r.path), r.handle)
		}
	}
	a.index = indexPage(n.Name(), routes)
	return a.guard(mux)
}

// routes is the table of everything that does not depend on an option.
func (a *api) routes() []route {
	routes := []route{
		{"GET", "/{$}", "the web console; this list for those who want no HTML", a.getIndex},
		{"GET", console.Prefix, "", a.getConsole},
		{"GET", "/livez", "200 while the process answers", a.getLive},
		{"GET", "/readyz", "200 if this node serves, else 503 with the reasons", a.getReady},
		{"GET", "/metrics", "Prometheus metrics", a.metrics.handler(a.log).ServeHTTP},
		{"GET", "/v1/openapi.json", "this list for programs: OpenAPI 3.1, with all that goes in and comes out", a.getOpenAPI},
		{"GET", "/v1/ring", "who holds which partition; the ETag is the epoch", a.getRing},
		{"GET", "/v1/members", "the cluster's members", a.getMembers},
		{"GET", "/v1/capabilities", "what members of different versions can do, and who holds the others back", a.getCapabilities},
		{"GET", "/v1/transfers", "partitions on the move, what waits, what has ended", a.getTransfers},
		{"GET", "/v1/transfers/limits", "how many at a time, and how fast", a.getLimits},
		{"POST", "/v1/transfers/limits", `{"in":4,"out":4,"pair":2,"bytes_in":-1,"bytes_out":20000000,"node":"n2"}: changes those that are named`, a.postLimits},
		{"POST", "/v1/transfers/abort", `{"session":"…"}: gives one up; it is begun anew`, a.postAbort},
		{"GET", "/v1/cluster/status", "whether all is well, what moves, what waits for whom", a.getStatus},
		{"POST", "/v1/repair", `{"partition":12}, {"node":"n2"} or {}: every record is compared on all replicas`, a.postRepair},
		{"GET", "/v1/repairs", "what repairs have found, and when partitions were compared", a.getRepairs},
		{"GET", "/v1/preflist", "?bucket=B&key=K&n=3: the places of a key", a.getPreflist},
		{"GET", "/v1/events", "server-sent events: ring, member, transfer", a.getEvents},
		{"GET", "/v1/logs", "server-sent events: this node's log, the latest entries first", a.getLogs},
		{"GET", "/v1/buckets", "the buckets with properties of their own", a.getBuckets},
		{"GET", "/v1/buckets/{bucket}", "the bucket's properties", a.getBucket},
		{"PUT", "/v1/buckets/{bucket}", `{"siblings":true,"w":"all"}: changes those that are named`, a.putBucket},
		{"POST", "/v1/cluster/join", `{"seed":"host:port"}: this node joins that cluster; staged, unless "commit":true`, a.postJoin},
		{"POST", "/v1/node/drain", "this node hands leadership and coordination over, before a stop", a.postDrain(true)},
		{"POST", "/v1/node/resume", "this node takes part again", a.postDrain(false)},
	}
	return append(append(append(routes, a.planRoutes()...), a.insightRoutes()...), a.backupRoutes()...)
}

// kvMount is where package kv serves keys and buckets.
const kvMount = "/v1/kv/"

// kvRoutes mounts kv. The lines without a handler are for the index page.
func kvRoutes(kv http.Handler) []route {
	return []route{
		{"", kvMount, "", kv.ServeHTTP},
		{"GET", "/v1/ping", "?key=K: which vnode answers", kv.ServeHTTP},
		{"PUT", "/v1/kv/{bucket}/{key}", "the body is the value", nil},
		{"GET", "/v1/kv/{bucket}/{key}", "the value; 404 when missing", nil},
		{"DELETE", "/v1/kv/{bucket}/{key}", "answers with the old value", nil},
		{"GET", "/v1/kv/{bucket}?list=keys", "every key, or list=values, a line each", nil},
		{"DELETE", "/v1/kv/{bucket}", "clears the bucket", nil},
	}
}

// pprofRoutes are the profiles. Those other than the four are served by Index.
func pprofRoutes() []route {
	return []route{
		{"GET", "/debug/pprof/", "profiles", pprof.Index},
		{"GET", "/debug/pprof/cmdline", "", pprof.Cmdline},
		{"GET", "/debug/pprof/profile", "", pprof.Profile},
		{"GET", "/debug/pprof/symbol", "", pprof.Symbol},
		{"GET", "/debug/pprof/trace", "", pprof.Trace},
	}
}

// indexPage lists the routes that have something to say about themselves.
func indexPage(node string, routes []route) string {
	var b strings.Builder
	fmt.Fprintf(&b, "ringcore node %s\n\n", node)
	for _, r := range routes {
		if r.about != "" {
			fmt.Fprintf(&b, "%-6s  %-28s  %s\n", r.method, r.path, r.about)
		}
	}
	return b.String()
}
