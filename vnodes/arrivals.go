package vnodes

import (
	"errors"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// arrival is a session whose data this node holds verified, until its commit.
type arrival struct {
	note   SessionNote
	stores map[string]Store // staging stores that are open, by service
	unseal func()           // writers need not wait any more; nil in a later run
}

// done lets bulk work go on that has rested because writers wait for the session's end.
func (a *arrival) done() {
	if a.unseal != nil {
		a.unseal()
	}
}

// discardAll forgets what is staged for p, but for session but: another session has
// begun, so that of any other has ended without effect.
func (m *Manager) discardAll(p ring.Partition, but string) error {
	m.mu.Lock()
	var old []string
	for id, a := range m.arrived {
		if a.note.Session.Partition == p && id != but {
			old = append(old, id)
		}
	}
	var stale []string
	for id, s := range m.parked {
		if s.session.Partition == p && id != but {
			stale = append(stale, id)
		}
	}
	m.mu.Unlock()
	var errs []error
	for _, id := range old {
		errs = append(errs, m.discard(id))
	}
	for _, id := range stale {
		errs = append(errs, m.dropParked(id))
	}
	return errors.Join(errs...)
}

// discard forgets what is staged for a session.
func (m *Manager) discard(session string) error {
	m.mu.Lock()
	a := m.arrived[session]
	delete(m.arrived, session)
	m.mu.Unlock()
	if a == nil {
		return nil
	}
	a.done()
	errs := []error{m.journal.DeleteSession(session)}
	for _, st := range a.stores {
		errs = append(errs, st.Drop())
	}
	for name := range a.note.Digests { // of an earlier run: staged, and not opened by this one
		if svc := m.services[wire.ServiceID(name)]; svc != nil && a.stores[name] == nil {
			errs = append(errs, m.storage.Remove(stagingFile(svc, a.note.Session.Partition, session)))
		}
	}
	return errors.Join(errs...)
}

// discardEnded forgets what is staged for sessions that have ended without giving
// their partition to this node.
func (m *Manager) discardEnded() {
	m.mu.Lock()
	var notes []SessionNote
	for _, a := range m.arrived {
		notes = append(notes, a.note)
	}
	m.mu.Unlock()
	for _, n := range notes {
		committed, over := m.ended(&n.Session)
		if !over || committed && m.ring().Gen(n.Session.Partition) <= n.Session.Gen {
			continue
		}
		if err := m.discard(n.Session.ID); err != nil {
			m.log.Warn("ended session not discarded", "transfer", n.Session.ID, "err", err)
		}
	}
	m.dropEndedParked()
}
