package vnodes

import (
	"bytes"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"
)

// memFile is what a MemoryStorage keeps under a name; it outlives the stores
// that are opened on it. Records in it are never changed, only replaced.
type memFile struct {
	id     Identity
	number uint64 // Store.ID

	mu      sync.RWMutex // held for one batch, one record or one chunk, and to reap
	records btree.Map[string, Record]
	digest  Digest
	tree    Tree
	maxTime uint64
}

// memStore is a Store in memory. Appended is durable at once: done is called by
// Append itself, with no lock held.
type memStore struct {
	file    *memFile
	storage *memoryStorage
	closed  atomic.Bool
}

func (s *memStore) Append(writes []Write, done func(error)) {
	if s.closed.Load() {
		done(ErrClosed)
		return
	}
	if err := checkWrites(writes); err != nil {
		done(err)
		return
	}
	s.file.enter(writes)
	done(nil)
}

func (f *memFile) enter(writes []Write) {
	f.mu.Lock()
	defer f.mu.Unlock()
	count := tally{&f.digest, &f.tree}
	for i := range writes {
		key, r := writes[i].Key, writes[i].Record
		old, had := f.records.Set(string(key), r)
		if had {
			count.remove(key, recordDigest(key, &old))
		}
		count.add(key, recordDigest(key, &r))
		f.maxTime = max(f.maxTime, r.Stamp.Time)
	}
}

// reap forgets the tombstones below a time.
func (f *memFile) reap(below uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var keys []string
	f.records.Scan(func(key string, r Record) bool {
		if r.Deleted() && r.Stamp.Time < below {
			keys = append(keys, key)
		}
		return true
	})
	count := tally{&f.digest, &f.tree}
	for _, key := range keys {
		if r, ok := f.records.Delete(key); ok {
			count.remove([]byte(key), recordDigest([]byte(key), &r))
		}
	}
}

func (s *memStore) Latest(key []byte) (Record, bool, error) { return s.Get(key) }

func (s *memStore) Get(key []byte) (Record, bool, error) {
	if s.closed.Load() {
		return Record{}, false, ErrClosed
	}
	s.file.mu.RLock()
	r, ok := s.file.records.Get(string(key))
	s.file.mu.RUnlock()
	r.Value = bytes.Clone(r.Value)
	return r, ok, nil
}

func (s *memStore) Ascend(from []byte, fn func(key []byte, r Record) bool) error {
	return ascend(from, s.fill, fn)
}

func (s *memStore) fill(c *chunk, from []byte) error {
	if s.closed.Load() {
		return ErrClosed
	}
	s.file.mu.RLock()
	defer s.file.mu.RUnlock()
	s.file.records.Ascend(string(from), func(key string, r Record) bool {
		return c.add([]byte(key), &r)
	})
	return nil
}

func (s *memStore) Digest() Digest {
	s.file.mu.RLock()
	defer s.file.mu.RUnlock()
	return s.file.digest
}

func (s *memStore) Tree() (Tree, error) {
	if s.closed.Load() {
		return Tree{}, ErrClosed
	}
	s.file.mu.RLock()
	defer s.file.mu.RUnlock()
	return s.file.tree, nil
}

func (s *memStore) ID() uint64 { return s.file.number }

func (s *memStore) MaxTime() uint64 {
	s.file.mu.RLock()
	defer s.file.mu.RUnlock()
	return s.file.maxTime
}

func (s *memStore) Sync() error {
	if s.closed.Load() {
		return ErrClosed
	}
	return nil
}

// Close lets the name be opened again; the records stay in the storage.
func (s *memStore) Close() error {
	if s.closed.Swap(true) {
		return ErrClosed
	}
	s.storage.release(s.file)
	return nil
}

func (s *memStore) Drop() error {
	if s.closed.Swap(true) {
		return ErrClosed
	}
	s.storage.forget(s.file)
	return nil
}
