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
	slot, err := m.admitCompare(ctx, first)
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
		body, err := m.answerCompare(slot, &f)
		if err != nil {
			answer.fail(&f, err)
			return
		}
		m.compares.rate.pass(m.ctx, len(f.Body)+len(body))
		if err := answer.ok(&f, body); err != nil {
			return
		}
	}
}

// admitCompare finds the slot that is to be compared. This node acts on the
// driver's ring from now on: it knows the floors that came with it, for good.
func (m *Manager) admitCompare(ctx context.Context, first *wire.Frame) (*comparedSlot, error) {
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
	slot := &comparedSlot{m: m, svc: svc, p: p, gen: first.Gen}
	return slot, slot.begin()
}

// leads reports whether this node drives a comparison of p and comes before node in
// the list: of two that begin at the same time one goes on.
func (m *Manager) leads(p ring.Partition, node ring.NodeID) bool {
	r := m.ring()
	m.compares.mu.Lock()
	defer m.compares.mu.Unlock()
	return m.compares.busy[p] && r.Place(p, m.node) < r.Place(p, node)
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
func (m *Manager) answerCompare(slot *comparedSlot, f *wire.Frame) ([]byte, error) {
	if err := slot.still(); err != nil {
		return nil, err
	}
	if f.Kind == wire.KindRequest && len(f.Body) > 0 && f.Body[0] == askTree {
		var theirs Tree
		if !theirs.parse(f.Body[1:]) {
			return nil, wire.Errorf(wire.BadRequest, "a hash tree of %d bytes", len(f.Body)-1)
		}
		own, err := slot.tree()
		leaves := differing(&theirs, &own)
		return leaves[:], err
	}
	v, err := slot.open()
	switch {
	case err != nil:
		return nil, err
	case f.Kind == wire.KindChunk:
		writes, err := ParseWrites(f.Body)
		if err != nil {
			return nil, wire.Errorf(wire.BadRequest, "%v", err)
		}
		if err := m.mergeCompared(v, writes); err != nil {
			return nil, err
		}
		m.compares.counts.received.Add(int64(len(writes)))
		return nil, nil
	case f.Kind != wire.KindRequest || len(f.Body) == 0:
		return nil, wire.Errorf(wire.BadRequest, "unexpected frame of kind %d", f.Kind)
	}
	return m.listCompared(v, f.Body[0], f.Body[1:])
}

// listCompared answers what the driver asks of single records.
func (m *Manager) listCompared(v *vnode, question byte, body []byte) ([]byte, error) {
	switch question {
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
	return nil, wire.Errorf(wire.BadRequest, "unknown question %q", question)
}

// mergeCompared merges records of another replica that has compared.
func (m *Manager) mergeCompared(v *vnode, writes []Write) error {
	for i := range writes {
		m.clock.ObserveTrusted(writes[i].Record.Stamp.Time)
	}
	return v.mergeFrom(replica, writes)
}
