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
	state.maxTime, state.covered = t.maxTime, t.last+1
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

// freeze is the table to write and the state of the file: the table of an attempt
// that found no room on the disk, or else what has come since, or nil.
func (s *diskStore) freeze() (*table, fileState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return nil, fileState{}, s.failed
	}
	if s.frozen == nil && s.active.first != 0 {
		s.frozen, s.active = s.active, new(table)
		s.frozen.maxTime = s.maxTime
		s.pending.Store(0)
		s.since.Store(0)
	}
	if s.frozen == nil {
		return nil, fileState{}, nil
	}
	return s.frozen, s.state, nil
}

// write puts the records of t, in one transaction, into the file, and counts what
// they replace. Nobody else counts those of t meanwhile.
func (s *diskStore) write(t *table, state *fileState) error {
	return s.file.use(s, func(f *boltFile) error {
		return f.update(func(tx *bbolt.Tx) error {
			records, err := fileBucket(tx, recordsBucket)
			if err != nil {
				return err
			}
			delta := t.delta
			t.tree.Scan(func(k string, v *version) bool {
				key := []byte(k)
				if !v.counted {
					var old Digest
					if old, err = digestIn(records, key); err != nil {
						return false
					}
					delta.subtract(old)
					delta.sum(digestOf(key, v.stored))
				}
				err = putKey(records, key, v.stored)
				return err == nil
			})
			if err != nil {
				return err
			}
			state.digest.sum(delta)
			return writeState(tx, state)
		})
	})
}

// digestIn is the digest of the record under key in a file, of none if there is none.
func digestIn(records *bbolt.Bucket, key []byte) (d Digest, err error) {
	r, had, err := findKey(records, key)
	if had {
		d.add(key, &r, RecordHash(key, &r))
	}
	return d, err
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
	err := s.view(func(tx *bbolt.Tx) (err error) {
		if id, err = readIdentity(tx); err != nil {
			return err
		}
		state, err = readState(tx)
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
	s.id, s.state, s.loaded = id, state, true
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
