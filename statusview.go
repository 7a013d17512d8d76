package ringcore

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
)

// nodeStatus is the reply to OpStatus: how a node does, as it sees itself.
type nodeStatus struct {
	vnodes.Condition
	Checks []admin.Check `json:"checks,omitempty"` // those that fail
}

// serveStatus answers from a goroutine: counting hints may open their files.
func (c *core) serveStatus(r *dataplane.Request) {
	if r.From == "" {
		r.Reply(wire.Refused, c.epoch(), []byte("only nodes may ask this"))
		return
	}
	answer := func() {
		body, err := json.Marshal(c.ownStatus())
		c.answer(r, body, err)
	}
	if !c.spawn(answer) {
		r.Reply(wire.ShuttingDown, c.epoch(), nil)
	}
}

func (c *core) ownStatus() nodeStatus {
	s := nodeStatus{Condition: c.vnodes.Condition()}
	_, checks := view{c.n}.Ready()
	for _, check := range checks {
		if !check.OK {
			s.Checks = append(s.Checks, check)
		}
	}
	return s
}

// Status is one look at the whole: what raft has committed, who is up, and what each node that is
// up says of itself.
func (v view) Status(ctx context.Context) (admin.StatusView, error) {
	c, err := v.core()
	if err != nil {
		return admin.StatusView{}, err
	}
	st := c.meta.State()
	s := admin.StatusView{ClusterID: st.ClusterID, Epoch: uint64(st.Epoch), Partitions: st.Ring.Q(), Replicas: st.Ring.N}
	for i := range st.Plan {
		s.Staged = append(s.Staged, st.Plan[i].Words(c.name))
	}
	var nodes map[ring.NodeID]nodeStatus
	var asking sync.WaitGroup // as each waits a second for nodes that do not answer
	asking.Go(func() { nodes = askOthers[nodeStatus](ctx, c, wire.OpStatus) })
	s.Transfers, err = v.Transfers(ctx)
	asking.Wait()
	if err != nil {
		return admin.StatusView{}, err
	}
	nodes[c.self.ID] = c.ownStatus()
	if s.Members, err = v.Members(ctx); err != nil {
		return admin.StatusView{}, err
	}
	waits := st.Waits(c.live.Up)
	for _, w := range waits {
		s.Waiting = append(s.Waiting, admin.WaitView{For: c.name(w.Node), Partitions: len(w.Partitions)})
	}
	s.Live = c.alive(st, waits)
	c.addNodes(&s, nodes)
	return s, nil
}

// alive counts the partitions whose replicas do not all live.
func (c *core) alive(st *metadata.State, waits []metadata.Wait) admin.LiveView {
	stay := 0
	for i := range st.Members {
		if st.Members[i].Stays() {
			stay++
		}
	}
	stuck := make(map[ring.Partition]bool)
	for _, w := range waits {
		for _, p := range w.Partitions {
			stuck[p] = true
		}
	}
	due := st.Planned != st.Roster // a target is computed at once
	var all admin.LiveView
	for i := range st.Ring.Assignments {
		p := ring.Partition(i)
		a := admin.Alive{Wanted: min(st.Wanted(), stay), List: len(st.Ring.Assignments[i].Replicas), Moving: (due || st.Moves(p)) && !stuck[p]}
		for _, x := range st.Ring.Assignments[i].Replicas {
			up := c.live.Up(x.Node)
			if up {
				a.Up++
			}
			if !x.CatchingUp {
				a.Readable++
				if up {
					a.Live++
				}
			}
		}
		all.Count(i, a)
	}
	return all
}

// namer puts the names of members in place of their ids.
func (c *core) namer() *strings.Replacer {
	var pairs []string
	for _, m := range c.meta.State().Members {
		pairs = append(pairs, string(m.ID), m.Name)
	}
	return strings.NewReplacer(pairs...)
}

// addNodes enters what the nodes say of themselves, under their names.
func (c *core) addNodes(s *admin.StatusView, nodes map[ring.NodeID]nodeStatus) {
	hints := make(map[ring.NodeID]*admin.HintsView)
	names := c.namer() // vnodes know ids only
	for _, node := range slices.Sorted(maps.Keys(nodes)) {
		name, status := c.name(node), nodes[node]
		for _, h := range status.Hints {
			x := hints[h.For]
			if x == nil {
				x = &admin.HintsView{For: c.name(h.For)}
				hints[h.For] = x
			}
			x.Holders = append(x.Holders, name)
			x.Slots += h.Slots
			x.Records += h.Records
		}
		for _, x := range status.Slots {
			sv := admin.SlotsView{Node: name, Service: x.Service, State: x.State, Reason: names.Replace(x.Reason)}
			for _, p := range x.Partitions {
				sv.Partitions = append(sv.Partitions, int(p))
			}
			s.Slots = append(s.Slots, sv)
		}
		for _, check := range status.Checks {
			s.Checks = append(s.Checks, admin.NodeCheck{Node: name, Check: check})
		}
	}
	for _, x := range hints {
		slices.Sort(x.Holders)
		s.Hints = append(s.Hints, *x)
	}
	slices.SortFunc(s.Hints, func(a, b admin.HintsView) int { return cmp.Compare(a.For, b.For) })
	slices.SortStableFunc(s.Slots, func(a, b admin.SlotsView) int { return cmp.Compare(a.Node, b.Node) })
	slices.SortStableFunc(s.Checks, func(a, b admin.NodeCheck) int { return cmp.Compare(a.Node, b.Node) })
	for _, id := range c.others() {
		if _, said := nodes[id]; !said && c.live.Up(id) {
			s.Silent = append(s.Silent, c.name(id))
		}
	}
	slices.Sort(s.Silent)
}
