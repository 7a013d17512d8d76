package vnodes

import (
	"errors"
	"fmt"
	"os"

	"go.etcd.io/bbolt"
)

// checkpoint writes what the store's file lacks, as of now, into it: a new file
// takes its place, or, where little of it changes, its pages are updated. The
// records stay readable throughout. It does nothing if there is nothing to gain.
func (s *diskStore) checkpoint() error {
	s.checkpointing.Lock()
	defer s.checkpointing.Unlock()
	if err := s.load(); err != nil {
		return s.fail(err)
	}
	w, err := s.freeze()
	if w == nil || err != nil {
		return err
	}
	if w.t != nil && !s.disk.log.isDurable(w.t.last) {
		if err := s.disk.log.flush(); err != nil {
			return err
		}
	}
	return s.carryOut(w)
}

// carryOut writes w, or says what that means for the store.
func (s *diskStore) carryOut(w *writing) error {
	err := s.nameError("checkpoint", s.write(w))
	switch {
	case err == nil:
		return nil
	case w.t == nil && errors.Is(err, ErrCorrupt):
		// The file lacks nothing: it stays as long as it is, and serves what is whole.
		s.mu.Lock()
		s.use.copied, s.use.floor = s.use.size, w.floor
		s.disk.damaged(s, s.name, err)
		s.mu.Unlock()
		return err
	}
	return s.fail(err)
}

// writing is what a checkpoint writes.
type writing struct {
	t        *table    // nil: nothing new, but the file is wasteful
	order    []uint32  // numbers of the table's keys, in the order of the keys
	state    fileState // of the file, but for the digest, afterwards
	floor    uint64    // tombstones below it are left out of a new file
	wasteful bool      // the file is to be copied
}

// freeze is what is to be written, nil for nothing: the table of an attempt that
// found no room on the disk, or else what has come since.
func (s *diskStore) freeze() (*writing, error) {
	floor := s.disk.floor(s.id) // first: a tombstone that comes later lies above it
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return nil, s.failed
	}
	if s.frozen == nil && s.active.first != 0 {
		s.frozen, s.active = s.active, newTable(s.disk.blocks)
		s.frozen.maxTime = s.maxTime
		s.turns++
		s.pending.Store(0)
		s.since.Store(0)
	}
	w := &writing{t: s.frozen, state: s.state, floor: floor}
	w.wasteful = s.use.wasteful(&s.state.digest, func() uint64 { return floor })
	if w.t == nil {
		if !w.wasteful || s.closed {
			return nil, nil
		}
		return w, nil
	}
	w.state.maxTime, w.state.covered = w.t.maxTime, w.t.last+1
	return w, nil
}

// write puts the records of w into the file.
func (s *diskStore) write(w *writing) error {
	if w.t != nil {
		w.order = w.t.sorted(0, len(w.t.keys))
		s.mu.Lock()
		w.t.runs = [][]uint32{w.order}
		s.mu.Unlock()
	}
	rewrite, err := s.worthRewriting(w)
	if err != nil {
		return err
	}
	if rewrite {
		err := s.rewrite(w)
		if !errors.Is(err, ErrCorrupt) || w.t == nil {
			return err
		}
		// Damage stays where it is, and is told of; what is beside it can still be updated.
		s.mu.RLock()
		s.disk.damaged(s, s.name, err)
		s.mu.RUnlock()
	}
	if w.t == nil {
		return nil
	}
	return s.update(w)
}

// updateAtOnce is how many records go into a file in one transaction, which holds
// every page that it touches in memory.
const updateAtOnce = 8192

// update puts the records into the file, and counts what they replace: in several
// transactions, of which only the last says that the log's entries are covered.
// What a crash leaves of them is no harm: all records are put again, over themselves.
func (s *diskStore) update(w *writing) error {
	s.landing.Lock()
	defer s.landing.Unlock()
	return s.file.use(s, func(f *boltFile) error {
		state := s.state // only checkpoints change it
		for rest := w.order; len(rest) > 0; {
			next := state
			part := rest[:min(len(rest), updateAtOnce)]
			rest = rest[len(part):]
			if len(rest) == 0 {
				next.maxTime, next.covered = w.state.maxTime, w.state.covered
			}
			if err := f.update(func(tx *bbolt.Tx) error { return w.put(tx, part, &next) }); err != nil {
				s.halfDone(w, &state)
				return err
			}
			state = next
		}
		use := s.use // only checkpoints change it
		use.size = fileSize(s.path())
		s.landed(w, &state, use)
		return nil
	})
}

// put puts some records into the file, which state describes.
func (w *writing) put(tx *bbolt.Tx, numbers []uint32, state *fileState) error {
	records, err := fileBucket(tx, recordsBucket)
	if err != nil {
		return err
	}
	var tree Tree
	if err := readTree(tx, &tree); err != nil {
		return err
	}
	count := tally{&state.digest, &tree}
	c := records.Cursor()
	var y yielder
	for _, number := range numbers {
		key, v := w.t.key(number), w.t.version(w.t.keys[number].newest)
		old, had, err := findKey(c, key)
		if err != nil {
			return err
		}
		if had {
			count.remove(key, recordDigest(key, &old))
		}
		count.add(key, digestOf(key, v.stored))
		if err := putKey(records, key, v.stored); err != nil {
			return err
		}
		y.yield()
	}
	return errors.Join(writeState(tx, state), writeTree(tx, &tree))
}

// halfDone notes that the file is in state, with some of w's records: it is to be
// counted anew what those of the table replace. The caller holds landing.
func (s *diskStore) halfDone(w *writing, state *fileState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.digest != state.digest {
		s.state = *state
		s.turns++
		w.t.uncount()
	}
}

// landed lets the file, which holds what w has brought, count in place of the
// table. The caller holds landing.
func (s *diskStore) landed(w *writing, state *fileState, use fileUse) {
	s.mu.Lock()
	s.frozen, s.state, s.use = nil, *state, use
	s.turns++
	s.mu.Unlock()
	if w.t != nil {
		freed := w.t.bytes
		w.t.free() // everybody else who looks at it holds mu
		s.disk.freed(freed)
	}
}

// fileSize is how long the file at path is; 0 if nobody knows.
func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// fail lets the store take no more after err, unless that may go away: there is no
// room on the disk, and nothing has been written.
func (s *diskStore) fail(err error) error {
	if noRoom(err) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil && !errors.Is(err, ErrClosed) {
		s.disk.tables.Add(-s.countedLocked())
		s.failed = err
		s.disk.logger.Error("store failed and takes no more writes", "partition", s.id.Partition, "err", err)
		s.disk.damaged(s, s.name, err)
	}
	return err
}

// load reads what the file says of itself, unless that is done.
func (s *diskStore) load() error {
	s.mu.RLock()
	loaded := s.loaded
	s.mu.RUnlock()
	if loaded {
		return nil
	}
	var id Identity
	var state fileState
	err := s.view(func(r *boltReader) (err error) {
		if id, err = readIdentity(r.tx); err != nil {
			return err
		}
		state, err = readState(r.tx)
		return err
	})
	if err != nil {
		return s.nameError("read", err)
	}
	if err := s.disk.checkState(&state); err != nil {
		return s.nameError("open", err)
	}
	size := fileSize(s.path())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id, s.state, s.use.size, s.loaded = id, state, size, true
	s.maxTime = max(s.maxTime, state.maxTime)
	return nil
}

// checkState refuses a file whose newest records lie in a log that is not here.
func (d *Disk) checkState(state *fileState) error {
	switch {
	case state.log != d.log.id:
		return fmt.Errorf("%w: the log that its newest records are in is gone", ErrCorrupt)
	case state.covered > d.log.position():
		return fmt.Errorf("%w: the log ends at %v, and the file holds what was at %v", ErrCorrupt, d.log.position(), state.covered-1)
	}
	return nil
}
