package vnodes

import "github.com/ringcore/ringcore/metadata/ring"

// Copy is what one vnode of this node holds under a key, readable or not.
type Copy struct {
	For    ring.NodeID // of a hint: whose it is; else empty
	State  string      // as VnodeInfo's
	Record *Record     // nil if it holds none
	Err    error       // why that is not known
}

// Copies are what this node holds under the key of a record: in its own slot, if it has one,
// and as hints for others. The durable records are meant; nothing is repaired or merged.
func (m *Manager) Copies(service string, p ring.Partition, key []byte) []Copy {
	var all []Copy
	for _, svc := range m.services {
		if svc.Name != service || int(p) >= len(svc.vnodes) {
			continue
		}
		r := m.ring()
		if within(r.Place(p, m.node), svc.replicas(r)) {
			v, werr := m.openSlot(svc, p, 0)
			if werr != nil {
				all = append(all, Copy{State: "lost", Err: werr})
			} else {
				all = append(all, v.copyOf(key))
			}
		}
		for _, v := range m.open() {
			if v.svc == svc && v.id.partition == p && v.id.fallback != "" {
				all = append(all, v.copyOf(key))
			}
		}
	}
	return all
}

func (v *vnode) copyOf(key []byte) Copy {
	c := Copy{For: v.id.fallback, State: v.gate.Load().phase.word()}
	r, found, err := v.store.Get(key)
	switch {
	case err != nil:
		c.Err = err
	case found:
		c.Record = &r
	}
	return c
}
