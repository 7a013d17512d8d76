package vnodes

// The digest, and the hash tree, are kept as those of the file and what each table
// changes in them; the tree of the file stays in the file. To
// know what a new record replaces costs a search in the file, so nobody looks
// until somebody asks for one of them, or a checkpoint comes by there.

// countAtOnce is for how many records the file is searched between two locks.
const countAtOnce = 256

// Digest counts what has come since it was last asked for, or since the last
// checkpoint. If the file is damaged the store fails.
func (s *diskStore) Digest() Digest {
	d, err := s.sums(nil)
	if err != nil {
		_ = s.fail(err)
	}
	return d
}

// Tree counts as Digest does.
func (s *diskStore) Tree() (t Tree, err error) {
	if _, err = s.sums(&t); err != nil {
		err = s.fail(err)
	}
	return t, err
}

// sums is the digest, and sets tree, if that is not nil, as of one moment.
func (s *diskStore) sums(tree *Tree) (Digest, error) {
	for {
		turns, err := s.fileTree(tree)
		if err != nil {
			return Digest{}, err
		}
		s.mu.RLock()
		d, uncounted := s.state.digest, 0
		tables := [...]*table{s.frozen, s.active}
		for _, t := range tables {
			if t != nil {
				d.sum(t.delta)
				uncounted += t.uncounted
			}
		}
		if uncounted == 0 && s.turns == turns {
			for _, t := range tables {
				if t != nil && tree != nil {
					tree.sum(t.tree)
				}
			}
			s.mu.RUnlock()
			return d, nil
		}
		s.mu.RUnlock()
		for _, frozen := range []bool{true, false} {
			if err := s.count(frozen, turns); err != nil {
				return d, err
			}
		}
	}
}

// fileTree sets tree, if that is not nil, to the one of the file, and tells at which
// turn: until the next one it and the tables belong together.
func (s *diskStore) fileTree(tree *Tree) (turns uint64, err error) {
	if tree != nil {
		s.landing.RLock()
		defer s.landing.RUnlock()
	}
	s.mu.RLock()
	turns, empty := s.turns, s.emptyFileLocked()
	s.mu.RUnlock()
	switch {
	case tree == nil:
		return turns, nil
	case empty:
		*tree = Tree{}
		return turns, nil
	}
	err = s.view(func(r *boltReader) error { return readTree(r.tx, tree) })
	return turns, s.nameError("read", err)
}

// uncounted is a key whose newest version is not in its table's delta, and what it
// lies over if that is not in the file.
type uncounted struct {
	number uint32
	key    []byte
	old    Digest
	known  bool // old is
}

// count counts all records of the frozen or the active table, unless there has been
// a change of places since.
func (s *diskStore) count(frozen bool, turns uint64) error {
	s.landing.RLock()
	defer s.landing.RUnlock()
	for from, more := 0, true; more; {
		var batch []uncounted
		batch, from, more = s.uncounted(frozen, turns, from)
		if len(batch) == 0 {
			continue
		}
		err := s.view(func(r *boltReader) error {
			for i := range batch {
				if b := &batch[i]; !b.known {
					var err error
					if b.old, err = r.digest(b.key); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return s.nameError("read", err)
		}
		s.mu.Lock()
		if t := s.table(frozen); s.turns == turns && t != nil {
			for i := range batch {
				b := &batch[i]
				// It may be a newer version by now, which replaces the same.
				if p := t.keys[b.number].newest; !t.version(p).counted {
					t.count(b.key, p, b.old)
				}
			}
		} else {
			more = false
		}
		s.mu.Unlock()
	}
	return nil
}

// table is the frozen table or the active one. The caller holds mu.
func (s *diskStore) table(frozen bool) *table {
	if frozen {
		return s.frozen
	}
	return s.active
}

// uncounted is up to countAtOnce keys with numbers from on, and where to go on.
func (s *diskStore) uncounted(frozen bool, turns uint64, from int) (batch []uncounted, next int, more bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t := s.table(frozen)
	if t == nil || s.turns != turns {
		return nil, 0, false
	}
	for next = from; next < len(t.keys) && len(batch) < countAtOnce; next++ {
		if t.version(t.keys[next].newest).counted {
			continue
		}
		u := uncounted{number: uint32(next), key: append([]byte(nil), t.key(uint32(next))...)}
		if !frozen {
			if v, ok := s.frozen.latest(u.key); ok {
				u.old, u.known = digestOf(u.key, v.stored), true
			}
		}
		batch = append(batch, u)
	}
	return batch, next, next < len(t.keys)
}

// digest is the digest of the record under key in a file, of none if there is none.
func (r *boltReader) digest(key []byte) (d Digest, err error) {
	record, had, err := r.pages.find(key)
	if had {
		d = recordDigest(key, &record)
	}
	return d, err
}
