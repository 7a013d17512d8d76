package vnodes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// followRing installs every ring that comes into force, until Close.
func (m *Manager) followRing() {
	for {
		changed := m.rings.Changed()
		m.install()
		if m.ring().Epoch == 0 {
			m.log.Warn("waiting for metadata as new as this node has seen before", "epoch", m.floor())
			if !m.awaitRing(changed) {
				return
			}
			continue
		}
		m.schedule()
		select {
		case <-changed:
		case <-m.wake:
		case <-m.ctx.Done():
			return
		}
	}
}

// awaitRing asks the other members for a ring that may be installed. It returns
// when there is something to look at; false when the manager closes.
func (m *Manager) awaitRing(changed <-chan struct{}) bool {
	for wait := newBackoff(20*time.Millisecond, time.Second); ; {
		ctx, cancel := context.WithTimeout(m.ctx, 2*time.Second)
		err := m.rings.Fetch(ctx, m.floor(), "")
		cancel()
		if err == nil {
			return m.ctx.Err() == nil
		}
		select {
		case <-changed:
			return true
		default:
		}
		if !wait.sleep(m.ctx) {
			return false
		}
	}
}

// prod has followRing look again for what there is to drive.
func (m *Manager) prod() {
	nudge(m.wake)
}

// resume reads what a crash or stop has left, sessions proposed or ready, and
// installs the ring if it is as new as what this node has acted on.
func (m *Manager) resume() error {
	notes, err := m.journal.Sessions()
	if err != nil {
		return fmt.Errorf("read the vnodes' journal: %w", err)
	}
	for _, n := range notes {
		switch p := n.Session.Partition; n.State {
		case noteProposed:
			// Of several all but the last are decided: their files only have not gone yet.
			if other, ok := m.proposals[p]; !ok || other.Gen < n.Session.Gen {
				m.proposals[p] = n.Session
			}
		case noteReady:
			m.arrived[n.Session.ID] = &arrival{note: n, stores: make(map[string]Store)}
		}
	}
	if err := m.findFiles(); err != nil {
		return err
	}
	var repairs []*repair
	if m.disk != nil {
		if repairs, err = m.resumeRepairs(); err != nil {
			return err
		}
		m.findFaults()
	}
	m.install()
	for _, x := range repairs {
		m.driveRepair(x)
	}
	return nil
}

// install makes the ring in force the one that gates check. When it returns,
// every request queued afterwards meets that ring or a newer one.
func (m *Manager) install() {
	m.installMu.Lock()
	defer m.installMu.Unlock()
	floor := m.floor() // first: it rises to rings that have been in force
	old, r := m.ring(), m.rings.Ring()
	if r.Epoch <= old.Epoch || r.Epoch < floor || m.ctx.Err() != nil {
		return
	}
	m.passFloors(r)
	if old.Epoch == 0 && len(m.transfers.Others()) > 0 {
		m.hasten(m.own(r)) // this node may have missed something
		m.awaitOthers(r)
	}
	var changed []ring.Partition
	var arriving sync.WaitGroup
	for p := range r.Assignments {
		if p := ring.Partition(p); old.Gen(p) != r.Gen(p) {
			changed = append(changed, p)
			if a := m.arrivalFor(r, p); a != nil {
				arriving.Go(func() { m.takeOver(old, r, p, a) }) // what they note goes to the disk together
				continue
			}
			m.takeOver(old, r, p, nil)
		}
	}
	arriving.Wait()
	m.mu.Lock()
	m.installed = r
	m.mu.Unlock()
	for _, svc := range m.services {
		for _, p := range changed {
			m.regate(svc, p)
		}
	}
}

// regate has the slot's vnode, if it is open, make its gate anew.
func (m *Manager) regate(svc *service, p ring.Partition) {
	if v := svc.vnodes[p].Load(); v != nil {
		v.post((*vnode).regate)
	}
}

// regate takes the gate that the ring asks for. A vnode that is sealed or proposed stays
// so until its transfer's driver says otherwise, unless the ring has moved it. The note of
// a proposal comes behind its gate: until then nothing else says that there is one.
// Worker only.
func (v *vnode) regate() {
	g := v.m.gateOf(v.svc, v.id.partition)
	switch now := v.gate.Load().phase; {
	case now == sealed && g.phase == serving, now == proposed && g.phase != gone:
		g.phase = now
	}
	v.setGate(g)
}

// gateOf is the gate that the installed ring asks for.
func (m *Manager) gateOf(svc *service, p ring.Partition) gate {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.slotGate(svc, m.installed, p)
}

// takeOver readies the slots of p that ring r gives to this node and old did not, with
// what a brings.
func (m *Manager) takeOver(old, r *ring.Ring, p ring.Partition, a *arrival) {
	failed := make(map[string]Digest)
	for _, svc := range m.services {
		if !within(r.Place(p, m.node), svc.replicas(r)) {
			continue
		}
		fills, err := m.moveUp(svc, old, r, p, a)
		if err == nil && (fills || within(old.Place(p, m.node), svc.replicas(old))) {
			continue
		}
		if err == nil {
			err = m.activate(svc, r, p, a, old.Epoch > 0)
		}
		m.setLost(svc, p, err)
		if err != nil && a != nil && a.note.moves(svc.Name) {
			failed[svc.Name] = a.note.Digests[svc.Name]
			if st := a.stores[svc.Name]; st != nil {
				_ = st.Close() // if it is not closed already; the error that counts is noted
			}
		}
	}
	if a == nil {
		return
	}
	if err := errors.Join(m.forget(a, failed), m.passed(wire.TargetActivated)); err != nil { // a second activation would undo what comes now
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
	if m.disk == nil {
		return
	}
	m.faults.report(report{name: slotFile(svc, p), err: err, still: func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		_, isLost := m.lostSeats[id]
		return isLost
	}})
}

func within(place, n int) bool { return place >= 0 && place < n }

// arrivalFor is the ready session whose commit gave p to this node, nil if none.
func (m *Manager) arrivalFor(r *ring.Ring, p ring.Partition) *arrival {
	m.mu.Lock()
	defer m.mu.Unlock()
	place := r.Place(p, m.node)
	if place < 0 || r.Assignments[p].Replicas[place].CatchingUp {
		return nil // an added slot is filled, never handed over
	}
	for _, a := range m.arrived {
		if s := &a.note.Session; s.Partition != p || r.Gen(p) <= s.Gen {
			continue
		}
		// When it is known no more: nothing else could have made this node a readable
		// replica, as everything else would have discarded the arrival first.
		if committed, known := m.transfers.Outcome(a.note.Session.ID); committed || !known {
			return a
		}
	}
	return nil
}

var errNoData = errors.New("no transfer has delivered it")

// activate gives a new slot its data: the staged file of a ready session, or an
// empty one for a slot that is added. running is false at start, when a slot that
// is simply there needs nothing.
func (m *Manager) activate(svc *service, r *ring.Ring, p ring.Partition, a *arrival, running bool) error {
	arrives := a != nil && a.note.moves(svc.Name)
	if !arrives && !running {
		return nil
	}
	if err := m.hold(r.Epoch); err != nil {
		return err
	}
	switch {
	case arrives:
		if err := m.passed(wire.TargetActivating); err != nil {
			return err
		}
		return errors.Join(m.promote(svc, r, p, a), m.passed(wire.TargetRenamed))
	case r.Assignments[p].Replicas[r.Place(p, m.node)].CatchingUp:
		return m.dropSlot(svc, p) // what an earlier tenure left is stale
	}
	// Noted for good: after a restart too, nobody may take the empty slot for the truth.
	return errors.Join(errNoData, m.journal.MarkFile(slotFile(svc, p)))
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
			return m.checkPromoted(svc, p, a.note.Session.ID) // renamed already, before a crash?
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
	m.follow(svc, st.MaxTime())
	m.mu.Lock()
	defer m.mu.Unlock()
	id := vnodeID{service: svc.id, partition: p}
	own := m.slotStore(id, m.identity(svc, p, ""), name)
	own.inner.Store(&st)
	svc.vnodes[p].Store(newVnode(m, svc, id, name, own, gate{gen: uint64(r.Gen(p)), phase: recovering})) // regate opens it
	return nil
}

// checkPromoted reports whether the slot's file is the one that session has filled.
func (m *Manager) checkPromoted(svc *service, p ring.Partition, session string) error {
	st, err := m.storage.Open(m.identity(svc, p, ""), slotFile(svc, p))
	if err != nil {
		return fmt.Errorf("neither staged nor in place: %w", err)
	}
	if from := IdentityOf(st).Session; from != session {
		return errors.Join(fmt.Errorf("the slot's file came with session %q, not %q: %w", from, session, ErrCorrupt), st.Close())
	}
	return st.Close()
}

// dropSlot ends a slot's vnode and deletes its file, whichever of them there is.
// m.installMu is held.
func (m *Manager) dropSlot(svc *service, p ring.Partition) error {
	name := slotFile(svc, p)
	m.mu.Lock()
	v := svc.vnodes[p].Swap(nil)
	m.mu.Unlock()
	if v != nil {
		v.stop()
		if err := v.store.Drop(); err != nil {
			m.log.Warn("slot's file not closed", "service", svc.Name, "partition", p, "err", err)
		}
	}
	if m.journal.HasFile(name) {
		if err := errors.Join(m.storage.Remove(name), m.journal.UnmarkFile(name)); err != nil {
			return err
		}
	}
	if v == nil {
		return nil
	}
	if d, ok := (*v.user.Load()).(Dropper); ok {
		v.hook("Dropped", func() error { d.Dropped(); return nil })
	}
	return nil
}

// forget removes the note of an arrival that has been activated, but for the
// services that failed: their staged files are tried again by the next start.
func (m *Manager) forget(a *arrival, failed map[string]Digest) error {
	id := a.note.Session.ID
	a.done()
	m.mu.Lock()
	delete(m.arrived, id)
	m.mu.Unlock()
	if len(failed) == 0 {
		return m.journal.DeleteSession(id)
	}
	note := a.note
	note.Digests = failed
	return m.journal.PutSession(note)
}
