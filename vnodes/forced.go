package vnodes

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/ringcore/ringcore/metadata/ring"
)

// When a node goes out of a list without handing over (ring.Assignment.Forced), those
// behind it move up, and a service with fewer replicas than the list has places comes to
// a node that has none of its records. That slot is catching until it has the records
// of all others that serve it; of a service with one replica there are none, so that it
// begins empty. Nothing else tells such a slot, after a restart, from one that has always
// been there: so the journal notes for each slot up to which Forced it is filled.

const forcedPrefix = "forced/" // + name: u64, the gen

// filledSince is the newest Forced gen up to which the slot under name is filled.
func (j *Journal) filledSince(name string) ring.Gen {
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.values[forcedPrefix+name]
	if len(b) != 8 {
		return 0
	}
	return ring.Gen(binary.BigEndian.Uint64(b))
}

func (j *Journal) setFilled(name string, g ring.Gen) error {
	return j.change(forcedPrefix+name, binary.BigEndian.AppendUint64(nil, uint64(g)))
}

// moveUp looks at a slot of this node in a list that a node was forced out of. It
// reports whether the slot has come, or may have come, without records: then it is filled
// from here on. m.installMu is held.
func (m *Manager) moveUp(svc *service, old, r *ring.Ring, p ring.Partition, a *arrival) (fills bool, err error) {
	forced, name := r.Assignments[p].Forced, slotFile(svc, p)
	if forced == 0 || m.journal.filledSince(name) >= forced {
		return false, nil
	}
	id := vnodeID{service: svc.id, partition: p}
	had := within(old.Place(p, m.node), svc.replicas(old))
	arrives := a != nil && a.note.moves(svc.Name)
	m.mu.Lock()
	_, filling := m.forced[id]
	m.mu.Unlock()
	switch {
	case r.Assignments[p].Replicas[r.Place(p, m.node)].CatchingUp:
		return false, nil // its session fills it
	case filling:
		return false, nil
	case had, arrives:
		return false, m.journal.setFilled(name, forced)
	}
	if err := m.hold(r.Epoch); err != nil {
		return false, err
	}
	if old.Epoch > 0 && svc.replicas(r) > 1 {
		if err := m.dropSlot(svc, p); err != nil { // what an earlier tenure left is stale, and the others know more
			return false, err
		}
	}
	m.mu.Lock()
	if m.forced == nil {
		m.forced = make(map[vnodeID]struct{})
	}
	m.forced[id] = struct{}{}
	begin := !m.filling
	m.filling = true
	m.mu.Unlock()
	if begin && !m.spawn(m.fillForced) {
		return false, errors.New("the node is stopping")
	}
	return true, nil
}

// fillForced fills slots until none is left to fill.
func (m *Manager) fillForced() {
	for wait := newBackoff(20*time.Millisecond, 2*time.Second); ; {
		m.mu.Lock()
		var left []vnodeID
		for id := range m.forced {
			left = append(left, id)
		}
		if len(left) == 0 {
			m.filling = false
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
		progress := false
		for _, id := range left {
			if err := m.fillSlot(m.ctx, id); err != nil {
				m.log.Debug("slot not filled yet", "service", m.services[id.service].Name, "partition", id.partition, "err", err)
				continue
			}
			progress = true
		}
		if progress {
			wait = newBackoff(20*time.Millisecond, 2*time.Second)
			continue
		}
		if !wait.sleep(m.ctx) {
			return
		}
	}
}

// fillSlot takes the records of all other replicas, those too that are being filled
// themselves: together they have all there is. Then the slot serves.
func (m *Manager) fillSlot(ctx context.Context, id vnodeID) error {
	svc, r, p := m.services[id.service], m.ring(), id.partition
	if r.Epoch == 0 {
		return errors.New("no ring is in force yet")
	}
	d := &driver{session: Session{Step: ring.Step{Kind: kindCatchUp, Partition: p, To: m.node}}, begun: m.now()}
	if within(r.Place(p, m.node), svc.replicas(r)) {
		for _, x := range r.Replicas(p, svc.replicas(r)) {
			if x.Node == m.node || x.CatchingUp {
				continue
			}
			if _, err := m.pull(ctx, d, x.Node, []*service{svc}, true); err != nil {
				return err
			}
		}
	}
	m.installMu.Lock()
	defer m.installMu.Unlock()
	if m.ring().Gen(p) != r.Gen(p) {
		return errors.New("the ring has changed meanwhile")
	}
	if err := m.journal.setFilled(slotFile(svc, p), r.Assignments[p].Forced); err != nil {
		return err
	}
	m.mu.Lock()
	delete(m.forced, id)
	m.mu.Unlock()
	m.regate(svc, p)
	m.log.Info("slot filled after a node was forced out", "service", svc.Name, "partition", p, "items", d.records.Load())
	return nil
}
