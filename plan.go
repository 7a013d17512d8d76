package ringcore

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
)

// Join makes the node a member of another cluster, now or with that one's plan.
func (v view) Join(ctx context.Context, req admin.JoinRequest) error {
	if req.Commit {
		return v.n.Join(ctx, req.Seed, req.Discard)
	}
	return v.n.StageJoin(ctx, req.Seed, req.Discard)
}

// Change stages a change, or has it take place at once.
func (v view) Change(ctx context.Context, req admin.ChangeRequest) (string, error) {
	c, err := v.n.serving()
	if err != nil {
		return "", err
	}
	change, err := c.changeOf(ctx, &req)
	if err != nil {
		return "", err
	}
	if req.Commit && !req.AcceptLoss {
		if err := c.refuseLoss(ctx, change); err != nil {
			return "", err
		}
	}
	cmd := metadata.Stage(change)
	switch {
	case req.Commit && change.Kind == metadata.ChangeLeave:
		cmd = metadata.Leave(change.Node) // asking twice is no error
	case req.Commit:
		cmd = metadata.Make(change)
	}
	if err := c.meta.Propose(ctx, cmd); err != nil {
		return "", err
	}
	return c.meta.State().PlanHash(), nil
}

// namesTold is how many members an error names at most.
const namesTold = 10

// member is the member of that name or id.
func (c *core) member(name string) (metadata.Member, error) {
	st := c.meta.State()
	m, ok := st.MemberByName(name)
	if !ok {
		m, ok = st.Member(NodeID(name))
	}
	if !ok {
		return m, c.noMember(wire.Refused, name)
	}
	return m, nil
}

// noMember says that nobody is called name, and who there is.
func (c *core) noMember(code wire.Code, name string) error {
	var names []string
	for _, m := range c.meta.State().Members {
		if !m.Gone() {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	if more := len(names) - namesTold; more > 0 {
		names = append(names[:namesTold], fmt.Sprintf("and %d more", more))
	}
	return wire.Errorf(code, "no member is called %s: there are %s", name, strings.Join(names, ", "))
}

// changeOf makes the change that is asked for, and refuses what only a node can judge:
// whether others can be reached, and what the services need.
func (c *core) changeOf(ctx context.Context, req *admin.ChangeRequest) (metadata.Change, error) {
	if req.Replicas != nil {
		if err := c.vnodes.CheckReplicas(*req.Replicas); err != nil {
			return metadata.Change{}, wire.Errorf(wire.Refused, "%d replicas: %v", *req.Replicas, err)
		}
		return metadata.Change{Kind: metadata.ChangeReplicas, Number: *req.Replicas}, nil
	}
	name := req.Node
	if req.Old != "" {
		name = req.Old
	}
	m, err := c.member(name)
	if err != nil {
		return metadata.Change{}, err
	}
	change := metadata.Change{Kind: metadata.ChangeKind(req.Kind), Node: m.ID}
	if req.Stopped != nil {
		change.Stopped = *req.Stopped
	} else {
		change.Stopped = change.Forces() && !c.live.Up(m.ID)
	}
	switch {
	case req.Weight != nil:
		change.Kind, change.Number = metadata.ChangeWeight, *req.Weight
	case req.Zone != nil:
		change.Kind, change.Zone = metadata.ChangeZone, *req.Zone
	case req.New != "":
		heir, err := c.member(req.New)
		if err != nil {
			return metadata.Change{}, err
		}
		change.New = heir.ID
	}
	return c.judge(ctx, change, &m)
}

// answers reports whether a member answers now: liveness alone may be a moment old, or
// older, where there was nothing to ask.
func (c *core) answers(ctx context.Context, id NodeID) bool {
	if id == c.self.ID {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := c.peers.Call(ctx, id, wire.Header{Op: wire.OpProgress}, nil)
	return err == nil
}

// judge holds a change against whether m, which it is about, can be reached.
func (c *core) judge(ctx context.Context, change metadata.Change, m *metadata.Member) (metadata.Change, error) {
	up := false
	switch change.Kind {
	case metadata.ChangeDown, metadata.ChangeForceRemove, metadata.ChangeForceReplace, metadata.ChangeReplace:
		up = c.answers(ctx, m.ID)
	}
	switch change.Kind {
	case metadata.ChangeDown:
		if up {
			return change, wire.Errorf(wire.Refused, "%s answers, so it is not down: stop it first, or let it leave", m.Name)
		}
	case metadata.ChangeForceRemove, metadata.ChangeForceReplace:
		if up {
			return change, wire.Errorf(wire.Refused, "%s answers: let it leave, or be replaced, so that it hands over what it has; or stop it first", m.Name)
		}
	case metadata.ChangeReplace:
		if !up && !change.Stopped {
			return change, wire.Errorf(wire.Refused, "%s cannot be reached and cannot hand over: start it; or, if it is lost, say that it is stopped and stays so (--stopped): "+
				"then what it had is rebuilt from the other replicas, as by force-replace", m.Name)
		}
		if !up {
			change.Kind = metadata.ChangeForceReplace
		}
	}
	if !change.Forces() {
		change.Stopped = false
	}
	return change, nil
}

// CommitPlan has the staged plan take place.
func (v view) CommitPlan(ctx context.Context, hash string) error {
	c, err := v.n.serving()
	if err != nil {
		return err
	}
	for _, change := range c.meta.State().Plan {
		if m, ok := c.meta.State().Member(change.Node); ok {
			if _, err := c.judge(ctx, change, &m); err != nil {
				return err // it is back, or gone, since it was staged
			}
		}
	}
	return c.meta.Propose(ctx, metadata.CommitPlan(hash))
}

// ClearPlan forgets the staged plan.
func (v view) ClearPlan(ctx context.Context) error {
	c, err := v.n.serving()
	if err != nil {
		return err
	}
	return c.meta.Propose(ctx, metadata.ClearPlan())
}

// Plan tells what the staged changes would do. What moves is sized by asking the nodes
// that hold it.
func (v view) Plan(ctx context.Context) (admin.PlanView, error) {
	c, err := v.core()
	if err != nil {
		return admin.PlanView{}, err
	}
	st := c.meta.State()
	s := sizes{services: c.vnodes.Replicas(), n: ring.MaxReplicas, ring: st.Ring, of: map[ring.NodeID]nodeSizes{}}
	if len(st.Plan) > 0 || !st.Settled() {
		s.of = askOthers[nodeSizes](ctx, c, wire.OpSizes)
		s.of[c.self.ID] = c.vnodes.Sizes()
	}
	up := func(id ring.NodeID) bool { return id == c.self.ID || c.live.Up(id) }
	facts := metadata.Facts{Up: up, Size: s.step, Services: s.services}
	if slices.ContainsFunc(st.Plan, func(x metadata.Change) bool { return x.Forces() }) {
		facts.Lacks = c.lacking(ctx)
	}
	o, err := metadata.Foresee(st, facts)
	if err != nil {
		return admin.PlanView{}, err
	}
	return c.planView(o, up), nil
}

func (c *core) planView(o *metadata.Outlook, up func(ring.NodeID) bool) admin.PlanView {
	pv := admin.PlanView{Plan: o.Hash, Warnings: o.Warnings, LosesData: len(o.Losses) > 0}
	nameIf := func(id ring.NodeID) string {
		if id == "" {
			return ""
		}
		return c.name(id)
	}
	for _, x := range o.Changes {
		pc := admin.PlanChange{Kind: string(x.Kind), Node: nameIf(x.Node), New: nameIf(x.New), Zone: x.Zone, About: x.Words(c.name)}
		switch x.Kind {
		case metadata.ChangeWeight:
			pc.Weight = x.Number
		case metadata.ChangeReplicas:
			pc.Replicas = x.Number
		}
		pv.Changes = append(pv.Changes, pc)
	}
	for _, m := range o.Members {
		pv.Members = append(pv.Members, admin.PlanMember{
			Name: m.Name, ID: string(m.ID), Up: up(m.ID),
			Now:  admin.PlanSide{Status: string(m.Status), Zone: m.Zone, Weight: m.Weight, Owned: m.Now.Owned, Slots: m.Now.Slots, Share: percent(m.ShareNow)},
			Then: admin.PlanSide{Status: string(m.StatusThen), Zone: m.ZoneThen, Weight: m.WeightThen, Owned: m.Then.Owned, Slots: m.Then.Slots, Share: percent(m.ShareThen)},
		})
	}
	for _, t := range o.Transfers {
		pt := admin.PlannedTransfer{Kind: string(t.Kind), From: nameIf(t.From), To: nameIf(t.To), Partitions: t.Partitions}
		if t.Size != nil {
			pt.Records, pt.Bytes = &t.Size.Records, &t.Size.Bytes
		}
		pv.Transfers = append(pv.Transfers, pt)
	}
	return pv
}

func percent(share float64) float64 { return math.Round(1000*share) / 10 }

// nodeSizes is the JSON reply of OpSizes: by service and partition.
type nodeSizes map[string]map[ring.Partition]vnodes.SlotSize

// serveSizes answers OpSizes from a goroutine: files may have to be opened.
func (c *core) serveSizes(r *dataplane.Request) {
	started := c.spawn(func() {
		body, err := json.Marshal(nodeSizes(c.vnodes.Sizes()))
		c.answer(r, body, err)
	})
	if !started {
		r.Reply(wire.ShuttingDown, c.epoch(), nil)
	}
}

// sizes is what the nodes that answered hold.
type sizes struct {
	services map[string]int // replicas; 0: n
	n        int
	ring     *ring.Ring
	of       map[ring.NodeID]nodeSizes
}

// step is how much a step brings: what the source has, or the first replica that tells,
// of the services that it concerns.
func (s *sizes) step(step ring.Step) (metadata.Size, bool) {
	var sum metadata.Size
	for name, n := range s.services {
		if n == 0 {
			n = s.n
		}
		if step.Slot >= n || step.Kind == ring.StepSwap && step.Other < n {
			continue // its records are not there, or with both already
		}
		size, ok := s.held(name, n, step)
		if !ok {
			return sum, false
		}
		sum.Records += size.Records
		sum.Bytes += size.Bytes
	}
	return sum, true
}

func (s *sizes) held(service string, n int, step ring.Step) (vnodes.SlotSize, bool) {
	if step.From != "" {
		size, ok := s.of[step.From][service][step.Partition]
		return size, ok
	}
	for _, x := range s.ring.Replicas(step.Partition, n) {
		if size, ok := s.of[x.Node][service][step.Partition]; ok {
			return size, true
		}
	}
	return vnodes.SlotSize{}, false
}
