package vnodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// scheduleCleaning starts a cleaner for every partition with files here that the
// ring gives to others, and forgets sessions that were aborted.
func (m *Manager) scheduleCleaning() {
	m.mu.Lock()
	r := m.installed
	var aborted []string
	for id, a := range m.arrived {
		if committed, known := m.transfers.Outcome(id); known && !committed && a != nil {
			aborted = append(aborted, id)
		}
	}
	m.mu.Unlock()
	for _, id := range aborted {
		if err := m.discard(id); err != nil {
			m.log.Warn("aborted session not discarded", "transfer", id, "err", err)
		}
	}
	for p := range r.Assignments {
		p := ring.Partition(p)
		if left := m.leftovers(r, p); len(left) > 0 {
			m.drive(fmt.Sprintf("clean-%d", p), Session{Step: ring.Step{Kind: "clean", Partition: p, From: m.node}}, m.clean)
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
		r := m.rings.Ring()
		left := m.leftovers(r, p)
		var err error
		for _, svc := range left {
			if err = m.confirmed(ctx, svc, r, p); err == nil {
				err = m.dropSlot(svc, p)
			}
			if err != nil {
				break
			}
		}
		if err == nil {
			m.forgetSources(p)
			return
		}
		m.log.Debug("copy kept until its new owner confirms", "partition", p, "err", err)
		if !wait.sleep(ctx) {
			return
		}
	}
}

// confirmed asks the nodes that serve p now. All that are up must say yes, at
// least one; among them every node that a session of this one has sent data to.
func (m *Manager) confirmed(ctx context.Context, svc *service, r *ring.Ring, p ring.Partition) error {
	yes := 0
	for _, x := range r.Replicas(p, svc.replicas(r)) {
		if x.CatchingUp || !m.cfg.Up(x.Node) {
			continue
		}
		if err := m.confirm(ctx, svc, r, p, x.Node); err != nil {
			return fmt.Errorf("%s: %w", x.Node, err)
		}
		yes++
	}
	if yes == 0 {
		return errors.New("no node that serves the partition is up")
	}
	return nil
}

func (m *Manager) confirm(ctx context.Context, svc *service, r *ring.Ring, p ring.Partition, node ring.NodeID) error {
	pp, err := m.dialPipe(ctx, node, p, r.Gen(p))
	if err != nil {
		return err
	}
	defer pp.st.Close() //nolint:errcheck // it has said what it had to say
	body, err := json.Marshal(confirmOpen{Services: []string{svc.Name}})
	if err != nil {
		return err
	}
	pp.head.Op, pp.head.Epoch = wire.OpConfirm, uint64(r.Epoch)
	return pp.ask(0, body, 5*time.Second)
}

// forgetSources deletes the notes of p's committed sessions: the files are gone,
// so an old ring can no longer make this node serve them.
func (m *Manager) forgetSources(p ring.Partition) {
	notes, err := m.journal.Sessions()
	if err != nil {
		m.log.Warn("journal not read", "err", err)
		return
	}
	for _, n := range notes {
		if n.State != noteProposed || n.Session.Partition != p {
			continue
		}
		m.mu.Lock()
		_, undecided := m.proposals[p]
		m.mu.Unlock()
		if undecided {
			continue
		}
		if err := m.journal.DeleteSession(n.Session.ID); err != nil {
			m.log.Warn("journal note not deleted", "transfer", n.Session.ID, "err", err)
		}
	}
}

// removeStaging deletes staging files that no ready session accounts for.
func (m *Manager) removeStaging() error {
	names, err := m.storage.List()
	if err != nil {
		return err
	}
	for _, name := range names {
		stem, isStaging := strings.CutSuffix(name, ".staging")
		if !isStaging {
			continue
		}
		session := stem[strings.LastIndexByte(stem, '.')+1:]
		if _, ready := m.arrived[session]; ready {
			continue
		}
		if err := m.storage.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// Vacant reports whether this node holds nothing any more: no slot's file, no
// hint, no undecided session. Then it may leave the cluster.
func (m *Manager) Vacant() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	busy := len(m.hints) > 0 || len(m.proposals) > 0 || len(m.arrived) > 0
	return !busy && !slices.ContainsFunc(m.journal.Files(), func(string) bool { return true })
}

// Records counts what this node holds that is not deleted, hints included.
func (m *Manager) Records() (int64, error) {
	var total int64
	for _, v := range m.open() {
		total += v.store.Digest().Live
	}
	m.mu.Lock()
	r := m.installed
	m.mu.Unlock()
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
