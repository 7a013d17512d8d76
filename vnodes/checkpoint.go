package vnodes

import (
	"errors"
	"fmt"
	"io/fs"

	"go.etcd.io/bbolt"
)

// checkpoint writes what the store's file lacks, as of now, into it. The records
// stay readable throughout. It does nothing if there is nothing.
func (s *diskStore) checkpoint() error {
	s.checkpointing.Lock()
	defer s.checkpointing.Unlock()
	if err := s.load(); err != nil {
		return s.fail(err)
	}
	t, state, err := s.freeze()
	if t == nil || err != nil {
		return err
	}
	if !s.disk.log.isDurable(t.last) {
		if err := s.disk.log.flush(); err != nil {
			return err
		}
	}
	if err := s.write(t, &state); err != nil {
		return s.fail(s.nameError("checkpoint", err))
	}
	s.mu.Lock()
	s.frozen, s.state = nil, state
	s.written++
	s.mu.Unlock()
	s.disk.freed(t.bytes)
	return nil
}

// freeze is the table to write, with the state that this leads to: that of an
// attempt that found no room on the disk, or else what has come since. nil if
// there is nothing to write.
func (s *diskStore) freeze() (*table, fileState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return nil, fileState{}, s.failed
	}
	if s.frozen == nil && s.active.first != 0 {
		s.frozen, s.active = s.active, new(table)
		s.frozen.after = s.state
		s.frozen.after.digest, s.frozen.after.maxTime = s.digest, s.maxTime
		s.frozen.after.covered = s.frozen.last + 1
		s.pending.Store(0)
		s.since.Store(0)
	}
	if s.frozen == nil {
		return nil, fileState{}, nil
	}
	return s.frozen, s.frozen.after, nil
}

// write puts the records of t, in one transaction, into the file.
func (s *diskStore) write(t *table, state *fileState) error {
	return s.file.use(s, func(f *boltFile) error {
		return f.update(func(tx *bbolt.Tx) error {
			records, err := fileBucket(tx, recordsBucket)
			if err != nil {
				return err
			}
			t.tree.Scan(func(key string, v *version) bool {
				err = putKey(records, []byte(key), v.stored)
				return err == nil
			})
			if err != nil {
				return err
			}
			return writeState(tx, state)
		})
	})
}

// fail lets the store take no more after err, unless that may go away: there is no
// room on the disk, and nothing has been written.
func (s *diskStore) fail(err error) error {
	var path *fs.PathError
	if isDiskFull(err) && errors.As(err, &path) {
		return err // a failed sync has no path: nobody knows what it has lost
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil && !errors.Is(err, ErrClosed) {
		s.disk.tables.Add(-s.countedLocked())
		s.failed = err
		s.disk.logger.Error("store failed and takes no more writes", "partition", s.id.Partition, "err", err)
	}
	return err
}

// load reads the state of the file, and accounts for what the log has given back
// beyond it, unless that is done.
func (s *diskStore) load() error {
	s.mu.RLock()
	loaded, t := s.loaded, s.active
	s.mu.RUnlock()
	if loaded {
		return nil
	}
	var id Identity
	var state fileState
	digest, maxTime := Digest{}, uint64(0)
	err := s.view(func(tx *bbolt.Tx) error {
		var err error
		if id, err = readIdentity(tx); err != nil {
			return err
		}
		if state, err = readState(tx); err != nil {
			return err
		}
		digest, maxTime, err = recount(tx, t, &state)
		return err
	})
	if err != nil {
		return s.nameError("read", err)
	}
	if err := s.disk.checkState(&state); err != nil {
		return s.nameError("open", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id, s.state, s.digest, s.maxTime, s.loaded = id, state, digest, maxTime, true
	return nil
}

// recount is the digest and the highest time of the records in the file with
// those of t over them. Nobody else has t yet.
func recount(tx *bbolt.Tx, t *table, state *fileState) (d Digest, maxTime uint64, err error) {
	d, maxTime = state.digest, state.maxTime
	records, err := fileBucket(tx, recordsBucket)
	if err != nil {
		return d, maxTime, err
	}
	t.tree.Scan(func(k string, v *version) bool {
		key := []byte(k)
		var old, r Record
		var had bool
		if old, had, err = findKey(records, key); err != nil {
			return false
		}
		if had {
			d.remove(key, &old, RecordHash(key, &old))
		}
		if r, err = parseRecord(key, v.stored); err != nil {
			return false
		}
		d.add(key, &r, RecordHash(key, &r))
		maxTime = max(maxTime, r.Stamp.Time)
		return true
	})
	return d, maxTime, err
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
