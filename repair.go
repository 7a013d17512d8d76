package ringcore

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
)

// repairAsk is the JSON body of OpRepair.
type repairAsk struct {
	ID         string           `json:"id"`
	Partitions []ring.Partition `json:"partitions"`
}

// serveRepair begins a repair that another node has spread.
func (c *core) serveRepair(r *dataplane.Request) {
	var ask repairAsk
	if err := json.Unmarshal(r.Body, &ask); err != nil {
		r.Reply(wire.BadRequest, c.epoch(), []byte(err.Error()))
		return
	}
	for _, p := range ask.Partitions {
		if int(p) >= c.meta.Ring().Q() {
			r.Reply(wire.BadRequest, c.epoch(), fmt.Appendf(nil, "there is no partition %d", p))
			return
		}
	}
	c.vnodes.Repair(ask.ID, ask.Partitions)
	c.answer(r, nil, nil)
}

// Repair has every record of some partitions compared with those of their other
// replicas: each by the first of its replicas that is up.
func (v view) Repair(ctx context.Context, req admin.RepairRequest) (admin.RepairStarted, error) {
	c, err := v.core()
	if err != nil {
		return admin.RepairStarted{}, err
	}
	asked, err := c.repairScope(&req)
	if err != nil {
		return admin.RepairStarted{}, err
	}
	r := c.meta.Ring()
	started := admin.RepairStarted{ID: fmt.Sprintf("%016x", rand.Uint64())}
	shares := make(map[ring.NodeID][]ring.Partition)
	for _, p := range asked {
		if node := r.FirstUp(p, c.live.Up); node != "" {
			shares[node] = append(shares[node], p)
			continue
		}
		started.Skipped = append(started.Skipped, int(p))
	}
	for _, node := range slices.Sorted(maps.Keys(shares)) {
		if err := c.askRepair(ctx, node, repairAsk{started.ID, shares[node]}); err != nil {
			c.n.log.Warn("repair not begun", "peer", node, "err", err)
			for _, p := range shares[node] {
				started.Skipped = append(started.Skipped, int(p))
			}
			continue
		}
		started.Partitions += len(shares[node])
		started.Nodes = append(started.Nodes, c.name(node))
	}
	if started.Partitions == 0 {
		return started, wire.Errorf(wire.Unavailable, "none of the partitions' replicas can be reached: see ringcore cluster members, and try again when they are up")
	}
	return started, nil
}

// repairScope is the partitions that a request is about.
func (c *core) repairScope(req *admin.RepairRequest) ([]ring.Partition, error) {
	r := c.meta.Ring()
	var node ring.NodeID
	switch {
	case req.Partition != nil && req.Node != "":
		return nil, wire.Errorf(wire.BadRequest, "a partition and a node: ask for one of them, or for neither to repair all partitions")
	case req.Partition != nil && (*req.Partition < 0 || *req.Partition >= r.Q()):
		return nil, wire.Errorf(wire.BadRequest, "there is no partition %d: they are 0 to %d", *req.Partition, r.Q()-1)
	case req.Partition != nil:
		return []ring.Partition{ring.Partition(*req.Partition)}, nil
	case req.Node != "":
		st := c.meta.State()
		m, ok := st.MemberByName(req.Node)
		if !ok {
			m, ok = st.Member(ring.NodeID(req.Node))
		}
		if !ok || m.Gone() {
			return nil, c.noMember(wire.BadRequest, req.Node)
		}
		node = m.ID
	}
	var all []ring.Partition
	for p := range r.Assignments {
		if p := ring.Partition(p); node == "" || r.Place(p, node) >= 0 {
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		return nil, wire.Errorf(wire.Refused, "%s has no partitions", req.Node)
	}
	return all, nil
}

func (c *core) askRepair(ctx context.Context, node ring.NodeID, ask repairAsk) error {
	if node == c.self.ID {
		c.vnodes.Repair(ask.ID, ask.Partitions)
		return nil
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	f, err := c.peers.Call(ctx, node, wire.Header{Op: wire.OpRepair}, body)
	if err == nil && f.Code != wire.OK {
		err = &wire.Error{Code: f.Code, Message: string(f.Body)}
	}
	return err
}

// Repairs is the history of repairs, and when partitions were last compared, as all
// members that are up tell it.
func (v view) Repairs(ctx context.Context) (admin.RepairsView, error) {
	c, err := v.core()
	if err != nil {
		return admin.RepairsView{}, err
	}
	var all admin.RepairsView
	reports := askOthers[vnodes.RepairReport](ctx, c, wire.OpRepairs)
	reports[c.self.ID] = c.vnodes.Repairs()
	for _, report := range reports {
		for _, run := range report.Runs {
			all.Repairs = append(all.Repairs, c.repairView(&run))
		}
		for _, x := range report.Compared {
			cv := admin.ComparedView{Partition: int(x.Partition), Node: c.name(x.Node), At: x.At}
			if !x.Floor.IsZero() {
				cv.Floor = &x.Floor
			}
			all.Compared = append(all.Compared, cv)
		}
	}
	slices.SortStableFunc(all.Repairs, func(a, b admin.RepairView) int {
		return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(a.Node, b.Node))
	})
	slices.SortFunc(all.Compared, func(a, b admin.ComparedView) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Node, b.Node))
	})
	return all, nil
}

func (c *core) repairView(run *vnodes.RepairRun) admin.RepairView {
	rv := admin.RepairView{
		ID: run.ID, Node: c.name(run.Node), Partitions: len(run.Partitions), Done: run.Done, Failed: run.Failed, Started: run.Started,
		Compared: run.Compared, Sent: run.Sent, Received: run.Received, Errors: run.Errors,
	}
	if !run.Ended.IsZero() {
		rv.Ended = &run.Ended
	}
	for _, node := range run.Unreached {
		rv.Unreached = append(rv.Unreached, c.name(node))
	}
	return rv
}
