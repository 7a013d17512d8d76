package vnodes

import (
	"context"
	"encoding/json"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// comparesServed is how many comparisons that others drive this node takes part in
// at a time.
const comparesServed = 4

// serveCompare is the other side of a comparison.
func (m *Manager) serveCompare(ctx context.Context, answer *answerer, first *wire.Frame) {
	if m.compares.served.Add(1) > comparesServed {
		m.compares.served.Add(-1)
		answer.fail(first, wire.Errorf(wire.Overload, "this node takes part in %d comparisons already", comparesServed))
		return
	}
	defer m.compares.served.Add(-1)
	v, err := m.admitCompare(ctx, first)
	if err != nil {
		answer.fail(first, err)
		return
	}
	if err := answer.ok(first, nil); err != nil {
		return
	}
	for {
		if err := answer.st.SetDeadline(time.Now().Add(2 * pipeTimeout)); err != nil {
			return
		}
		f, err := answer.st.ReadFrame()
		if err != nil {
			return // the driver has what it wanted
		}
		body, err := m.answerCompare(v, first.Gen, &f)
		if err != nil {
			answer.fail(&f, err)
			return
		}
		m.compares.rate.take(ctx, len(f.Body)+len(body))
		if err := answer.ok(&f, body); err != nil {
			return
		}
	}
}

// admitCompare finds the vnode that is to be compared. This node acts on the
// driver's ring from now on: it knows the floors that came with it, for good.
func (m *Manager) admitCompare(ctx context.Context, first *wire.Frame) (*vnode, error) {
	var open compareOpen
	if err := json.Unmarshal(first.Body, &open); err != nil {
		return nil, wire.Errorf(wire.BadRequest, "compare: %v", err)
	}
	svc := m.services[wire.ServiceID(open.Service)]
	if svc == nil {
		return nil, wire.Errorf(wire.Refused, "service %s is not registered on this node", open.Service)
	}
	fctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := m.fetch(fctx, ring.Epoch(first.Epoch)); err != nil {
		return nil, err
	}
	if err := m.hold(m.ring().Epoch); err != nil {
		return nil, err
	}
	p := ring.Partition(first.Partition)
	if m.leads(p, open.From) {
		return nil, wire.Errorf(wire.Overload, "this node compares partition %d itself", p)
	}
	return m.comparable(svc, p, first.Gen)
}

// leads reports whether this node drives a comparison of p and comes before node in
// the list: of two that begin at the same time one goes on.
func (m *Manager) leads(p ring.Partition, node ring.NodeID) bool {
	r := m.ring()
	m.compares.mu.Lock()
	defer m.compares.mu.Unlock()
	return m.compares.busy[p] && r.Place(p, m.node) < r.Place(p, node)
}

// comparable is the slot's vnode, if its records at gen are whole and stay where
// they are; all that it has accepted before is durable then.
func (m *Manager) comparable(svc *service, p ring.Partition, gen uint64) (*vnode, error) {
	if m.moving(p) {
		return nil, wire.Errorf(wire.Unavailable, "partition %d is moving", p)
	}
	v, werr := m.openSlot(svc, p, gen)
	if werr != nil {
		return nil, werr
	}
	v.do(func(*vnode) {}) // behind any new gate
	if err := m.stillComparable(v, gen); err != nil {
		return nil, err
	}
	if err := v.check(); err != nil {
		return nil, err
	}
	return v, v.store.Sync()
}

// stillComparable reports what has come between a comparison and the slot.
func (m *Manager) stillComparable(v *vnode, gen uint64) error {
	g := v.gate.Load()
	switch {
	case g.gen != gen:
		return wire.Errorf(wire.Stale, "gen %d is in force here, not %d", g.gen, gen)
	case g.phase == lost:
		return wire.Errorf(wire.NotReadable, "this replica has lost its data: %s", g.reason)
	case g.phase != serving:
		return wire.Errorf(wire.NotReadable, "this replica does not serve now")
	case m.damagedHere(v.id):
		return wire.Errorf(wire.NotReadable, "this replica is damaged")
	case v.svc.vnodes[v.id.partition].Load() != v:
		return wire.Errorf(wire.NotReadable, "this replica has got a new file")
	}
	return nil
}

// moving reports whether a transfer of p is open.
func (m *Manager) moving(p ring.Partition) bool {
	for _, s := range m.transfers.Sessions() {
		if s.Partition == p {
			return true
		}
	}
	return false
}

// answerCompare answers one question of the driver, or merges what it sends.
func (m *Manager) answerCompare(v *vnode, gen uint64, f *wire.Frame) ([]byte, error) {
	if err := m.stillComparable(v, gen); err != nil {
		return nil, err
	}
	if f.Kind == wire.KindChunk {
		writes, err := ParseWrites(f.Body)
		if err != nil {
			return nil, wire.Errorf(wire.BadRequest, "%v", err)
		}
		m.compares.counts.received.Add(int64(len(writes)))
		return nil, m.mergeCompared(v, writes)
	}
	if f.Kind != wire.KindRequest || len(f.Body) == 0 {
		return nil, wire.Errorf(wire.BadRequest, "unexpected frame of kind %d", f.Kind)
	}
	switch body := f.Body[1:]; f.Body[0] {
	case askTree:
		var theirs Tree
		if !theirs.parse(body) {
			return nil, wire.Errorf(wire.BadRequest, "a hash tree of %d bytes", len(body))
		}
		own, err := v.store.Tree()
		leaves := differing(&theirs, &own)
		return leaves[:], err
	case askHeads:
		var leaves leafSet
		if len(body) < len(leaves) {
			return nil, wire.Errorf(wire.BadRequest, "%v", wire.ErrBody)
		}
		return pageOfHeads(v.store, (*leafSet)(body), body[len(leaves):])
	case askRecords:
		keys, err := parseKeys(body)
		if err != nil || len(keys) > fetchAtOnce {
			return nil, wire.Errorf(wire.BadRequest, "%d keys: %v", len(keys), err)
		}
		b, err := recordsOf(v.store, keys, m.cfg.ChunkBytes)
		if err == nil {
			m.compares.counts.sent.Add(int64(len(keys)))
		}
		return b, err
	}
	return nil, wire.Errorf(wire.BadRequest, "unknown question %q", f.Body[0])
}

// mergeCompared merges records of another replica that has compared.
func (m *Manager) mergeCompared(v *vnode, writes []Write) error {
	for i := range writes {
		m.clock.ObserveTrusted(writes[i].Record.Stamp.Time)
	}
	return v.mergeFrom(replica, writes)
}
