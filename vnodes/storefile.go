package vnodes

import (
	"errors"
	"sync"
	"sync/atomic"
)

// storeFile is a store's bbolt file, which is open only while it is in use or
// has been lately.
type storeFile struct {
	used   atomic.Int64 // the disk's clock at the last use
	pinned atomic.Bool  // it stays open: another one is about to take its name

	mu     sync.RWMutex // read-held while the file is in use
	bolt   *boltFile    // nil: not open
	closed bool
}

// use runs fn with the file of s open.
func (f *storeFile) use(s *diskStore, fn func(*boltFile) error) error {
	f.mu.RLock()
	for f.bolt == nil {
		f.mu.RUnlock()
		if err := f.open(s); err != nil {
			return err
		}
		s.disk.boundOpen()
		f.mu.RLock()
	}
	defer f.mu.RUnlock()
	if now := s.disk.clock.Load(); f.used.Load() != now {
		f.used.Store(now)
	}
	return fn(f.bolt)
}

func (f *storeFile) open(s *diskStore) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	if f.bolt != nil {
		return nil
	}
	b, err := openBolt(s.path())
	if err != nil {
		return err
	}
	f.put(s, b)
	return nil
}

// put makes b the open file. The caller holds mu, or is the only one to know f.
func (f *storeFile) put(s *diskStore, b *boltFile) {
	f.bolt = b
	f.used.Store(s.disk.clock.Add(1)) // the last to be closed
	s.disk.opened()
}

// pin opens the file and keeps it open until unpin: whoever opened it by its name
// meanwhile would meet the one that is to replace it. One goroutine at a time.
func (f *storeFile) pin(s *diskStore) error {
	return f.use(s, func(*boltFile) error {
		f.pinned.Store(true)
		return nil
	})
}

func (f *storeFile) unpin() { f.pinned.Store(false) }

// replace makes b the open file, when those who use the old one have ended, and
// returns that one, if it was open, for the caller to close: nobody waits for it.
func (f *storeFile) replace(s *diskStore, b *boltFile) (old *boltFile, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errors.Join(ErrClosed, b.close())
	}
	if old = f.bolt; old != nil {
		s.disk.rested()
	}
	f.put(s, b)
	return old, nil
}

// rest closes the file, unless it is in use, pinned or broken, and reports whether it did.
func (f *storeFile) rest(s *diskStore) (bool, error) {
	if !f.mu.TryLock() {
		return false, nil
	}
	defer f.mu.Unlock()
	if f.bolt == nil || f.pinned.Load() || f.bolt.broken.Load() != nil {
		return false, nil
	}
	err := f.bolt.close()
	f.bolt = nil
	s.disk.rested()
	return true, err
}

// close gives up the file for good.
func (f *storeFile) close(s *diskStore) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.bolt == nil {
		return nil
	}
	err := f.bolt.close()
	f.bolt = nil
	s.disk.rested()
	return err
}
