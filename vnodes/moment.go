package vnodes

import (
	"bytes"
	"slices"
	"sync"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// momentBytes bounds what all folds of a node keep of records that have been replaced
// since they began.
const momentBytes = 64 << 20

// moment lets a fold, which reads a store in chunks and takes its time, see the records
// as they were when it began: whoever writes under a key that the fold has not come to
// yet leaves it what was there. So no read transaction stays open meanwhile, and nobody waits.
type moment struct {
	v      *vnode
	leaves Leaves
	rest   *Tree // what all other leaves must be; nil for anything

	mu    sync.Mutex         // held for a few instructions, and while a record is read that is about to be replaced
	ended bool               // nobody looks any more
	at    []byte             // the fold has come so far
	had   map[string]*Record // behind at: what was there; nil for nothing
	bytes int64
	err   error // why the moment cannot be seen any more
}

// begin makes now the moment. Worker only.
func (m *moment) begin(v *vnode) {
	v.moments = append(v.moments, m)
	if m.rest == nil {
		return
	}
	// Who asks for this has just asked for the tree: what it takes to count has been counted.
	own, err := v.store.Tree()
	changed := differing(&own, m.rest)
	if v.id.fallback != "" && v.store.Digest().Records > 0 {
		changed = allLeaves() // also of tombstones, which are in no tree
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if changed.Add(&m.leaves); err == nil && changed != m.leaves {
		err = wire.Errorf(wire.Conflict, "partition %d has changed in more leaves meanwhile", v.id.partition)
	}
	m.err = err
}

// end lets go of what was kept. It may be called without begin.
func (m *moment) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended, m.had = true, nil
	m.v.m.moments.Add(-m.bytes)
}

// keepMoments has all folds keep what writes are about to replace. Worker only.
func (v *vnode) keepMoments(writes []Write) {
	v.moments = slices.DeleteFunc(v.moments, func(m *moment) bool { return !m.keep(writes) })
}

// keep keeps what writes are about to replace; false if nobody looks at the moment any
// more. Worker only.
func (m *moment) keep(writes []Write) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended || m.err != nil {
		return false
	}
	for i := range writes {
		key := writes[i].Key
		if _, kept := m.had[string(key)]; kept || bytes.Compare(key, m.at) <= 0 || !m.leaves.Holds(key) {
			continue
		}
		old, ok, err := m.v.store.Latest(key)
		if err != nil {
			m.err = err
			return false
		}
		n := int64(len(key) + len(old.Value) + 128)
		m.bytes += n
		if m.v.m.moments.Add(n) > momentBytes {
			m.err = wire.Errorf(wire.Overload, "over %d MiB were overwritten while the records of partition %d were read: read fewer partitions at a time, or when less is written",
				momentBytes>>20, m.v.id.partition)
			return false
		}
		m.had[string(key)] = nil
		if ok {
			m.had[string(key)] = &old
		}
	}
	return true
}

// pass moves the fold on to key, under which r is now, and returns what was there then.
func (m *moment) pass(key []byte, r Record) (then Record, there bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = append(m.at[:0], key...)
	old, kept := m.had[string(key)]
	if !kept {
		return r, true
	}
	delete(m.had, string(key))
	if old == nil {
		return r, false
	}
	return *old, true
}

// broken reports why the moment cannot be seen any more.
func (m *moment) broken() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// whole reports why the fold, which has come to its end, has not seen the moment.
func (m *moment) whole() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	for _, old := range m.had {
		if old != nil && !old.Deleted() {
			return wire.Errorf(wire.Unavailable, "a record of partition %d was deleted while the others were read, and is gone for good already", m.v.id.partition)
		}
	}
	return nil
}
