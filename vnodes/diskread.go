package vnodes

import (
	"bytes"

	"go.etcd.io/bbolt"
)

func (s *diskStore) Latest(key []byte) (Record, bool, error) {
	s.mu.RLock()
	v := s.active.latest(key)
	if v == nil {
		v = s.frozen.latest(key)
	}
	s.mu.RUnlock()
	return s.found(key, v)
}

func (s *diskStore) Get(key []byte) (Record, bool, error) {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return Record{}, false, ErrClosed
	}
	durable := position(s.disk.log.durable.Load())
	v := s.active.latest(key).visible(durable)
	if v == nil {
		v = s.frozen.latest(key).visible(durable)
	}
	s.mu.RUnlock()
	return s.found(key, v)
}

// found is the record of v, or what the file holds under key if there is no v.
func (s *diskStore) found(key []byte, v *version) (r Record, ok bool, err error) {
	if v != nil {
		r, err = v.record(key)
		return r, err == nil, err
	}
	err = s.view(func(tx *bbolt.Tx) error {
		b, err := fileBucket(tx, recordsBucket)
		if err != nil {
			return err
		}
		r, ok, err = findKey(b, key)
		r.Value = bytes.Clone(r.Value)
		return err
	})
	if err != nil {
		return Record{}, false, s.nameError("read", err)
	}
	return r, ok, nil
}

// view runs fn in a read transaction of the file.
func (s *diskStore) view(fn func(tx *bbolt.Tx) error) error {
	return s.file.use(s, func(f *boltFile) error { return f.view(fn) })
}

func (s *diskStore) Ascend(from []byte, fn func(key []byte, r Record) bool) error {
	return ascend(from, s.fill, fn)
}

// fill copies the durable records from key on into c: those of the tables, then
// those of the file between them, unless a checkpoint has come in between.
func (s *diskStore) fill(c *chunk, from []byte) error {
	const n = chunkRecords + 1 // one more than c takes, so that it says that there are more
	for {
		s.mu.RLock()
		if s.closed {
			s.mu.RUnlock()
			return ErrClosed
		}
		durable, written := position(s.disk.log.durable.Load()), s.written
		active := s.active.from(nil, string(from), n, durable)
		frozen := s.frozen.from(nil, string(from), n, durable)
		s.mu.RUnlock()
		newer := mergeKeyed(active, frozen, n)
		if err := s.nameError("read", s.fillFrom(c, from, newer)); err != nil {
			return err
		}
		s.mu.RLock()
		again := s.written != written
		s.mu.RUnlock()
		if !again {
			return nil
		}
		c.reset()
	}
}

// fillFrom copies newer, in key order, and between them what the file has under
// other keys from key on, into c until it is full.
func (s *diskStore) fillFrom(c *chunk, from []byte, newer []keyed) error {
	var failed error
	// take copies the first of newer and returns false if that ends the chunk.
	take := func() bool {
		key := []byte(newer[0].key)
		r, err := parseRecord(key, newer[0].v.stored)
		if failed = err; err != nil {
			return false
		}
		newer = newer[1:]
		return c.add(key, &r)
	}
	full := false
	err := s.view(func(tx *bbolt.Tx) error {
		b, err := fileBucket(tx, recordsBucket)
		if err != nil {
			return err
		}
		w := keyWalk{fn: func(key, value []byte) bool {
			for len(newer) > 0 && newer[0].key < string(key) {
				if full = !take(); full {
					return false
				}
			}
			if len(newer) > 0 && newer[0].key == string(key) {
				full = !take()
				return !full
			}
			r, err := parseRecord(key, value)
			if failed = err; err != nil {
				return false
			}
			full = !c.add(key, &r)
			return !full
		}}
		w.bucket(b, nil, 0, from)
		return failed
	})
	for err == nil && failed == nil && !full && len(newer) > 0 {
		full = !take()
	}
	if err != nil {
		return err
	}
	return failed
}
