package admin

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// Insights look into nodes. They ask every member that is up, and name those that did not
// answer within a second or, being of an older version, cannot.
type Insights interface {
	// Load is how each node does, in sum.
	Load(ctx context.Context) (LoadView, error)
	// Vnodes are the vnodes that q asks for, by service, partition and slot.
	Vnodes(ctx context.Context, q VnodesQuery) (VnodesView, error)
	// Explain tells of a key where it belongs, and what each node holds of it now.
	Explain(ctx context.Context, bucket string, key []byte) (ExplainView, error)
}

// LoadView is the answer to GET /v1/load. What counts up does so since a node's start.
type LoadView struct {
	At       time.Time  `json:"at"`        // by the clock of the node that answers
	Nodes    []NodeLoad `json:"nodes"`     // by name
	BucketUS []float64  `json:"bucket_us"` // the upper ends of the requests' buckets, in microseconds; the last one has none
	Silent   []string   `json:"silent"`    // members that are up and did not say
}

// NodeLoad is how one node does.
type NodeLoad struct {
	Node       string       `json:"node"`
	Commands   RequestsView `json:"commands"`
	Queries    RequestsView `json:"queries"`
	Open       int          `json:"open"`     // vnodes that have been used since the start
	Unopened   int          `json:"unopened"` // slots whose files are not open: their records are not counted
	Queue      int          `json:"queue"`    // requests and tasks that wait for a vnode
	Deepest    int          `json:"deepest"`  // that wait for one and the same vnode, at most
	Busy       int          `json:"busy"`     // vnodes that have been with one request for too long
	Records    int64        `json:"records"`  // tombstones included
	Bytes      int64        `json:"bytes"`    // of their keys and values
	DiskFree   int64        `json:"disk_free"`
	DiskTotal  int64        `json:"disk_total"` // 0: not known
	DiskLevel  int          `json:"disk_level"` // 0: there is room, 1: low, 2: critical
	LogBytes   int64        `json:"log_bytes"`
	TableBytes int64        `json:"table_bytes"` // records in memory that are not in their files yet
	CPUSeconds float64      `json:"cpu_seconds"` // of the node's process
	Memory     int64        `json:"memory"`      // that its process has from the system; 0: not known
}

// RequestsView are requests that came to a node from outside the cluster.
type RequestsView struct {
	Count   uint64   `json:"count"`
	Failed  uint64   `json:"failed"`
	Seconds float64  `json:"seconds"` // that they took together
	Buckets []uint64 `json:"buckets"` // of Count, by LoadView.BucketUS; what is missing at the end is 0
}

// VnodesQuery selects vnodes; what is empty selects all.
type VnodesQuery struct {
	Node      string // name
	Service   string
	Partition *int
}

// VnodesView is the answer to GET /v1/vnodes.
type VnodesView struct {
	Vnodes []VnodeView `json:"vnodes"`
	Silent []string    `json:"silent"` // members that are up and did not say
}

// VnodeView is one vnode.
type VnodeView struct {
	Node      string `json:"node"`
	Service   string `json:"service"`
	Partition int    `json:"partition"`
	Slot      int    `json:"slot"`          // -1: a fallback, or one that is to go
	For       string `json:"for,omitempty"` // a fallback's: the node that it stands in for
	State     string `json:"state"`         // serving, switching, catching up, waiting, lost, gone or idle
	Reason    string `json:"reason,omitempty"`
	Queue     int    `json:"queue"`
	Busy      bool   `json:"busy,omitempty"`
	Requests  uint64 `json:"requests"`   // since it was opened
	LatencyUS int64  `json:"latency_us"` // of the latest that were timed, one of 16; 0: none was
	Records   *int64 `json:"records"`    // tombstones included; null: its file is not open, or cannot be read
	Live      *int64 `json:"live"`       // without tombstones
	Bytes     *int64 `json:"bytes"`
}

// insightRoutes are those of Insights.
func (a *api) insightRoutes() []route {
	return []route{
		{"GET", "/v1/load", "requests, latencies, queues, records and room of each node", a.getLoad},
		{"GET", "/v1/vnodes", "?node=N&service=S&partition=P: state, queue, latency and size of vnodes", a.getVnodes},
		{"GET", "/v1/explain", "?bucket=B&key=K: where a key belongs, and what each node holds of it", a.getExplain},
	}
}

func (a *api) getLoad(w http.ResponseWriter, r *http.Request) {
	view, err := a.node.Load(r.Context())
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	view.Nodes, view.BucketUS, view.Silent = orEmpty(view.Nodes), orEmpty(view.BucketUS), orEmpty(view.Silent)
	for i := range view.Nodes {
		n := &view.Nodes[i]
		n.Commands.Buckets, n.Queries.Buckets = orEmpty(n.Commands.Buckets), orEmpty(n.Queries.Buckets)
	}
	writeJSON(w, http.StatusOK, view)
}

func (a *api) getVnodes(w http.ResponseWriter, r *http.Request) {
	form := r.URL.Query()
	q := VnodesQuery{Node: form.Get("node"), Service: form.Get("service")}
	if s := form.Get("partition"); s != "" {
		p, err := strconv.Atoi(s)
		if err != nil || p < 0 {
			problem.Write(w, r, wire.Errorf(wire.BadRequest, "partition is %q; it is a number from 0 on", s))
			return
		}
		q.Partition = &p
	}
	view, err := a.node.Vnodes(r.Context(), q)
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	view.Vnodes, view.Silent = orEmpty(view.Vnodes), orEmpty(view.Silent)
	writeJSON(w, http.StatusOK, view)
}
