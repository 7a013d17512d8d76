package vnodes

import (
	"bytes"
	"fmt"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// bbolt shows a transaction to readers before its last sync has ended. A read
// that ran on a transaction newer than the durable one is therefore corrected:
// the keys of that transaction are in committing, with what they had before.

func (s *boltStore) Latest(key []byte) (Record, bool, error) {
	s.mu.Lock()
	e := s.pending[string(key)]
	if e == nil {
		e = s.committing[string(key)]
	}
	s.mu.Unlock()
	if e != nil {
		r := e.rec
		r.Value = bytes.Clone(r.Value)
		return r, true, nil
	}
	r, found, _, err := s.read(key)
	return r, found, err
}

func (s *boltStore) Get(key []byte) (Record, bool, error) {
	r, found, tx, err := s.read(key)
	if err != nil || tx <= s.durable.Load() {
		return r, found, err
	}
	s.mu.Lock()
	e := s.undone(tx, key)
	s.mu.Unlock()
	if e != nil {
		r, found = e.old, e.had
		r.Value = bytes.Clone(r.Value)
	}
	return r, found, nil
}

// undone is the entry under key of transaction tx, nil if it has none or has
// become durable. The caller holds mu.
func (s *boltStore) undone(tx int64, key []byte) *entry {
	if tx <= s.durable.Load() || tx != s.committer {
		return nil
	}
	return s.committing[string(key)]
}

// read is what the file shows under key, and in which transaction.
func (s *boltStore) read(key []byte) (r Record, found bool, tx int64, err error) {
	err = s.file.view(func(t *bbolt.Tx) error {
		tx = int64(t.ID())
		b, err := fileBucket(t, recordsBucket)
		if err != nil {
			return err
		}
		r, found, err = findKey(b, key)
		r.Value = bytes.Clone(r.Value)
		return err
	})
	if err != nil {
		return Record{}, false, 0, s.nameError("read", err)
	}
	return r, found, tx, nil
}

func (s *boltStore) Ascend(from []byte, fn func(key []byte, r Record) bool) error {
	return ascend(from, s.fill, fn)
}

// fill copies the durable records from key from on into c.
func (s *boltStore) fill(c *chunk, from []byte) error {
	var tx int64
	err := s.file.view(func(t *bbolt.Tx) error {
		tx = int64(t.ID())
		b, err := fileBucket(t, recordsBucket)
		if err != nil {
			return err
		}
		var failed error
		w := keyWalk{fn: func(key, value []byte) bool {
			r, err := parseRecord(key, value)
			if err != nil {
				failed = err
				return false
			}
			return c.add(key, &r)
		}}
		w.bucket(b, nil, 0, from)
		return failed
	})
	if err != nil {
		return s.nameError("read", err)
	}
	if tx > s.durable.Load() {
		s.undo(c, tx)
	}
	return nil
}

// undo turns c, read in transaction tx, into what it was before, unless tx has
// become durable.
func (s *boltStore) undo(c *chunk, tx int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := c.items[:0]
	for _, w := range c.items {
		if e := s.undone(tx, w.Key); e != nil {
			if !e.had {
				continue
			}
			w.Record = e.old
			w.Record.Value = c.copy(w.Record.Value)
		}
		kept = append(kept, w)
	}
	c.items = kept
}

// path is where the file lies now.
func (s *boltStore) path() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return filepath.Join(s.dir, filepath.FromSlash(s.name))
}

// nameError says which file err is about.
func (s *boltStore) nameError(doing string, err error) error {
	if err == nil || err == ErrClosed { //nolint:errorlint // ErrClosed alone needs no name
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Errorf("%s %s: %w", doing, s.name, err)
}
