package vnodes

import (
	"context"
	"errors"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// idleWait is how long comparisons and floors wait for a worker: one that is stuck holds
// up nobody else.
const idleWait = 2 * time.Second

// comparedSlot is one side's slot in a comparison, at one gen. Its vnode and its file
// are opened only when the trees differ: most slots of a node may be idle.
type comparedSlot struct {
	m   *Manager
	svc *service
	p   ring.Partition
	gen uint64
	v   *vnode // nil: not opened
}

// begin reports what keeps the slot from being compared.
func (s *comparedSlot) begin() error {
	if s.m.moving(s.p) {
		return wire.Errorf(wire.Unavailable, "partition %d is moving", s.p)
	}
	if v := s.svc.vnodes[s.p].Load(); v != nil {
		ctx, cancel := context.WithTimeout(s.m.ctx, idleWait)
		defer cancel()
		if err := v.idle(ctx); err != nil { // behind any new gate
			return err
		}
	}
	return s.still()
}

// still reports what has come between the slot and the comparison.
func (s *comparedSlot) still() error {
	v := s.svc.vnodes[s.p].Load()
	if s.v != nil && v != s.v {
		return wire.Errorf(wire.NotReadable, "this replica has got a new file")
	}
	var g gate
	if v != nil {
		g = *v.gate.Load()
	} else {
		g = s.m.gateOf(s.svc, s.p)
	}
	switch {
	case g.gen != s.gen:
		return wire.Errorf(wire.Stale, "gen %d is in force here, not %d", g.gen, s.gen)
	case g.phase == lost:
		return wire.Errorf(wire.NotReadable, "this replica has lost its data: %s", g.reason)
	case g.phase != serving:
		return wire.Errorf(wire.NotReadable, "this replica does not serve now")
	case s.m.damagedHere(vnodeID{service: s.svc.id, partition: s.p}):
		return wire.Errorf(wire.NotReadable, "this replica is damaged")
	}
	return nil
}

// open is the slot's vnode, whose records can be read; all that it has accepted
// before is durable then.
func (s *comparedSlot) open() (*vnode, error) {
	if s.v != nil {
		return s.v, nil
	}
	v, werr := s.m.openSlot(s.svc, s.p, s.gen)
	if werr != nil {
		return nil, werr
	}
	if err := v.check(); err != nil {
		return nil, err
	}
	s.v = v
	return v, errors.Join(v.store.Sync(), s.still())
}

// tree is the slot's hash tree.
func (s *comparedSlot) tree() (Tree, error) {
	if s.v == nil && s.svc.vnodes[s.p].Load() == nil {
		if t, ok := s.m.idleTree(slotFile(s.svc, s.p)); ok {
			return t, nil
		}
	}
	v, err := s.open()
	if err != nil {
		return Tree{}, err
	}
	return v.store.Tree()
}

// idleTree is the tree of the store under name, if that needs no opening: there has
// never been a file, or nobody uses it and it says so itself.
func (m *Manager) idleTree(name string) (t Tree, ok bool) {
	switch {
	case m.disk == nil:
		return t, false
	case !m.journal.HasFile(name):
		return t, true
	}
	return m.disk.idleTree(name)
}

// idleTree reads the tree of a store of which all records are in its file, and which
// is not open, with a few small reads.
func (d *Disk) idleTree(name string) (t Tree, ok bool) {
	d.mu.Lock()
	used := d.stores[name] != nil || d.blocked[name] != nil
	d.mu.Unlock()
	if used {
		return t, false
	}
	sealed, err := peekMeta(d.path(name), treeKey)
	if err != nil {
		return t, false // damaged, or empty: who opens it will see
	}
	b, err := unseal(treeKey, sealed)
	return t, err == nil && t.parse(b)
}
