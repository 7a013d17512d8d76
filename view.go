package ringcore

import (
	"cmp"
	"context"
	"encoding/json"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
)

// view is the node as the HTTP API sees it.
type view struct{ n *Node }

var _ admin.Node = view{}

func (v view) core() (*core, error) {
	c := v.n.core.Load()
	if c == nil {
		return nil, wire.Errorf(wire.Unavailable, "this node belongs to no cluster yet: %s", v.n.waitingFor())
	}
	return c, nil
}

// Name is the node's name.
func (v view) Name() string { return v.n.cfg.Name }

// Ring is the ring in force, as this node knows it.
func (v view) Ring(context.Context) (admin.RingView, error) {
	c, err := v.core()
	if err != nil {
		return admin.RingView{}, err
	}
	st := c.meta.State()
	rv := admin.RingView{
		ClusterID: st.ClusterID, Epoch: uint64(st.Epoch), Partitions: st.Ring.Q(), Replicas: st.Ring.N,
		Owners: make([][]string, st.Ring.Q()), Gens: make([]uint64, st.Ring.Q()),
	}
	for p, a := range st.Ring.Assignments {
		rv.Gens[p] = uint64(a.Gen)
		for _, x := range a.Replicas {
			rv.Owners[p] = append(rv.Owners[p], c.name(x.Node))
		}
	}
	rv.Pending = c.pendingLists(st)
	return rv, nil
}

// Members lists the members that have not left.
func (v view) Members(context.Context) ([]admin.MemberView, error) {
	c, err := v.core()
	if err != nil {
		return nil, err
	}
	st := c.meta.State()
	now := ring.Shares(st.Ring)
	then := now
	if st.Target != nil {
		then = ring.SharesOf(st.Target)
	}
	leader, _ := c.meta.Leader()
	all := []admin.MemberView{}
	for _, m := range st.Members {
		if m.Gone() {
			continue
		}
		all = append(all, admin.MemberView{
			Name: m.Name, ID: string(m.ID), Status: string(m.Status), Up: c.live.Up(m.ID),
			Addr: m.Addr, HTTP: m.HTTPAddr, RESP: m.RESPAddr, Zone: m.Zone, Weight: m.Weight,
			Owned: now[m.ID].Owned, Slots: now[m.ID].Slots, PendingOwned: then[m.ID].Owned, PendingSlots: then[m.ID].Slots,
			Voter: m.Voter, Leader: m.ID == leader, Draining: m.Draining, Version: m.Version, Capabilities: append([]string{}, m.Caps...),
		})
	}
	slices.SortFunc(all, func(a, b admin.MemberView) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// Transfers are the transfers under way in the whole cluster, and what each node
// that is up says of its own.
func (v view) Transfers(ctx context.Context) (admin.TransfersView, error) {
	c, err := v.core()
	if err != nil {
		return admin.TransfersView{}, err
	}
	st := c.meta.State()
	progress := c.progressEverywhere(ctx)
	tv := admin.TransfersView{Active: []admin.TransferView{}}
	for _, t := range st.Transfers {
		p, ok := progress[t.ID]
		if !ok {
			p = vnodes.Progress{Session: vnodes.Session{ID: t.ID, Step: t.Step, Gen: t.Gen}, Phase: "begun"}
			if t.Since > 0 {
				p.Still = max(time.Since(time.UnixMilli(t.Since)), 0)
			}
		}
		delete(progress, t.ID)
		tv.Active = append(tv.Active, c.transferView(&p))
	}
	for _, p := range progress { // hints and clean-ups, which raft does not know
		tv.Active = append(tv.Active, c.transferView(&p))
	}
	slices.SortFunc(tv.Active, func(a, b admin.TransferView) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Session, b.Session))
	})
	tv.Waiting, tv.Ended, tv.Limits = waitingSteps(st), c.endedTransfers(), c.limits()
	return tv, nil
}

// waitingSteps counts the steps towards the target that have not begun.
func waitingSteps(st *metadata.State) int {
	if st.Planned != st.Roster {
		return 1 // at least: what they are is about to be computed
	}
	if st.Target == nil {
		return 0
	}
	n := -len(st.Transfers)
	for p, target := range st.Target {
		p := ring.Partition(p)
		n += len(ring.StepsTo(p, st.Ring.Assignments[p].Replicas, target))
	}
	return max(n, 0)
}

// progressEverywhere is every transfer that a member which is up drives.
func (c *core) progressEverywhere(ctx context.Context) map[string]vnodes.Progress {
	lists := c.progressOf(ctx)
	all := make(map[string]vnodes.Progress)
	for node, list := range lists {
		for _, p := range list {
			all[cmp.Or(p.Session.ID, string(node)+"/"+p.Session.Service+"/"+p.Session.String())] = p
		}
	}
	return all
}

// askOthers asks the other members that are up, and has what those say that answer
// within a second.
func askOthers[T any](ctx context.Context, c *core, op wire.Op, body ...byte) map[ring.NodeID]T {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var mu sync.Mutex
	var asked sync.WaitGroup
	answers := make(map[ring.NodeID]T)
	for _, node := range c.others() {
		if !c.live.Up(node) {
			continue
		}
		asked.Go(func() {
			f, err := c.peers.Call(ctx, node, wire.Header{Op: op}, body)
			var answer T
			if err == nil && json.Unmarshal(f.Body, &answer) == nil {
				mu.Lock()
				defer mu.Unlock()
				answers[node] = answer
			}
		})
	}
	asked.Wait()
	return answers
}

func (c *core) transferView(p *vnodes.Progress) admin.TransferView {
	s := p.Session
	tv := admin.TransferView{
		Session: s.ID, Kind: string(s.Kind), Service: s.Service, Partition: int(s.Partition), Slot: s.Slot, From: c.name(s.From), To: c.name(s.To),
		Phase: p.Phase, Records: p.Records, Bytes: p.Bytes, StillS: int64(p.Still.Seconds()),
	}
	if p.Total > 0 {
		tv.Percent = math.Min(100, math.Round(1000*float64(p.Records)/float64(p.Total))/10)
	}
	if took := time.Since(p.Begun).Seconds(); took > 0 && p.Records > 0 && !p.Begun.IsZero() {
		tv.BytesPerS = int64(float64(p.Bytes) / took)
		tv.ETAS = int64(math.Ceil(took * float64(max(p.Total-p.Records, 0)) / float64(p.Records)))
	}
	return tv
}

// Preflist is the preference list of a key.
func (v view) Preflist(_ context.Context, bucket string, key []byte, n int) ([]admin.PreflistEntry, error) {
	c, err := v.core()
	if err != nil {
		return nil, err
	}
	r := c.meta.Ring()
	if n == 0 {
		n = r.N
	}
	list := []admin.PreflistEntry{}
	for _, t := range r.PreferenceList(ring.HashKey(bucket, key), n, c.live.Up).Targets {
		e := admin.PreflistEntry{
			Partition: int(t.Partition), Index: t.Partition.Index(r.Q()), Slot: t.Slot, Node: c.name(t.Node), Role: admin.RolePrimary,
		}
		if t.Fallback {
			e.Role, e.For = admin.RoleFallback, c.name(t.For)
		}
		list = append(list, e)
	}
	return list, nil
}

// Ready says whether this node serves.
func (v view) Ready() (bool, []admin.Check) {
	c, err := v.n.serving()
	member := admin.Check{Name: "member", OK: err == nil}
	leader := admin.Check{Name: "leader"}
	if err != nil {
		member.Detail = err.Error()
	} else {
		if st := c.status(); st == metadata.StatusJoining || st == metadata.StatusLeft {
			member.OK, member.Detail = false, "this node is "+string(st)
		}
		if _, known := c.meta.Leader(); known && c.meta.LeaderContact() < 10*time.Second {
			leader.OK = true
		} else {
			leader.Detail = "no leader is known: data is served, the ring cannot change"
		}
	}
	drain := v.n.drainCheck()
	checks := []admin.Check{member, drain, leader} // requests do not need the leader, nor do reads need room
	if core := v.n.core.Load(); core != nil && core.vnodes != nil {
		checks = append(checks, core.storageChecks()...)
		checks = append(checks, faultCheck(core.vnodes.Faults()))
	}
	return member.OK && drain.OK, checks
}

// Logs follows this node's log.
func (v view) Logs(ctx context.Context, since uint64) ([]admin.LogEntry, <-chan admin.LogEntry) {
	return v.n.tail.Follow(ctx, since)
}

// Events subscribes to what happens from now on.
func (v view) Events(ctx context.Context) <-chan admin.Event { return v.n.hub.Subscribe(ctx) }

// Metrics is a snapshot of the node's gauges.
func (v view) Metrics() []admin.Metric {
	c := v.n.core.Load()
	if c == nil {
		return nil
	}
	st := c.meta.State()
	share := ring.Shares(st.Ring)[c.self.ID]
	up := 0
	for _, id := range c.others() {
		if c.live.Up(id) {
			up++
		}
	}
	metrics := []admin.Metric{
		gauge("ring_epoch", "Version of the committed metadata that this node knows.", float64(st.Epoch)),
		gauge("ring_owned_partitions", "Partitions that this node owns.", float64(share.Owned)),
		gauge("ring_slots", "Places that this node has in all replica lists.", float64(share.Slots)),
		gauge("members", "Members of the cluster that have not left.", float64(len(c.others())+1)),
		gauge("clock_offset_seconds", "How far this node's wall clock is ahead of the members' median.", c.clocks.Offset().Seconds()),
		gauge("peers_up", "Other members that this node can reach.", float64(up)),
		gauge("transfers_active", "Transfers under way in the cluster.", float64(len(st.Transfers))),
		gauge("raft_leader", "1 on the node that leads the raft group.", oneIf(c.meta.Leading())),
		gauge("raft_leader_contact_seconds", "Since this node last heard from the leader.", c.meta.LeaderContact().Seconds()),
		gauge("slots_catching_up", "Slots of this node that answer no read yet.", float64(c.vnodes.CatchingUp())),
		gauge("hint_stores", "Slots of other nodes for which this node keeps hints.", float64(c.vnodes.Holding())),
		gauge("transfers_driven", "Transfers, hint deliveries and clean-ups that this node drives.", float64(len(c.vnodes.Progress()))),
	}
	metrics = append(metrics, raftMetrics(new(c.meta.Figures()))...)
	metrics = append(metrics, gossipMetrics(new(c.gossip.Figures()))...)
	metrics = append(metrics, c.requestMetrics()...)
	metrics = append(metrics, c.storageMetrics()...)
	metrics = append(metrics, loadMetrics(new(c.vnodes.Load()))...)
	metrics = append(metrics, repairMetrics(c.router.Repairs())...)
	metrics = append(metrics, compareMetrics(c.vnodes.CompareCounts())...)
	return append(metrics, faultMetrics(c.vnodes.FaultCounts())...)
}
