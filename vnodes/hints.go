package vnodes

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// hintTick is how often a node looks whether those it holds hints for are back, if
// nobody tells, and whether what it has noted of other holders is over. A node whose
// slots wait asks twice as often whether their hints have come.
const hintTick = 100 * time.Millisecond

// deliveries is how many hint stores are on their way at a time.
const deliveries = 8

// fullPause is how long a node whose disk is full is left alone with hints.
const fullPause = time.Second

// hintVnode is the vnode that stands in for node's slot of p; nil if there is
// none and create is false. A new one needs a claim: else the error is errUnclaimed.
func (m *Manager) hintVnode(svc *service, p ring.Partition, node ring.NodeID, create bool) (*vnode, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := vnodeID{service: svc.id, partition: p, fallback: node}
	if v := m.hints[id]; v != nil {
		return v, nil
	}
	if !create {
		return nil, nil
	}
	if !validNode(node) || node == m.node {
		return nil, wire.Errorf(wire.BadRequest, "a fallback needs another node to stand in for, not %q", node)
	}
	if m.retired.Load() {
		return nil, wire.Errorf(wire.Unavailable, "this node is leaving and keeps nothing for others")
	}
	if m.ctx.Err() != nil {
		return nil, wire.Errorf(wire.ShuttingDown, "the node is stopping")
	}
	if c := m.claims[node]; c == nil || !holdsSlot(c, id) {
		return nil, errUnclaimed
	}
	name := hintFile(svc, p, node)
	ident := m.identity(svc, p, node)
	st := &slotStore{
		name: name,
		saw:  m.sawFault(id),
		open: func() (Store, error) {
			st, err := m.storage.Open(ident, name)
			if err == nil {
				m.follow(svc, st.MaxTime())
			}
			return st, err
		},
		create: func() (Store, error) { return m.storage.Create(ident, name) },
	}
	v := newVnode(m, svc, id, name, st, gate{gen: math.MaxUint64})
	m.hints[id] = v
	return v, nil
}

// deliverHints hands hints to their owners as soon as these are up, until Close.
func (m *Manager) deliverHints() {
	var changed <-chan struct{}
	for {
		if m.cfg.UpChanged != nil {
			changed = m.cfg.UpChanged()
		}
		m.startDeliveries()
		select {
		case <-changed:
		case <-m.handing:
		case <-time.After(hintTick):
		case <-m.ctx.Done():
			return
		}
	}
}

// startDeliveries starts a driver for each hint store that has somebody to go to,
// deliveries at a time.
func (m *Manager) startDeliveries() {
	m.mu.Lock()
	free := deliveries
	for _, d := range m.drivers {
		if d.session.Kind == kindHinted {
			free--
		}
	}
	var due []*vnode
	for _, v := range m.hints {
		due = append(due, v)
	}
	m.mu.Unlock()
	for _, v := range due {
		if free <= 0 {
			return // whoever is done prods
		}
		to, mode := m.hintTarget(v)
		if to == "" {
			continue
		}
		step := ring.Step{Kind: kindHinted, Partition: v.id.partition, From: m.node, To: to}
		begun := m.drive(deliveryKey(v.id), Session{Step: step, Service: v.svc.Name}, func(ctx context.Context, d *driver) {
			err := m.deliver(ctx, d, v, mode)
			if err == nil {
				return
			}
			m.log.Debug("hints not delivered yet", "partition", v.id.partition, "to", to, "err", err)
			wait := hintTick
			if asError(err).Code == wire.DiskFull {
				wait = fullPause
			}
			pause(ctx, wait)
		})
		if begun {
			free--
		}
	}
}

// hintTarget says where the hints of v can go now: to their owner; to a node that
// has the slot since, if the owner has lost it; when this node leaves, to another
// fallback.
func (m *Manager) hintTarget(v *vnode) (ring.NodeID, handoffMode) {
	r := m.rings.Ring()
	p, owner := v.id.partition, v.id.fallback
	if within(r.Place(p, owner), v.svc.replicas(r)) {
		if m.cfg.Up(owner) {
			return owner, modeHints
		}
		if m.transfers.Leaving() {
			for _, other := range m.transfers.Keepers() {
				if other != owner && m.cfg.Up(other) {
					return other, modeKeep
				}
			}
		}
		return "", ""
	}
	for _, x := range r.Replicas(p, v.svc.replicas(r)) {
		if m.cfg.Up(x.Node) {
			return x.Node, modeHints
		}
	}
	return "", ""
}

// deliver sends all hints of v, and drops them if none has come meanwhile.
func (m *Manager) deliver(ctx context.Context, d *driver, v *vnode, mode handoffMode) error {
	to := d.session.To
	d.enter("fold")
	if to == m.node {
		return m.deliverHere(ctx, d, v)
	}
	body, err := json.Marshal(handoffOpen{Mode: mode, Services: []string{v.svc.Name}, For: v.id.fallback})
	if err != nil {
		return err
	}
	pp, err := m.dialPipe(ctx, to, wire.OpHandoff, v.id.partition, 0)
	if err != nil {
		return err
	}
	defer pp.close() // every chunk has been answered or does not count
	if _, err := pp.ask(0, body, pipeTimeout); err != nil {
		return err
	}
	return m.drain(ctx, d, v, func(writes []Write) error { return pp.chunk(v.svc.id, AppendWrites(nil, writes)) }, func() error {
		_, err := pp.ask(wire.FlagLast, nil, pipeTimeout)
		return err
	})
}

// deliverHere merges hints into this node's own slot: it has become a replica.
func (m *Manager) deliverHere(ctx context.Context, d *driver, v *vnode) error {
	return m.drain(ctx, d, v, func(writes []Write) error {
		own, err := m.openSlot(v.svc, v.id.partition, 0)
		if err != nil {
			return err
		}
		return own.mergeWait(writes)
	}, func() error { return nil })
}

// drain sends the records of a hint store until nothing new has come since the
// last pass, then drops it. Sending a record twice does no harm.
func (m *Manager) drain(ctx context.Context, d *driver, v *vnode, send func([]Write) error, finish func() error) error {
	for dropped := false; !dropped; {
		before := v.store.Digest() // of what is durable, and sent, in a moment
		if err := v.store.Sync(); err != nil {
			return err
		}
		d.total.Store(d.records.Load() + before.Records)
		b := batch{limit: m.cfg.ChunkBytes, flush: func(writes []Write) error {
			if !m.hintRate.pass(ctx, bytesOf(writes)) {
				return ctx.Err()
			}
			if err := send(writes); err != nil {
				return err
			}
			d.moved(writes)
			return nil
		}}
		if err := v.store.Ascend(nil, b.add); err != nil {
			return err
		}
		if err := b.end(); err != nil {
			return err
		}
		if err := finish(); err != nil {
			return err
		}
		dropped = m.dropHints(v, before)
	}
	m.log.Info("hints delivered", "service", v.svc.Name, "partition", v.id.partition, "for", v.id.fallback,
		"to", d.session.To, "items", d.records.Load(), "elapsed", m.now().Sub(d.begun))
	return nil
}

// dropHints ends the hint vnode if its store is as it was before. It stays in the
// list until its file is gone, so that a new one never meets the old one's file.
func (m *Manager) dropHints(v *vnode, before Digest) bool {
	same := false
	v.do(func(v *vnode) {
		if same = v.store.Digest() == before; same {
			v.setGate(gate{phase: gone, gen: math.MaxUint64}) // what comes now is answered MOVED and planned anew
		}
	})
	if !same {
		return false
	}
	v.stop()
	if err := v.store.Drop(); err != nil {
		m.log.Warn("hint file not removed", "service", v.svc.Name, "partition", v.id.partition, "err", err)
	}
	m.mu.Lock()
	delete(m.hints, v.id)
	m.claimOf(v.id.fallback).unhold(v.id)
	m.mu.Unlock()
	return true
}

func validNode(node ring.NodeID) bool {
	_, err := strconv.ParseUint(string(node), 16, 64)
	return err == nil && len(node) == 16
}

// keepHints merges writes into the hints for node's slot of p, and waits until they
// are durable.
func (m *Manager) keepHints(svc *service, p ring.Partition, node ring.NodeID, writes []Write) error {
	v, err := m.hintVnode(svc, p, node, true)
	if errors.Is(err, errUnclaimed) {
		if err := m.awaitClaim(vnodeID{service: svc.id, partition: p, fallback: node}); err != nil {
			return err
		}
		v, err = m.hintVnode(svc, p, node, true)
	}
	if err != nil {
		return err
	}
	return v.mergeWait(writes)
}

// Holding counts the hint stores that this node keeps for others.
func (m *Manager) Holding() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.hints)
}
