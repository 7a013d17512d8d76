package vnodes

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// hintTick is how often a node looks whether those it holds hints for are back,
// and how often a restarted node asks whether its hints have all come.
const hintTick = 100 * time.Millisecond

// fullPause is how long a node whose disk is full is left alone with hints.
const fullPause = time.Second

// hintVnode is the vnode that stands in for node's slot of p; nil if there is
// none and create is false.
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
	if _, err := strconv.ParseUint(string(node), 16, 64); err != nil || len(node) != 16 || node == m.node {
		return nil, wire.Errorf(wire.BadRequest, "a fallback needs another node to stand in for, not %q", node)
	}
	if m.retired.Load() {
		return nil, wire.Errorf(wire.Unavailable, "this node is leaving and keeps nothing for others")
	}
	if m.ctx.Err() != nil {
		return nil, wire.Errorf(wire.ShuttingDown, "the node is stopping")
	}
	name := hintFile(svc, p, node)
	ident := m.identity(svc, p, node)
	st := &slotStore{
		name: name,
		saw:  m.sawFault(id),
		open: func() (Store, error) {
			st, err := m.storage.Open(ident, name)
			if err == nil {
				m.clock.ObserveTrusted(st.MaxTime())
			}
			return st, err
		},
		create: func() (Store, error) { return m.storage.Create(ident, name) },
	}
	v := newVnode(m, svc, id, name, st, gate{gen: math.MaxUint64})
	m.hints[id] = v
	return v, nil
}

// heldHint says that a node holds hints.
type heldHint struct {
	Service   string         `json:"service"`
	Partition ring.Partition `json:"partition"`
	Damaged   bool           `json:"damaged,omitempty"` // some of them cannot be read: they will not come
}

// serveHintsFor lists the hints that this node holds for the node named in the body.
func (m *Manager) serveHintsFor(answer *answerer, f *wire.Frame) {
	body, err := json.Marshal(m.hintsFor(ring.NodeID(f.Body)))
	if err != nil {
		answer.fail(f, err)
		return
	}
	if err := answer.ok(f, body); err != nil {
		m.log.Debug("stream broke", "err", err)
	}
}

func (m *Manager) hintsFor(node ring.NodeID) []heldHint {
	m.mu.Lock()
	defer m.mu.Unlock()
	var held []heldHint
	for id, v := range m.hints {
		if id.fallback != node {
			continue
		}
		damaged := v.check() != nil || m.faults.has(v.name)
		if damaged || v.store.Digest().Records > 0 {
			held = append(held, heldHint{Service: v.svc.Name, Partition: id.partition, Damaged: damaged})
		}
	}
	return held
}

// deliverHints hands hints to their owners as soon as these are up, until Close.
func (m *Manager) deliverHints() {
	for pause(m.ctx, hintTick) {
		m.mu.Lock()
		due := make([]*vnode, 0, len(m.hints))
		for _, v := range m.hints {
			due = append(due, v)
		}
		m.mu.Unlock()
		for _, v := range due {
			to, mode := m.hintTarget(v)
			if to == "" {
				continue
			}
			key := fmt.Sprintf("hint-%d-%d-%s", v.id.service, v.id.partition, v.id.fallback)
			step := ring.Step{Kind: kindHinted, Partition: v.id.partition, From: m.node, To: to}
			m.drive(key, Session{Step: step}, func(ctx context.Context, d *driver) {
				if err := m.deliver(ctx, d, v, mode); err != nil {
					m.log.Debug("hints not delivered yet", "partition", v.id.partition, "to", to, "err", err)
					if asError(err).Code == wire.DiskFull {
						pause(ctx, fullPause)
					}
				}
			})
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
		return m.deliverHere(d, v)
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
	return m.drain(d, v, func(writes []Write) error { return pp.chunk(v.svc.id, writes) }, func() error {
		_, err := pp.ask(wire.FlagLast, nil, pipeTimeout)
		return err
	})
}

// deliverHere merges hints into this node's own slot: it has become a replica.
func (m *Manager) deliverHere(d *driver, v *vnode) error {
	return m.drain(d, v, func(writes []Write) error {
		own, err := m.openSlot(v.svc, v.id.partition, 0)
		if err != nil {
			return err
		}
		return own.mergeWait(writes)
	}, func() error { return nil })
}

// drain sends the records of a hint store until nothing new has come since the
// last pass, then drops it. Sending a record twice does no harm.
func (m *Manager) drain(d *driver, v *vnode, send func([]Write) error, finish func() error) error {
	for dropped := false; !dropped; {
		before := v.store.Digest() // of what is durable, and sent, in a moment
		if err := v.store.Sync(); err != nil {
			return err
		}
		d.total.Store(before.Records)
		b := batch{limit: m.cfg.ChunkBytes, flush: func(writes []Write) error {
			d.records.Add(int64(len(writes)))
			return send(writes)
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
	m.mu.Unlock()
	return true
}

// Holding counts the hint stores that this node keeps for others.
func (m *Manager) Holding() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.hints)
}
