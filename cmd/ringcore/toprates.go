package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/ringcore/ringcore/admin"
)

// topLook is what the nodes said at one time.
type topLook struct {
	at     time.Time // by this process's clock
	load   admin.LoadView
	vnodes []admin.VnodeView
	status admin.StatusView
}

// topView is what happened between two looks, and what is now.
type topView struct {
	At        time.Time         `json:"at"`
	Healthy   bool              `json:"healthy"`
	Reasons   []string          `json:"reasons"`
	Nodes     []topNode         `json:"nodes"` // by name
	Vnodes    []topVnode        `json:"vnodes,omitempty"`
	Moving    admin.MovingView  `json:"moving"`
	Transfers []topTransfer     `json:"transfers"`
	Hints     []admin.HintsView `json:"hints"`
}

// topNode is one node. What is null is not known: the node does not answer, has just been
// started, or had no request.
type topNode struct {
	Node     string   `json:"node"`
	Status   string   `json:"status"` // as members have it, or away
	Requests *float64 `json:"requests_per_s"`
	Failed   *float64 `json:"failed_per_s"`
	P50      *float64 `json:"p50_us"`
	P99      *float64 `json:"p99_us"`
	Queue    *int     `json:"queue"`
	Deepest  *int     `json:"deepest"` // requests that wait for one vnode
	Busy     *int     `json:"busy"`    // vnodes that are stuck in one request
	Records  *int64   `json:"records"`
	Bytes    *int64   `json:"bytes"`
	DiskFree *int64   `json:"disk_free"`
	CPU      *float64 `json:"cpu_percent"` // of one processor; of the node's process
	Memory   *int64   `json:"memory"`
	Hints    int64    `json:"hints"` // records that wait for this node
}

// topVnode is one vnode.
type topVnode struct {
	admin.VnodeView
	RequestsPerS *float64 `json:"requests_per_s"`
}

// topTransfer is one transfer under way.
type topTransfer struct {
	Kind      string  `json:"kind"`
	Partition int     `json:"partition"`
	From      string  `json:"from"`
	To        string  `json:"to"`
	Percent   float64 `json:"percent"`
	BytesPerS int64   `json:"bytes_per_s"`
	ETAS      int64   `json:"eta_s"`
}

// between is what happened from one look to the next.
func between(a, b *topLook) *topView {
	s := &b.status
	v := &topView{At: b.load.At, Healthy: s.Healthy, Reasons: s.Reasons, Moving: s.Moving, Hints: s.Hints, Nodes: []topNode{}, Transfers: []topTransfer{}}
	for _, m := range s.Members {
		n := topNode{Node: m.Name, Status: m.Status}
		if !m.Up {
			n.Status = "away"
		}
		for _, h := range s.Hints {
			if h.For == m.Name {
				n.Hints += h.Records
			}
		}
		n.fill(loadOf(&a.load, m.Name), loadOf(&b.load, m.Name), b.load.At.Sub(a.load.At).Seconds(), b.load.BucketUS)
		v.Nodes = append(v.Nodes, n)
	}
	for _, t := range s.Transfers.Active {
		v.Transfers = append(v.Transfers, topTransfer{
			Kind: t.Kind, Partition: t.Partition, From: t.From, To: t.To, Percent: t.Percent, BytesPerS: t.BytesPerS, ETAS: t.ETAS,
		})
	}
	v.Vnodes = vnodesBetween(a, b)
	return v
}

func loadOf(v *admin.LoadView, node string) *admin.NodeLoad {
	if i := slices.IndexFunc(v.Nodes, func(n admin.NodeLoad) bool { return n.Node == node }); i >= 0 {
		return &v.Nodes[i]
	}
	return nil
}

// fill is what a node's loads say: b now, a before. A node that was started anew counts from 0 again.
func (n *topNode) fill(a, b *admin.NodeLoad, seconds float64, limits []float64) {
	if b == nil {
		return
	}
	n.Queue, n.Deepest, n.Busy = &b.Queue, &b.Deepest, &b.Busy
	n.Records, n.Bytes = &b.Records, &b.Bytes
	if b.DiskTotal > 0 {
		n.DiskFree = &b.DiskFree
	}
	if b.Memory > 0 {
		n.Memory = &b.Memory
	}
	if a == nil || seconds <= 0 || b.Commands.Count < a.Commands.Count || b.Queries.Count < a.Queries.Count || b.CPUSeconds < a.CPUSeconds {
		return
	}
	n.Requests = new(float64(b.Commands.Count-a.Commands.Count+b.Queries.Count-a.Queries.Count) / seconds)
	n.Failed = new((float64(b.Commands.Failed+b.Queries.Failed) - float64(a.Commands.Failed+a.Queries.Failed)) / seconds)
	if b.CPUSeconds > 0 {
		n.CPU = new(100 * (b.CPUSeconds - a.CPUSeconds) / seconds)
	}
	counts := make([]uint64, max(len(b.Commands.Buckets), len(b.Queries.Buckets)))
	for _, r := range [][2][]uint64{{a.Commands.Buckets, b.Commands.Buckets}, {a.Queries.Buckets, b.Queries.Buckets}} {
		for i, c := range r[1] {
			counts[i] += c
			if i < len(r[0]) {
				counts[i] -= r[0][i]
			}
		}
	}
	n.P50, n.P99 = quantile(counts, limits, 0.5), quantile(counts, limits, 0.99)
}

// quantile reads a percentile, in microseconds, from counts by bucket; nil if there are none.
// The console's history.js does the same.
func quantile(counts []uint64, limits []float64, q float64) *float64 {
	total := uint64(0)
	for _, c := range counts {
		total += c
	}
	if total == 0 {
		return nil
	}
	rank := q * float64(total)
	for i, c := range counts {
		if rank > float64(c) {
			rank -= float64(c)
			continue
		}
		low := 0.0
		if i > 0 {
			low = limits[i-1]
		}
		high := low * 1.5 // the last bucket has no end
		if i < len(limits) {
			high = limits[i]
		}
		return new(low + (high-low)*rank/float64(c))
	}
	return new(limits[len(limits)-1])
}

// vnodesBetween are the vnodes of the later look, the busiest first.
func vnodesBetween(a, b *topLook) []topVnode {
	type id struct {
		node, service, standsFor string
		partition                int
	}
	of := func(v *admin.VnodeView) id { return id{v.Node, v.Service, v.For, v.Partition} }
	before := make(map[id]uint64, len(a.vnodes))
	for i := range a.vnodes {
		before[of(&a.vnodes[i])] = a.vnodes[i].Requests
	}
	var list []topVnode
	seconds := b.at.Sub(a.at).Seconds()
	for i := range b.vnodes {
		x := topVnode{VnodeView: b.vnodes[i]}
		if n, ok := before[of(&b.vnodes[i])]; ok && n <= x.Requests && seconds > 0 {
			x.RequestsPerS = new(float64(x.Requests-n) / seconds)
		}
		list = append(list, x)
	}
	slices.SortStableFunc(list, func(x, y topVnode) int { return cmp.Compare(valueOf(y.RequestsPerS), valueOf(x.RequestsPerS)) })
	return list
}

// valueOf is what p points to; -1, below all figures, if it is nil.
func valueOf[T int | int64 | float64](p *T) T {
	if p == nil {
		return -1
	}
	return *p
}
