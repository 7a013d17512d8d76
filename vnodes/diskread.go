package vnodes

import (
	"bytes"
	"cmp"
)

func (s *diskStore) Latest(key []byte) (Record, bool, error) {
	s.mu.RLock()
	v, ok := s.active.latest(key)
	if !ok {
		v, ok = s.frozen.latest(key)
	}
	if ok {
		defer s.mu.RUnlock()
		return found(key, v)
	}
	empty := s.emptyFileLocked()
	s.mu.RUnlock()
	return s.inFile(key, empty)
}

// latestIn implements scratchStore.
func (s *diskStore) latestIn(key []byte, scratch *[]byte) (Record, bool, error) {
	s.mu.RLock()
	v, ok := s.active.latest(key)
	if !ok {
		v, ok = s.frozen.latest(key)
	}
	if ok {
		defer s.mu.RUnlock()
		r, err := parseRecord(key, v.stored)
		if n := len(r.Value); n > keptScratch {
			r.Value = bytes.Clone(r.Value)
		} else if n > 0 {
			*scratch = append((*scratch)[:0], r.Value...)
			r.Value = *scratch
		}
		return r, err == nil, err
	}
	empty := s.emptyFileLocked()
	s.mu.RUnlock()
	return s.inFile(key, empty)
}

func (s *diskStore) Get(key []byte) (Record, bool, error) {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return Record{}, false, ErrClosed
	}
	durable := s.disk.log.durableEnd()
	v, ok := s.active.visible(key, durable)
	if !ok {
		v, ok = s.frozen.visible(key, durable)
	}
	if ok {
		defer s.mu.RUnlock()
		return found(key, v)
	}
	empty := s.emptyFileLocked()
	s.mu.RUnlock()
	return s.inFile(key, empty)
}

// emptyFileLocked reports whether the file surely has no records: it is not opened
// to find nothing, since a new node has many such. The caller holds mu.
func (s *diskStore) emptyFileLocked() bool {
	return s.loaded && !s.closed && s.state.digest.Records == 0
}

// found is the caller's own copy of v, which is under key.
func found(key []byte, v version) (Record, bool, error) {
	r, err := v.record(key)
	return r, err == nil, err
}

// inFile is what the file holds under key, unless it is empty.
func (s *diskStore) inFile(key []byte, empty bool) (r Record, ok bool, err error) {
	if empty {
		return Record{}, false, nil
	}
	err = s.view(func(b *boltReader) error {
		r, ok, err = b.pages.find(key)
		r.Value = bytes.Clone(r.Value)
		return err
	})
	if err != nil {
		return Record{}, false, s.nameError("read", err)
	}
	return r, ok, nil
}

// view runs fn in a read transaction of the file.
func (s *diskStore) view(fn func(r *boltReader) error) error {
	return s.file.use(s, func(f *boltFile) error { return f.view(fn) })
}

func (s *diskStore) Ascend(from []byte, fn func(key []byte, r Record) bool) error {
	return ascend(from, s.fill, fn)
}

// fill copies the durable records from key on into c: those of the tables, then
// those of the file between them, unless a checkpoint has come in between.
func (s *diskStore) fill(c *chunk, from []byte) error {
	for {
		newer, turns, err := s.newer(from)
		if err != nil {
			return err
		}
		if err := s.nameError("read", s.fillFrom(c, from, newer)); err != nil {
			return err
		}
		s.mu.RLock()
		again := s.turns != turns
		s.mu.RUnlock()
		if !again {
			return nil
		}
		c.reset()
	}
}

// newer copies the durable records from key on that are in the tables, and tells
// at which turn of them.
func (s *diskStore) newer(from []byte) (page, uint64, error) {
	s.mu.RLock()
	for !s.active.ordered() || !s.frozen.ordered() {
		s.mu.RUnlock()
		s.order()
		s.mu.RLock()
	}
	defer s.mu.RUnlock()
	if s.closed {
		return page{}, 0, ErrClosed
	}
	durable := s.disk.log.durableEnd()
	return mergePages(s.active.from(from, durable), s.frozen.from(from, durable)), s.turns, nil
}

// order puts the tables' keys in order.
func (s *diskStore) order() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active.order()
	if s.frozen != nil {
		s.frozen.order()
	}
}

// fillFrom copies newer and, between its records, what the file has under other
// keys from key on, into c until it is full, or newer is cut off.
func (s *diskStore) fillFrom(c *chunk, from []byte, newer page) error {
	m := chunkMerge{c: c, newer: newer}
	err := s.view(func(r *boltReader) error {
		return cmp.Or(r.pages.walk(from, m.older), m.err)
	})
	if err != nil {
		return err
	}
	m.rest()
	return m.err
}

// chunkMerge merges records of the file into a page of newer ones.
type chunkMerge struct {
	c     *chunk
	newer page
	full  bool // c takes no more
	err   error
}

// older takes the next record of the file; false if that ends the chunk.
func (m *chunkMerge) older(key, stored []byte) bool {
	for len(m.newer.items) > 0 {
		switch n := bytes.Compare(m.newer.items[0].key, key); {
		case n < 0:
			if !m.takeNewer() {
				return false
			}
			continue
		case n == 0:
			return m.takeNewer()
		}
		break
	}
	if len(m.newer.items) == 0 && m.newer.cut {
		m.end()
		return false
	}
	return m.take(key, stored)
}

// rest takes what is newer than everything in the file.
func (m *chunkMerge) rest() {
	for m.err == nil && !m.full && len(m.newer.items) > 0 {
		m.takeNewer()
	}
	if m.err == nil && !m.full && m.newer.cut {
		m.end()
	}
}

func (m *chunkMerge) takeNewer() bool {
	k := m.newer.items[0]
	m.newer.items = m.newer.items[1:]
	return m.take(k.key, k.stored)
}

func (m *chunkMerge) take(key, stored []byte) bool {
	r, err := parseRecord(key, stored)
	if m.err = err; err != nil {
		return false
	}
	m.full = !m.c.add(key, &r)
	return !m.full
}

// end ends the chunk at the last record taken: nobody knows yet what follows it.
func (m *chunkMerge) end() { m.full, m.c.more = true, true }
