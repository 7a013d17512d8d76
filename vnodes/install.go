package vnodes

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/ringcore/ringcore/metadata/ring"
)

// followRing installs every ring that comes into force, until Close.
func (m *Manager) followRing() {
	for {
		changed := m.rings.Changed()
		m.install()
		m.schedule()
		select {
		case <-changed:
		case <-m.ctx.Done():
			return
		}
	}
}

// resume reads what a crash or stop has left: sessions proposed or ready, and
// slots that must hear from others before they serve.
func (m *Manager) resume() error {
	notes, err := m.journal.Sessions()
	if err != nil {
		return fmt.Errorf("read the vnodes' journal: %w", err)
	}
	for _, n := range notes {
		switch n.State {
		case noteProposed:
			m.proposals[n.Session.Partition] = n.Session
		case noteReady:
			m.arrived[n.Session.ID] = &arrival{note: n, stores: make(map[string]Store)}
		}
	}
	if err := m.findHints(); err != nil {
		return err
	}
	others := len(m.transfers.Others()) > 0
	if others {
		m.awaitOthers(m.rings.Ring())
	}
	m.install()
	if others {
		m.spawn(m.askForHints)
	}
	return nil
}

// install makes the ring in force the one that gates check. When it returns,
// every request queued afterwards meets that ring or a newer one.
func (m *Manager) install() {
	m.installMu.Lock()
	defer m.installMu.Unlock()
	m.mu.Lock()
	old, r := m.installed, m.rings.Ring()
	m.mu.Unlock()
	if old != nil && r.Epoch <= old.Epoch {
		return
	}
	for p := range r.Assignments {
		p := ring.Partition(p)
		if old == nil || old.Gen(p) != r.Gen(p) {
			m.takeOver(old, r, p)
		}
	}
	m.mu.Lock()
	m.installed = r
	m.mu.Unlock()
	for _, svc := range m.services {
		for p := range svc.vnodes {
			p := ring.Partition(p)
			if v := svc.vnodes[p].Load(); v != nil && (old == nil || old.Gen(p) != r.Gen(p)) {
				m.regate(v, svc, r, p)
			}
		}
	}
}

// regate posts the gate that ring r asks for. A vnode that is sealed stays so
// until its transfer's driver says otherwise, unless the ring has moved it.
func (m *Manager) regate(v *vnode, svc *service, r *ring.Ring, p ring.Partition) {
	v.post(func(v *vnode) {
		m.mu.Lock()
		g := m.slotGate(svc, r, p)
		m.mu.Unlock()
		now := v.gate.Load()
		if g.gen < now.gen {
			return
		}
		if now.phase == sealed && g.phase == serving {
			g.phase = sealed
		}
		v.setGate(g)
	})
}

// takeOver readies the slots of p that ring r gives to this node and old did not.
func (m *Manager) takeOver(old, r *ring.Ring, p ring.Partition) {
	a := m.arrivalFor(r, p)
	for _, svc := range m.services {
		n := svc.replicas(r)
		place := r.Place(p, m.node)
		held := old != nil && within(old.Place(p, m.node), svc.replicas(old))
		if !within(place, n) || held {
			continue
		}
		m.setLost(svc, p, m.activate(svc, r, p, a, old != nil))
	}
	if a == nil {
		return
	}
	if err := m.forget(a); err != nil { // a second activation would undo what comes now
		for _, svc := range m.services {
			if a.note.moves(svc.Name) {
				m.setLost(svc, p, err)
			}
		}
	}
}

// setLost notes that a slot cannot serve because of err, or that it can.
func (m *Manager) setLost(svc *service, p ring.Partition, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := vnodeID{service: svc.id, partition: p}
	if err == nil {
		delete(m.lostSeats, id)
		return
	}
	m.lostSeats[id] = fmt.Sprintf("partition %d of service %s came without verified data: %v", p, svc.Name, err)
	m.log.Error("slot came without verified data", "service", svc.Name, "partition", p, "err", err)
}

func within(place, n int) bool { return place >= 0 && place < n }

// arrivalFor is the ready session whose commit gave p to this node, nil if none.
func (m *Manager) arrivalFor(r *ring.Ring, p ring.Partition) *arrival {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.arrived {
		if a.note.Session.Partition == p && r.Gen(p) > a.note.Session.Gen {
			if committed, known := m.transfers.Outcome(a.note.Session.ID); committed || !known {
				return a
			}
		}
	}
	return nil
}

var errNoData = errors.New("no transfer has delivered it")

// activate gives a new slot its data: the staged file of a ready session, or an
// empty one for a slot that is added. running is false at start, when a slot that
// is simply there needs nothing.
func (m *Manager) activate(svc *service, r *ring.Ring, p ring.Partition, a *arrival, running bool) error {
	switch {
	case a != nil && a.note.moves(svc.Name):
		return m.promote(svc, r, p, a)
	case !running:
		return nil
	case r.Assignments[p].Replicas[r.Place(p, m.node)].CatchingUp:
		return m.dropSlot(svc, p) // what an earlier tenure left is stale
	}
	return errNoData
}

// promote makes the staged file of svc the slot's, in place of what an earlier
// tenure may have left. Doing it again after a crash changes nothing.
func (m *Manager) promote(svc *service, r *ring.Ring, p ring.Partition, a *arrival) error {
	if a.note.Digests[svc.Name].Records == 0 {
		return m.dropSlot(svc, p)
	}
	st := a.stores[svc.Name]
	if st == nil {
		var err error
		st, err = m.storage.Open(m.identity(svc, p, ""), stagingFile(svc, p, a.note.Session.ID))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // renamed already, before a crash
		}
		if err != nil {
			return err
		}
	}
	name := slotFile(svc, p)
	if err := errors.Join(m.dropSlot(svc, p), m.journal.MarkFile(name)); err != nil {
		return errors.Join(err, st.Close())
	}
	if err := m.storage.Rename(st, name); err != nil {
		return errors.Join(err, st.Close())
	}
	m.clock.ObserveTrusted(st.MaxTime())
	m.mu.Lock()
	defer m.mu.Unlock()
	id := vnodeID{service: svc.id, partition: p}
	svc.vnodes[p].Store(newVnode(m, svc, id, name, st, gate{gen: uint64(r.Gen(p)), phase: recovering})) // regate opens it
	return nil
}

// dropSlot ends a slot's vnode and deletes its file, whichever of them there is.
func (m *Manager) dropSlot(svc *service, p ring.Partition) error {
	name := slotFile(svc, p)
	m.mu.Lock()
	v := svc.vnodes[p].Swap(nil)
	m.mu.Unlock()
	switch {
	case v != nil:
		v.stop()
		if err := v.store.Drop(); err != nil {
			return err
		}
		if d, ok := (*v.user.Load()).(Dropper); ok {
			d.Dropped()
		}
	case m.journal.HasFile(name):
		if err := m.storage.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	default:
		return nil
	}
	return m.journal.UnmarkFile(name)
}

// forget removes the note of an arrival that has been activated.
func (m *Manager) forget(a *arrival) error {
	m.mu.Lock()
	delete(m.arrived, a.note.Session.ID)
	m.mu.Unlock()
	return m.journal.DeleteSession(a.note.Session.ID)
}
