package vnodes

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// hintTick is how often a node looks whether those it holds hints for are back,
// and how often a restarted node asks whether its hints have all come.
const hintTick = 100 * time.Millisecond

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
	if node == "" || node == m.node {
		return nil, wire.Errorf(wire.BadRequest, "a fallback needs another node to stand in for")
	}
	if m.ctx.Err() != nil {
		return nil, wire.Errorf(wire.ShuttingDown, "the node is stopping")
	}
	name := hintFile(svc, p, node)
	ident := m.identity(svc, p, node)
	st := &slotStore{
		name: name,
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

// findHints opens the hint files that an earlier run has left.
func (m *Manager) findHints() error {
	if err := m.removeStaging(); err != nil {
		return fmt.Errorf("remove stale staging files: %w", err)
	}
	names, err := m.storage.List()
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	for _, name := range names {
		service, file, ok := strings.Cut(name, "/hints/")
		svc := m.services[wire.ServiceID(service)]
		if !ok || svc == nil {
			continue
		}
		var p int
		stem, node, _ := strings.Cut(strings.TrimSuffix(file, ".bolt"), ".")
		if _, err := fmt.Sscanf(stem, "p%d", &p); err != nil {
			continue
		}
		if _, err := m.hintVnode(svc, ring.Partition(p), ring.NodeID(node), true); err != nil {
			return fmt.Errorf("open hints %s: %w", name, err)
		}
	}
	return nil
}

// heldHint says that a node holds hints.
type heldHint struct {
	Service   string         `json:"service"`
	Partition ring.Partition `json:"partition"`
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
		if id.fallback == node && v.store.Digest().Records > 0 {
			held = append(held, heldHint{Service: v.svc.Name, Partition: id.partition})
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
			step := ring.Step{Kind: "hinted", Partition: v.id.partition, From: m.node, To: to}
			m.drive(key, Session{Step: step}, func(ctx context.Context, d *driver) {
				if err := m.deliver(ctx, d, v, mode); err != nil {
					m.log.Debug("hints not delivered yet", "partition", v.id.partition, "to", to, "err", err)
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
			for _, other := range m.transfers.Others() {
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
	pp, err := m.dialPipe(ctx, to, v.id.partition, 0)
	if err != nil {
		return err
	}
	defer pp.st.Close() //nolint:errcheck // every chunk has been answered or does not count
	stop := context.AfterFunc(ctx, func() { _ = pp.st.Close() })
	defer stop()
	body, err := json.Marshal(handoffOpen{Mode: mode, Services: []string{v.svc.Name}, For: v.id.fallback})
	if err != nil {
		return err
	}
	if err := pp.ask(0, body, pipeTimeout); err != nil {
		return err
	}
	return m.drain(d, v, func(writes []Write) error { return pp.chunk(v.svc.id, writes) },
		func() error { return pp.ask(wire.FlagLast, nil, pipeTimeout) })
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
		if err := v.store.Sync(); err != nil {
			return err
		}
		before := v.store.Digest()
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

// dropHints ends the hint vnode if its store is as it was before.
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
	m.mu.Lock()
	delete(m.hints, v.id)
	m.mu.Unlock()
	v.stop()
	if err := v.store.Drop(); err != nil {
		m.log.Warn("hint file not removed", "service", v.svc.Name, "partition", v.id.partition, "err", err)
	}
	return true
}

// awaitOthers keeps this node's slots from answering until the other members
// have said for which of them they hold hints, and those have come. With memory
// storage the slots must catch up besides. Called once, before the first install.
func (m *Manager) awaitOthers(r *ring.Ring) {
	for _, svc := range m.services {
		n := svc.replicas(r)
		for p := range r.Assignments {
			p := ring.Partition(p)
			if !within(r.Place(p, m.node), n) {
				continue
			}
			id := vnodeID{service: svc.id, partition: p}
			m.waiting[id] = struct{}{}
			if m.cfg.Memory && n > 1 {
				m.catchUps[id] = struct{}{}
			}
		}
	}
}

// askForHints asks all members until none of those that answer holds hints for
// this node, and lets each slot serve as soon as its hints have come.
func (m *Manager) askForHints() {
	for {
		held, known := m.heldForMe()
		m.releaseWaiting(held)
		if !known || len(held) == 0 {
			break
		}
		if !pause(m.ctx, hintTick/2) {
			return
		}
	}
	m.catchUpFromOthers()
}

// heldForMe is the union of what the members that can be reached hold for this node.
func (m *Manager) heldForMe() (held map[vnodeID]struct{}, answered bool) {
	type answer struct {
		held []heldHint
		err  error
	}
	others := m.transfers.Others()
	answers := make(chan answer, len(others))
	for _, node := range others {
		if !m.spawn(func() {
			ctx, cancel := context.WithTimeout(m.ctx, time.Second)
			defer cancel()
			h, err := m.askHeld(ctx, node)
			answers <- answer{h, err}
		}) {
			answers <- answer{err: ErrClosed}
		}
	}
	held = make(map[vnodeID]struct{})
	for range others {
		a := <-answers
		answered = answered || a.err == nil
		for _, h := range a.held {
			held[vnodeID{service: wire.ServiceID(h.Service), partition: h.Partition}] = struct{}{}
		}
	}
	return held, answered
}

func (m *Manager) askHeld(ctx context.Context, node ring.NodeID) ([]heldHint, error) {
	st, err := m.cfg.Dialer.Dial(ctx, node)
	if err != nil {
		return nil, err
	}
	defer st.Close() //nolint:errcheck // it has said what it had to say
	if d, ok := ctx.Deadline(); ok {
		if err := st.SetDeadline(d); err != nil {
			return nil, err
		}
	}
	h := wire.Header{Kind: wire.KindRequest, Op: wire.OpHintsFor, ID: 1, Epoch: m.epoch()}
	if err := st.WriteFrame(&h, []byte(m.node)); err != nil {
		return nil, err
	}
	if err := st.Flush(); err != nil {
		return nil, err
	}
	f, err := st.ReadFrame()
	if err != nil {
		return nil, err
	}
	if f.Code != wire.OK {
		return nil, &wire.Error{Code: f.Code, Message: string(f.Body)}
	}
	var held []heldHint
	return held, json.Unmarshal(f.Body, &held)
}

// releaseWaiting lets the waiting slots serve that nobody holds hints for.
func (m *Manager) releaseWaiting(held map[vnodeID]struct{}) {
	m.mu.Lock()
	var free []vnodeID
	for id := range m.waiting {
		if _, more := held[id]; !more {
			delete(m.waiting, id)
			free = append(free, id)
		}
	}
	r := m.installed
	m.mu.Unlock()
	for _, id := range free {
		m.reopen(id, r)
	}
}

// reopen gives an open vnode the gate that it has without what it waited for.
func (m *Manager) reopen(id vnodeID, r *ring.Ring) {
	svc := m.services[id.service]
	if v := svc.vnodes[id.partition].Load(); v != nil {
		m.regate(v, svc, r, id.partition)
	}
}

// catchUpFromOthers fills the slots of a restarted node with memory storage from
// the other replicas. A slot that no other replica can fill begins empty.
func (m *Manager) catchUpFromOthers() {
	m.mu.Lock()
	r := m.installed
	byPartition := make(map[ring.Partition][]*service)
	for id := range m.catchUps {
		byPartition[id.partition] = append(byPartition[id.partition], m.services[id.service])
	}
	m.mu.Unlock()
	for p, services := range byPartition {
		d := &driver{session: Session{Step: ring.Step{Kind: "catch-up", Partition: p, To: m.node}}, begun: m.now()}
		for attempt := 0; attempt < 10; attempt++ {
			err := m.pullAll(m.ctx, d, services)
			if err == nil || m.ctx.Err() != nil {
				break
			}
			m.log.Debug("slot not caught up yet", "partition", p, "err", err)
			if asError(err).Code == wire.NotReadable || !pause(m.ctx, hintTick) {
				break // the others have started empty too
			}
		}
		for _, svc := range services {
			id := vnodeID{service: svc.id, partition: p}
			m.mu.Lock()
			delete(m.catchUps, id)
			m.mu.Unlock()
			m.reopen(id, r)
		}
	}
}

// Holding counts the hint stores that this node keeps for others.
func (m *Manager) Holding() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.hints)
}
