package vnodes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// scheduleCleaning starts a cleaner for every partition with files here that the
// ring gives to others.
func (m *Manager) scheduleCleaning() {
	r := m.ring()
	for p := range r.Assignments {
		p := ring.Partition(p)
		if len(m.leftovers(r, p)) > 0 {
			m.drive(fmt.Sprintf("clean-%d", p), Session{Step: ring.Step{Kind: kindClean, Partition: p, From: m.node}}, m.clean)
		}
	}
}

// leftovers are the services that have a file of p here although the ring gives
// the slot to others, and p's transfer from here is decided.
func (m *Manager) leftovers(r *ring.Ring, p ring.Partition) []*service {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, undecided := m.proposals[p]; undecided {
		return nil
	}
	var left []*service
	for _, svc := range m.services {
		if !within(r.Place(p, m.node), svc.replicas(r)) && m.journal.HasFile(slotFile(svc, p)) {
			left = append(left, svc)
		}
	}
	return left
}

// clean drops the files of a partition that has left this node, once those who
// have it now confirm that they serve it.
func (m *Manager) clean(ctx context.Context, d *driver) {
	p := d.session.Partition
	d.enter("confirm")
	for wait := newBackoff(10*time.Millisecond, time.Second); ; {
		err := m.cleanOnce(ctx, p)
		if err == nil {
			return
		}
		m.log.Debug("copy kept until its new owner confirms", "partition", p, "err", err)
		if !wait.sleep(ctx) {
			return
		}
	}
}

func (m *Manager) cleanOnce(ctx context.Context, p ring.Partition) error {
	r := m.ring()
	for _, svc := range m.leftovers(r, p) {
		if err := errors.Join(m.confirmed(ctx, svc, r, p), m.passed(wire.SourceConfirmed)); err != nil {
			return err
		}
		if err := errors.Join(m.dropLeftover(svc, r, p), m.passed(wire.SourceDropped)); err != nil {
			return err
		}
	}
	m.forgetSources(r, p)
	return nil
}

// dropLeftover drops the file of a slot that ring r gives to others, who have
// confirmed that they serve it.
func (m *Manager) dropLeftover(svc *service, r *ring.Ring, p ring.Partition) error {
	m.installMu.Lock()
	defer m.installMu.Unlock()
	if m.ring().Gen(p) != r.Gen(p) {
		return errors.New("the ring has changed meanwhile") // the slot may be this node's again
	}
	if err := m.hold(r.Epoch); err != nil {
		return err
	}
	return m.dropSlot(svc, p)
}

// forgetSources deletes the notes of p's sessions that are decided, when nothing of
// p that ring r gives to others is left here.
func (m *Manager) forgetSources(r *ring.Ring, p ring.Partition) {
	notes, err := m.journal.Sessions()
	if err == nil {
		err = m.hold(r.Epoch)
	}
	if err != nil {
		m.log.Warn("journal notes not deleted", "partition", p, "err", err)
		return
	}
	for _, n := range notes {
		if n.State != noteProposed || n.Session.Partition != p {
			continue
		}
		m.mu.Lock()
		_, undecided := m.proposals[p]
		m.mu.Unlock()
		if _, over := m.ended(&n.Session); undecided || !over {
			continue
		}
		if err := m.journal.DeleteSession(n.Session.ID); err != nil {
			m.log.Warn("journal note not deleted", "transfer", n.Session.ID, "err", err)
		}
	}
}

// Vacant reports whether this node holds nothing any more: no slot's file, no
// hint, no undecided session. Then it may leave the cluster.
func (m *Manager) Vacant() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.hints) == 0 && !m.claimsAny() && len(m.proposals) == 0 && len(m.arrived) == 0 && len(m.parked) == 0 && len(m.journal.Files()) == 0
}

// Records counts what this node holds that is not deleted, hints included.
func (m *Manager) Records() (int64, error) {
	var total int64
	for _, v := range m.open() {
		total += v.store.Digest().Live
	}
	r := m.ring()
	for _, svc := range m.services {
		for p := range r.Assignments {
			p := ring.Partition(p)
			if svc.vnodes[p].Load() != nil || !m.journal.HasFile(slotFile(svc, p)) {
				continue
			}
			v, err := m.openSlot(svc, p, 0)
			if err != nil {
				return 0, err
			}
			if err := v.check(); err != nil {
				return 0, err
			}
			total += v.store.Digest().Live
		}
	}
	return total, nil
}
