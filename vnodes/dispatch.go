package vnodes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Service says what routing must know of a service; false if it is not registered here.
func (m *Manager) Service(id uint32) (wire.ServiceInfo, bool) {
	svc := m.services[id]
	if svc == nil {
		return wire.ServiceInfo{}, false
	}
	return svc.infoOn(m.rings.Ring()), true
}

// Services describes all that are registered here.
func (m *Manager) Services() []wire.ServiceInfo {
	var all []wire.ServiceInfo
	for _, svc := range m.services {
		all = append(all, svc.infoOn(m.rings.Ring()))
	}
	return all
}

// Resolve makes one reply of several replicas' replies to query q.
func (m *Manager) Resolve(id uint32, p ring.Partition, q []byte, replies [][]byte) ([]byte, error) {
	svc := m.services[id]
	if svc == nil {
		return nil, wire.Errorf(wire.BadRequest, "unknown service")
	}
	if svc.solver == nil {
		return replies[0], nil
	}
	return m.guard(svc, p, func() ([]byte, error) { return svc.solver.Resolve(q, replies) })
}

// Dispatch hands r to its vnode. It does not block; see wire.Request.Done. Reads, and
// what is prompt, run on the calling goroutine if nothing stands in their way.
func (m *Manager) Dispatch(r *wire.Request) {
	svc := m.services[r.Service]
	if svc == nil {
		m.fail(r, wire.BadRequest, "unknown service")
		return
	}
	switch {
	case int(r.Partition) >= len(svc.vnodes):
		m.fail(r, wire.BadRequest, "no such partition")
		return
	case r.Op == wire.OpHintStores:
		m.reply(r, m.hintStores(svc), nil)
		return
	case m.frozen.Load() && r.Op != wire.OpRead:
		m.fail(r, wire.Unavailable, "this node is joining another cluster")
		return
	}
	m.noticeAbsence(svc, r)
	m.bulk.note()
	v, err := m.vnodeFor(svc, r)
	switch {
	case err == nil:
	case errors.Is(err, errUnclaimed):
		m.claimFor(svc, r)
		return
	case asError(err).Code == wire.Behind:
		m.catchUp(r)
		return
	default:
		m.failErr(r, err)
		return
	}
	v.meter.admit(r)
	if r.Op == wire.OpRead && v.opened() && !v.doubted() && !v.late(r) {
		if verdict, _ := v.gate.Load().check(r.Op, r.Gen); verdict == admit {
			v.query(r)
			return
		}
	}
	if !v.runNow(r) {
		v.enqueue(r)
	}
}

func (m *Manager) vnodeFor(svc *service, r *wire.Request) (*vnode, error) {
	p := ring.Partition(r.Partition)
	if r.Flags&wire.FlagFallback != 0 {
		r.Gen = 0 // hints belong to the slot, whatever the ring
		return m.fallbackVnode(svc, r)
	}
	if v := svc.vnodes[p].Load(); v != nil {
		return v, nil
	}
	v, werr := m.openSlot(svc, p, r.Gen)
	if werr != nil {
		return nil, werr // not an interface around nil
	}
	return v, nil
}

// claimFor dispatches r again when it is noted that this node keeps hints for its slot.
func (m *Manager) claimFor(svc *service, r *wire.Request) {
	id := vnodeID{service: svc.id, partition: ring.Partition(r.Partition), fallback: ring.NodeID(r.For)}
	m.claimSlot(id, want{sole: r.Op != wire.OpEffect, done: func(err error) {
		switch {
		case err != nil:
			m.failErr(r, err)
		case !r.Deadline.IsZero() && !time.Now().Before(r.Deadline): // others may have claimed it again and again
			m.fail(r, wire.Deadline, "the deadline passed before this node could stand in")
		default:
			m.Dispatch(r)
		}
	}})
}

// openSlot opens the vnode of a slot on its first use.
func (m *Manager) openSlot(svc *service, p ring.Partition, gen uint64) (*vnode, *wire.Error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := svc.vnodes[p].Load(); v != nil {
		return v, nil
	}
	if m.ctx.Err() != nil {
		return nil, wire.Errorf(wire.ShuttingDown, "the node is stopping")
	}
	r := m.installed
	if !within(r.Place(p, m.node), svc.replicas(r)) {
		if gen > uint64(r.Gen(p)) {
			return nil, wire.Errorf(wire.Behind, "")
		}
		return nil, wire.Errorf(wire.Moved, "")
	}
	id := vnodeID{service: svc.id, partition: p}
	name := slotFile(svc, p)
	if x := m.repairs[id]; x != nil && x.stage == repairAside {
		return nil, wire.Errorf(wire.NotReadable, "partition %d of service %s is being rebuilt", p, svc.Name)
	}
	if why, isLost := m.lostSeats[id]; isLost {
		return nil, wire.Errorf(wire.Unavailable, "%s", why)
	}
	st := m.slotStore(id, m.identity(svc, p, ""), name)
	v := newVnode(m, svc, id, name, st, m.slotGate(svc, r, p))
	svc.vnodes[p].Store(v)
	return v, nil
}

// slotStore is the store of a slot's vnode. Its file is in the journal from when
// it is made until it is dropped, so that a lost one is noticed.
func (m *Manager) slotStore(of vnodeID, id Identity, name string) *slotStore {
	return &slotStore{
		name: name,
		saw:  m.sawFault(of),
		open: func() (Store, error) {
			st, err := m.storage.Open(id, name)
			if errors.Is(err, fs.ErrNotExist) && m.journal.HasFile(name) {
				return nil, fmt.Errorf("%w: its file is gone", ErrCorrupt)
			}
			if err != nil {
				return nil, err
			}
			m.follow(m.services[of.service], st.MaxTime())
			return st, nil
		},
		create: func() (Store, error) {
			st, err := m.storage.Create(id, name)
			if err != nil {
				return nil, err
			}
			if err := m.journal.MarkFile(name); err != nil {
				return nil, errors.Join(err, st.Drop())
			}
			return st, nil
		},
	}
}

func (m *Manager) identity(svc *service, p ring.Partition, fallback ring.NodeID) Identity {
	return Identity{
		ClusterID: m.cfg.ClusterID, NodeID: string(m.node), Service: svc.Name, Partition: int(p), For: string(fallback),
	}
}

// slotGate is the gate of a slot's vnode that is opened under ring r. m.mu is held.
func (m *Manager) slotGate(svc *service, r *ring.Ring, p ring.Partition) gate {
	a := &r.Assignments[p]
	g := gate{gen: uint64(a.Gen), rebuilt: uint64(a.Rebuilt)}
	id := vnodeID{service: svc.id, partition: p}
	session, proposes := m.proposals[p]
	proposes = proposes && session.moves(svc.replicas(r))
	_, behind := m.catchUps[id]
	if _, fills := m.forced[id]; fills {
		behind = true
	}
	if x := m.repairs[id]; x != nil && x.stage != repairFound {
		behind = true
	}
	hints, waits := m.waiting[id]
	lostWhy, isLost := m.lostSeats[id]
	switch place := r.Place(p, m.node); {
	case !within(place, svc.replicas(r)):
		g.phase = gone
	case isLost:
		g.phase, g.reason = lost, lostWhy
	case proposes:
		g.phase = proposed
	case a.Replicas[place].CatchingUp || behind:
		g.phase = catching
	case waits:
		g.phase, g.reason = recovering, hints.why
	}
	return g
}

// catchUp fetches the ring that r was planned with, then dispatches r again.
func (m *Manager) catchUp(r *wire.Request) {
	started := m.spawn(func() {
		ctx, cancel := context.WithTimeout(m.ctx, 500*time.Millisecond)
		defer cancel()
		err := m.fetch(ctx, ring.Epoch(r.Epoch))
		if have := m.ring().Gen(ring.Partition(r.Partition)); err != nil || uint64(have) < r.Gen {
			m.fail(r, wire.Behind, "the request was planned with a ring that this node cannot fetch")
			return
		}
		m.Dispatch(r)
	})
	if !started {
		m.fail(r, wire.ShuttingDown, "the node is stopping")
	}
}

// fetch installs a ring of epoch or newer.
func (m *Manager) fetch(ctx context.Context, epoch ring.Epoch) error {
	err := m.rings.Fetch(ctx, max(epoch, m.floor()), "")
	m.install()
	if err != nil {
		return wire.Errorf(wire.Behind, "fetch ring %d: %v", epoch, err)
	}
	return nil
}

func (m *Manager) epoch() uint64 { return uint64(m.rings.Ring().Epoch) }

func (m *Manager) fail(r *wire.Request, code wire.Code, message string) {
	r.Done(code, m.epoch(), []byte(message))
}

func (m *Manager) failErr(r *wire.Request, err error) {
	e := asError(err)
	m.fail(r, e.Code, e.Message)
}

func (m *Manager) reply(r *wire.Request, body []byte, err error) {
	if err != nil {
		m.failErr(r, err)
		return
	}
	r.Done(wire.OK, m.epoch(), body)
}
