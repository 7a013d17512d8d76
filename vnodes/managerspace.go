package vnodes

// Stats is how the disk of the vnodes' files does; false for storage in memory.
func (m *Manager) Stats() (DiskStats, bool) {
	if m.disk == nil {
		return DiskStats{}, false
	}
	return m.disk.Stats(), true
}

// StorageFailed is closed when the node can acknowledge no write any more, until
// it starts anew; StorageErr says why. It is nil for storage in memory.
func (m *Manager) StorageFailed() <-chan struct{} {
	if m.disk == nil {
		return nil
	}
	return m.disk.Failed()
}

// StorageErr is why the commit log has failed, nil if it has not.
func (m *Manager) StorageErr() error {
	if m.disk == nil {
		return nil
	}
	return m.disk.Err()
}

// JournalFailed is closed when the node can note nothing any more, until it starts
// anew; JournalErr says why.
func (m *Manager) JournalFailed() <-chan struct{} { return m.journal.Failed() }

// JournalErr is why nothing can be noted, nil if it can.
func (m *Manager) JournalErr() error { return m.journal.Err() }

// writable refuses what would write records while the disk has no room for them.
func (m *Manager) writable(doing string) error {
	if m.disk == nil {
		return nil
	}
	return m.disk.Writable(doing)
}

func (v *vnode) writable(doing string) error { return v.m.writable(doing) }

// takes refuses about size bytes of records that would move here, if they would
// leave too little room.
func (m *Manager) takes(doing string, size int64) error {
	if m.disk == nil {
		return nil
	}
	return m.disk.Takes(doing, size)
}
