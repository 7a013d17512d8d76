package vnodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// confirmed asks the nodes that serve p by ring r whether they do. All that are up
// must say yes, at least one; and those to which a session of this node has given
// the slot must be up.
func (m *Manager) confirmed(ctx context.Context, svc *service, r *ring.Ring, p ring.Partition) error {
	heirs, err := m.heirs(svc, r, p)
	if err != nil {
		return err
	}
	yes := 0
	for _, x := range r.Replicas(p, svc.replicas(r)) {
		up := m.cfg.Up(x.Node)
		if _, heir := heirs[x.Node]; heir && !up {
			return fmt.Errorf("%s is down, which has taken it over", x.Node)
		}
		if x.CatchingUp || !up {
			continue
		}
		if err := m.confirm(ctx, svc, r, p, x.Node); err != nil {
			return fmt.Errorf("%s: %w", x.Node, err)
		}
		yes++
	}
	if yes == 0 {
		return errors.New("no node that serves the partition is up")
	}
	return nil
}

// heirs are the nodes to which sessions of this node have given its slot of p.
func (m *Manager) heirs(svc *service, r *ring.Ring, p ring.Partition) (map[ring.NodeID]struct{}, error) {
	notes, err := m.journal.Sessions()
	if err != nil {
		return nil, err
	}
	all := make(map[ring.NodeID]struct{})
	for _, n := range notes {
		s := &n.Session
		if n.State == noteProposed && s.Partition == p && s.Kind != ring.StepDrop && s.moves(svc.replicas(r)) {
			all[s.To] = struct{}{}
		}
	}
	return all, nil
}

// confirm asks one node. An answer that knows of a newer ring brings it here.
func (m *Manager) confirm(ctx context.Context, svc *service, r *ring.Ring, p ring.Partition, node ring.NodeID) error {
	body, err := json.Marshal(confirmOpen{Services: []string{svc.Name}})
	if err != nil {
		return err
	}
	pp, err := m.dialPipe(ctx, node, wire.OpConfirm, p, r.Gen(p))
	if err != nil {
		return err
	}
	defer pp.close()
	_, err = pp.ask(0, body, 5*time.Second)
	if e, ok := errors.AsType[*wire.Error](err); ok && e.Code == wire.Stale {
		fctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		err = errors.Join(err, m.fetch(fctx, ring.Epoch(e.Epoch)))
	}
	return err
}

// serveConfirm answers OK if this node serves the partition with verified data, at
// the very gen that the asker knows: one that knows an older or newer list may be
// wrong about whose copy is to go.
func (m *Manager) serveConfirm(ctx context.Context, answer *answerer, f *wire.Frame) {
	answer.give(f, nil, m.serves(ctx, f))
}

func (m *Manager) serves(ctx context.Context, f *wire.Frame) error {
	var open confirmOpen
	if err := json.Unmarshal(f.Body, &open); err != nil {
		return wire.Errorf(wire.BadRequest, "%v", err)
	}
	if err := m.passed(wire.TargetConfirming); err != nil {
		return err
	}
	fctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := m.fetch(fctx, ring.Epoch(f.Epoch)); err != nil {
		return err
	}
	p := ring.Partition(f.Partition)
	if have := uint64(m.ring().Gen(p)); have != f.Gen {
		return wire.Errorf(wire.Stale, "gen %d is in force here, not %d", have, f.Gen)
	}
	for _, name := range open.Services {
		svc := m.services[wire.ServiceID(name)]
		if svc == nil {
			return wire.Errorf(wire.Refused, "service %s is not registered on this node", name)
		}
		v, werr := m.openSlot(svc, p, 0)
		if werr != nil {
			return werr
		}
		v.do(func(*vnode) {}) // a new gate may be on its way
		if now := v.gate.Load().phase; now != serving && now != sealed && now != recovering {
			return wire.Errorf(wire.Unavailable, "service %s does not serve here yet", name)
		}
		if m.damagedHere(v.id) {
			return wire.Errorf(wire.Unavailable, "service %s: this copy is damaged", name)
		}
		if err := v.check(); err != nil {
			return err
		}
	}
	return nil
}
