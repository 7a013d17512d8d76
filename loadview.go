package ringcore

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
)

// nodeLoad is the reply to OpLoad. Nodes of other versions may tell less of it, or more.
type nodeLoad struct {
	vnodes.Load
	Commands   admin.RequestsView `json:"commands"`
	Queries    admin.RequestsView `json:"queries"`
	DiskFree   int64              `json:"disk_free"`
	DiskTotal  int64              `json:"disk_total"`
	DiskLevel  int                `json:"disk_level"`
	LogBytes   int64              `json:"log_bytes"`
	TableBytes int64              `json:"table_bytes"`
	CPUSeconds float64            `json:"cpu_seconds"`
	Memory     int64              `json:"memory"`
	Vnodes     []vnodes.VnodeInfo `json:"vnodes,omitempty"` // if they were asked for
}

// askVnodes is the body of an OpLoad that asks for each vnode.
const askVnodes = "vnodes"

// serveLoad answers from a goroutine: there may be thousands of vnodes to look at.
func (c *core) serveLoad(r *dataplane.Request) {
	if r.From == "" {
		r.Reply(wire.Refused, c.epoch(), []byte("only nodes may ask this"))
		return
	}
	each := string(r.Body) == askVnodes
	if !c.spawn(func() {
		body, err := json.Marshal(c.ownLoad(each))
		c.answer(r, body, err)
	}) {
		r.Reply(wire.ShuttingDown, c.epoch(), nil)
	}
}

// ownLoad is this node's.
func (c *core) ownLoad(each bool) nodeLoad {
	l := nodeLoad{Load: c.vnodes.Load()}
	l.Commands, l.Queries = c.requests()
	l.CPUSeconds, l.Memory = usage()
	if st, ok := c.vnodes.Stats(); ok {
		if st.Space.Known {
			l.DiskFree, l.DiskTotal = st.Space.Free, st.Space.Total
		}
		l.DiskLevel, l.LogBytes, l.TableBytes = int(st.Space.Level), st.LogBytes, st.TableBytes
	}
	if each {
		l.Vnodes = c.vnodes.Vnodes()
	}
	return l
}

// requests are the figures of all services together.
func (c *core) requests() (commands, queries admin.RequestsView) {
	for _, r := range c.router.Requests() {
		v := &commands
		if r.Query {
			v = &queries
		}
		v.Failed += r.Failed()
		v.Seconds += r.Seconds
		for i, n := range r.Buckets {
			if n > 0 {
				v.Count += n
				v.Buckets = append(v.Buckets, make([]uint64, max(0, i+1-len(v.Buckets)))...)
				v.Buckets[i] += n
			}
		}
	}
	return commands, queries
}

// loads asks every member that is up.
func (c *core) loads(ctx context.Context, body string) (loads map[ring.NodeID]nodeLoad, silent []string) {
	loads = askOthers[nodeLoad](ctx, c, wire.OpLoad, []byte(body)...)
	loads[c.self.ID] = c.ownLoad(body == askVnodes)
	for _, id := range c.others() {
		if _, said := loads[id]; !said && c.live.Up(id) {
			silent = append(silent, c.name(id))
		}
	}
	slices.Sort(silent)
	return loads, silent
}

// Load is how each node does.
func (v view) Load(ctx context.Context) (admin.LoadView, error) {
	c, err := v.core()
	if err != nil {
		return admin.LoadView{}, err
	}
	loads, silent := c.loads(ctx, "")
	lv := admin.LoadView{At: time.Now(), Silent: silent}
	for i := range dataplane.MeterBuckets - 1 {
		lv.BucketUS = append(lv.BucketUS, float64(dataplane.BucketLimit(i).Nanoseconds())/1000)
	}
	for id, l := range loads {
		lv.Nodes = append(lv.Nodes, admin.NodeLoad{
			Node: c.name(id), Commands: l.Commands, Queries: l.Queries,
			Open: l.Open, Unopened: l.Unopened, Queue: l.Queue, Deepest: l.Deepest, Busy: l.Busy, Records: l.Records, Bytes: l.Bytes,
			DiskFree: l.DiskFree, DiskTotal: l.DiskTotal, DiskLevel: l.DiskLevel, LogBytes: l.LogBytes, TableBytes: l.TableBytes,
			CPUSeconds: l.CPUSeconds, Memory: l.Memory,
		})
	}
	slices.SortFunc(lv.Nodes, func(a, b admin.NodeLoad) int { return cmp.Compare(a.Node, b.Node) })
	return lv, nil
}

// Vnodes are the vnodes that q asks for.
func (v view) Vnodes(ctx context.Context, q admin.VnodesQuery) (admin.VnodesView, error) {
	c, err := v.core()
	if err != nil {
		return admin.VnodesView{}, err
	}
	if q.Node != "" {
		if _, err := c.member(q.Node); err != nil {
			return admin.VnodesView{}, err
		}
	}
	if r := c.meta.Ring(); q.Partition != nil && *q.Partition >= r.Q() {
		return admin.VnodesView{}, wire.Errorf(wire.BadRequest, "there is no partition %d: they are 0 to %d", *q.Partition, r.Q()-1)
	}
	loads, silent := c.loads(ctx, askVnodes)
	vv := admin.VnodesView{Silent: silent}
	names := c.namer()
	for _, id := range slices.Sorted(maps.Keys(loads)) {
		name := c.name(id)
		if q.Node != "" && q.Node != name && q.Node != string(id) {
			continue
		}
		for _, i := range loads[id].Vnodes {
			if q.Service != "" && q.Service != i.Service || q.Partition != nil && *q.Partition != int(i.Partition) {
				continue
			}
			vv.Vnodes = append(vv.Vnodes, c.vnodeView(name, &i, names.Replace(i.Reason)))
		}
	}
	slices.SortStableFunc(vv.Vnodes, func(a, b admin.VnodeView) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Partition, b.Partition),
			cmp.Compare(uint(a.Slot), uint(b.Slot))) // those without a slot last
	})
	return vv, nil
}

func (c *core) vnodeView(node string, i *vnodes.VnodeInfo, reason string) admin.VnodeView {
	x := admin.VnodeView{
		Node: node, Service: i.Service, Partition: int(i.Partition), Slot: i.Slot, State: i.State, Reason: reason,
		Queue: i.Queue, Busy: i.Busy, Requests: i.Requests, LatencyUS: i.Latency.Microseconds(),
	}
	if i.For != "" {
		x.For = c.name(i.For)
	}
	if d := i.Digest; d != nil {
		x.Records, x.Live, x.Bytes = &d.Records, &d.Live, &d.Bytes
	}
	return x
}

// loadMetrics tell how this node's vnodes do.
func loadMetrics(load *vnodes.Load) []admin.Metric {
	return []admin.Metric{
		gauge("vnodes_open", "Vnodes that have been used since the start.", float64(load.Open)),
		gauge("vnodes_queued", "Requests and tasks that wait for a vnode.", float64(load.Queue)),
		gauge("vnodes_queued_deepest", "Those that wait for one and the same vnode, at most.", float64(load.Deepest)),
		gauge("vnodes_busy", "Vnodes that have been with one request for too long.", float64(load.Busy)),
		gauge("records", "Records of this node's slots whose files are open, tombstones included.", float64(load.Records)),
		gauge("records_bytes", "Keys and values of these records.", float64(load.Bytes)),
	}
}

// pendingLists are the target's lists that differ from the ring's, by names.
func (c *core) pendingLists(st *metadata.State) map[int][]string {
	if st.Target == nil {
		return nil
	}
	pending := map[int][]string{}
	for p, target := range st.Target {
		if slices.EqualFunc(target, st.Ring.Assignments[p].Replicas, func(id ring.NodeID, x ring.Replica) bool { return id == x.Node }) {
			continue
		}
		for _, id := range target {
			pending[p] = append(pending[p], c.name(id))
		}
	}
	return pending
}
