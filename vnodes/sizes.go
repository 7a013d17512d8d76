package vnodes

import (
	"fmt"

	"github.com/ringcore/ringcore/metadata/ring"
)

// SlotSize is what a slot of this node holds of one service.
type SlotSize struct {
	Records int64 `json:"records"` // tombstones included: they move too
	Bytes   int64 `json:"bytes"`   // keys and values
}

// Sizes tells what this node's slots hold, by service and partition. A slot that cannot
// be read, or is not complete, is not in it.
func (m *Manager) Sizes() map[string]map[ring.Partition]SlotSize {
	all := make(map[string]map[ring.Partition]SlotSize, len(m.services))
	r := m.ring()
	for _, svc := range m.services {
		sizes := make(map[ring.Partition]SlotSize)
		all[svc.Name] = sizes
		for p := range r.Assignments {
			p := ring.Partition(p)
			if !within(r.Place(p, m.node), svc.replicas(r)) {
				continue
			}
			if svc.vnodes[p].Load() == nil && !m.journal.HasFile(slotFile(svc, p)) {
				sizes[p] = SlotSize{} // never written
				continue
			}
			v, werr := m.openSlot(svc, p, 0)
			if werr != nil || v.gate.Load().phase == catching || v.check() != nil {
				continue
			}
			d := v.store.Digest()
			sizes[p] = SlotSize{Records: d.Records, Bytes: d.Bytes}
		}
	}
	return all
}

// CheckReplicas reports why the cluster cannot keep n replicas of each partition, for the
// sake of the services: one that has asked for more than n replicas would lose some, and
// one that takes as many as there are must be able to live with several.
func (m *Manager) CheckReplicas(n int) error {
	for _, svc := range m.services {
		if svc.N > n {
			return fmt.Errorf("service %s is registered with %d replicas (N: %d): with %d its data would have fewer copies than it asks for", svc.Name, svc.N, svc.N, n)
		}
		if svc.N == 0 {
			if err := svc.checkReplicas(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// Replicas tells how many replicas each service has asked for; 0: as many as the cluster keeps.
func (m *Manager) Replicas() map[string]int {
	all := make(map[string]int, len(m.services))
	for _, svc := range m.services {
		all[svc.Name] = svc.N
	}
	return all
}
