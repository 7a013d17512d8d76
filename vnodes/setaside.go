package vnodes

import (
	"errors"
	"fmt"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// setAside puts a slot's damaged file out of the way and opens the gate of an
// empty one to effects. Doing it again after a crash, at whichever step, does no
// harm: each step finds what the ones before have left.
func (m *Manager) setAside(x *repair) (gone bool, err error) {
	m.installMu.Lock() // the slot does not change hands meanwhile
	defer m.installMu.Unlock()
	r := m.ring()
	if !within(r.Place(x.id.partition, m.node), x.svc.replicas(r)) || m.ctx.Err() != nil {
		return true, nil // the next round sees it
	}
	if stage, again := m.stageOf(x); (stage == repairFound || again) && !x.still() {
		m.mu.Lock()
		x.again = false
		m.mu.Unlock()
		return true, nil
	}
	v, err := m.shutSlot(x)
	if err != nil {
		return false, err
	}
	if v != nil {
		v.stop()
		if st, ok := v.store.(*slotStore); ok {
			st.retire()
		}
	}
	if err := errors.Join(m.noteRepair(x, repairAside), m.passed(wire.RepairNoted)); err != nil {
		return false, err
	}
	a, err := m.disk.quarantine(x.name)
	if err := errors.Join(err, m.passed(wire.RepairAside)); err != nil {
		return false, err
	}
	if err := errors.Join(m.forgetArrivals(x), m.journal.UnmarkFile(x.name), m.passed(wire.RepairUnmarked)); err != nil {
		return false, err
	}
	if err := errors.Join(m.noteRepair(x, repairFilled), m.passed(wire.RepairFilling)); err != nil {
		return false, err
	}
	m.faults.set(x.name, FaultRebuilding)
	m.log.Warn("damaged file quarantined; the slot is rebuilt from the other replicas",
		"service", x.svc.Name, "partition", x.id.partition, "file", x.name)
	x.aside, x.asked, x.whole = a, nil, false
	// What the old file has acknowledged may be on its way to the others still.
	x.settled = time.Now().Add(m.cfg.SettleTime)
	m.mu.Lock()
	defer m.mu.Unlock()
	x.stage, x.again, x.salvaged = repairFilled, false, false
	delete(m.lostSeats, x.id)
	return false, nil
}

// shutSlot makes the slot catching and takes its vnode out of use: it returns it,
// nil if it was not open. A vnode whose switch has been proposed stays: it may not
// be this node's any more.
func (m *Manager) shutSlot(x *repair) (*vnode, error) {
	for {
		m.mu.Lock()
		session, proposes := m.proposals[x.id.partition]
		v := x.svc.vnodes[x.id.partition].Load()
		if proposes {
			m.mu.Unlock()
			return nil, fmt.Errorf("the outcome of session %s is not known yet", session.ID)
		}
		if v == nil {
			x.stage, x.quarantined = repairAside, true // openSlot refuses from now on
		}
		m.mu.Unlock()
		if v == nil {
			return nil, nil
		}
		shut := false
		ran := v.do(func(v *vnode) {
			g := *v.gate.Load()
			if shut = g.phase != proposed; !shut {
				return
			}
			m.mu.Lock()
			x.stage, x.quarantined = repairAside, true
			x.svc.vnodes[x.id.partition].CompareAndSwap(v, nil)
			m.mu.Unlock()
			g.phase = catching // a transfer that has it sealed fails
			v.setGate(g)
		})
		switch {
		case !ran:
			continue // another one has taken its place
		case !shut:
			return nil, errors.New("a transfer of the partition has been proposed")
		}
		return v, nil
	}
}

func (m *Manager) noteRepair(x *repair, s repairStage) error {
	if err := m.journal.putRepair(x.name, repairNote{Stage: s, Reason: x.reason, Since: x.since}); err != nil {
		return fmt.Errorf("note that a slot is rebuilt: %w", err)
	}
	return nil
}

// forgetArrivals forgets staged files that were to become the slot's and could not:
// a later start must not put them in place of the new one.
func (m *Manager) forgetArrivals(x *repair) error {
	notes, err := m.journal.Sessions()
	if err != nil {
		return err
	}
	for _, n := range notes {
		if n.State != noteReady || n.Session.Partition != x.id.partition || !n.moves(x.svc.Name) {
			continue
		}
		if delete(n.Digests, x.svc.Name); len(n.Digests) > 0 {
			err = m.journal.PutSession(n)
		} else {
			err = m.journal.DeleteSession(n.Session.ID)
		}
		if err == nil {
			err = m.storage.Remove(stagingFile(x.svc, x.id.partition, n.Session.ID))
		}
		if err != nil {
			return fmt.Errorf("forget what came with session %s: %w", n.Session.ID, err)
		}
	}
	return nil
}

// salvage merges what can still be read of the damaged file into the new one. What
// cannot be read comes from the others.
func (m *Manager) salvage(x *repair, d *driver) error {
	m.mu.Lock()
	done := x.salvaged
	m.mu.Unlock()
	if done {
		return nil
	}
	if x.asked == nil {
		x.asked = make(map[ring.NodeID]bool)
	}
	a := x.aside
	if a == nil { // of an earlier run
		a = m.disk.asideOf(x.name)
	}
	var refused error
	err := m.disk.salvage(a, func(writes []Write) error {
		for i := range writes {
			m.clock.ObserveTrusted(writes[i].Record.Stamp.Time)
		}
		v, werr := m.openSlot(x.svc, x.id.partition, 0)
		if werr != nil {
			refused = werr
			return werr
		}
		if refused = v.mergeWait(writes); refused == nil {
			d.records.Add(int64(len(writes)))
		}
		return refused
	})
	switch {
	case refused != nil:
		return fmt.Errorf("salvage: %w", refused)
	case err != nil:
		m.log.Warn("damaged file not read to its end", "service", x.svc.Name, "partition", x.id.partition, "err", err)
	}
	m.mu.Lock()
	x.salvaged = true
	m.mu.Unlock()
	return errors.Join(m.disk.letGo(a), m.passed(wire.RepairSalvaged))
}
