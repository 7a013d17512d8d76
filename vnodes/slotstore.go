package vnodes

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
)

// slotStore is a Store whose file is opened when it is first needed and made when
// something is first written, so that a node with a thousand empty partitions has
// no file for them, and nobody but its user waits for a slow open.
type slotStore struct {
	name   string
	open   func() (Store, error) // its error wraps fs.ErrNotExist if there has never been a file
	create func() (Store, error)
	saw    func(*slotStore, error) // told of damage, if not nil; it must not block

	inner atomic.Pointer[Store] // nil until the file is open
	empty atomic.Bool           // there has never been a file

	mu  sync.Mutex // held while opening, making or closing the file
	err error      // why it cannot be opened: for good
}

// notice tells of err if it is damage, and returns it.
func (s *slotStore) notice(err error) error {
	if err != nil && s.saw != nil && errors.Is(err, ErrCorrupt) {
		s.saw(s, err)
	}
	return err
}

// opened reports whether reads cost no opening.
func (s *slotStore) opened() bool { return s.inner.Load() != nil || s.empty.Load() }

// get is the open store; nil if there is no file and never was.
func (s *slotStore) get() (Store, error) {
	if st := s.inner.Load(); st != nil {
		return *st, nil
	}
	if s.empty.Load() {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.getLocked()
	return st, s.notice(err)
}

func (s *slotStore) getLocked() (Store, error) {
	if st := s.inner.Load(); st != nil || s.err != nil || s.empty.Load() {
		if st == nil {
			return nil, s.err
		}
		return *st, s.err
	}
	st, err := s.open()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.empty.Store(true)
		return nil, nil
	case err != nil:
		s.err = fmt.Errorf("open %s: %w", s.name, err)
		return nil, s.err
	}
	s.inner.Store(&st)
	return st, nil
}

// make is get for writing: it makes the file if there is none.
func (s *slotStore) make() (Store, error) {
	if st, err := s.get(); st != nil || err != nil {
		return st, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st, err := s.getLocked(); st != nil || err != nil {
		return st, err
	}
	st, err := s.create()
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", s.name, err) // the next write tries again
	}
	s.inner.Store(&st)
	s.empty.Store(false)
	return st, nil
}

// Append implements Store.
func (s *slotStore) Append(writes []Write, done func(error)) {
	st, err := s.get()
	if err == nil && st == nil && len(writes) > 0 {
		st, err = s.make()
	}
	if err != nil || st == nil {
		done(err)
		return
	}
	st.Append(writes, done)
}

// Latest implements Store.
func (s *slotStore) Latest(key []byte) (Record, bool, error) {
	st, err := s.get()
	if st == nil {
		return Record{}, false, err
	}
	r, ok, err := st.Latest(key)
	return r, ok, s.notice(err)
}

// latestIn implements scratchStore.
func (s *slotStore) latestIn(key []byte, scratch *[]byte) (Record, bool, error) {
	st, err := s.get()
	if st == nil {
		return Record{}, false, err
	}
	if inner, ok := st.(scratchStore); ok {
		r, ok, err := inner.latestIn(key, scratch)
		return r, ok, s.notice(err)
	}
	r, ok, err := st.Latest(key)
	return r, ok, s.notice(err)
}

// Get implements Store.
func (s *slotStore) Get(key []byte) (Record, bool, error) {
	st, err := s.get()
	if st == nil {
		return Record{}, false, err
	}
	r, ok, err := st.Get(key)
	return r, ok, s.notice(err)
}

// Ascend implements Store.
func (s *slotStore) Ascend(from []byte, fn func(key []byte, r Record) bool) error {
	st, err := s.get()
	if st == nil {
		return err
	}
	return s.notice(st.Ascend(from, fn))
}

// Digest implements Store.
func (s *slotStore) Digest() Digest {
	st, _ := s.get() // Check tells of an error
	if st == nil {
		return Digest{}
	}
	return st.Digest()
}

// Tree implements Store.
func (s *slotStore) Tree() (Tree, error) {
	st, err := s.get()
	if st == nil {
		return Tree{}, err
	}
	t, err := st.Tree()
	return t, s.notice(err)
}

// ID implements Store. It makes the file if there is none: from then on the data
// have a name.
func (s *slotStore) ID() uint64 {
	st, err := s.make()
	if err != nil {
		return 0
	}
	return st.ID()
}

// MaxTime implements Store.
func (s *slotStore) MaxTime() uint64 {
	st, _ := s.get()
	if st == nil {
		return 0
	}
	return st.MaxTime()
}

// Check opens the file, if there is one, and says whether it can be used.
func (s *slotStore) Check() error {
	_, err := s.get()
	return err
}

// Sync implements Store.
func (s *slotStore) Sync() error {
	st, err := s.get()
	if st == nil {
		return err
	}
	return s.notice(st.Sync())
}

// retire ends the store without a word to its file, which goes out of the way.
func (s *slotStore) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err = ErrClosed; s.inner.Load() == nil {
		s.empty.Store(false) // so that every call meets the error
	}
}

// Close implements Store.
func (s *slotStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.inner.Load()
	if s.err == nil {
		s.err = ErrClosed
	}
	if st == nil {
		s.empty.Store(false) // so that every call meets the error
		return nil
	}
	return (*st).Close()
}

// Drop implements Store.
func (s *slotStore) Drop() error {
	st, err := s.get()
	if st != nil {
		return st.Drop()
	}
	return errors.Join(err, s.Close())
}
