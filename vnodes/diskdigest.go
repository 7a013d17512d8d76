package vnodes

import (
	"go.etcd.io/bbolt"
)

// The digest is kept as that of the file and what each table changes in it. To
// know what a new record replaces costs a search in the file, so nobody looks
// until a checkpoint comes by there, or somebody asks for the digest.

// countAtOnce is for how many records the file is searched between two locks.
const countAtOnce = 256

// Digest counts what has come since it was last asked for, or since the last
// checkpoint. It waits for one that runs. If the file is damaged the store fails.
func (s *diskStore) Digest() Digest {
	s.checkpointing.Lock() // from here on tables do not change places
	defer s.checkpointing.Unlock()
	for {
		s.mu.RLock()
		d, uncounted := s.state.digest, 0
		for _, t := range []*table{s.frozen, s.active} {
			if t != nil {
				d.sum(t.delta)
				uncounted += t.uncounted
			}
		}
		frozen, active := s.frozen, s.active
		s.mu.RUnlock()
		if uncounted == 0 {
			return d
		}
		for _, t := range []*table{frozen, active} {
			if err := s.count(t, frozen); err != nil {
				_ = s.fail(err)
				return d
			}
		}
	}
}

// count counts all records of t, which lies over the file, or over below if that
// is another table.
func (s *diskStore) count(t, below *table) error {
	if t == nil {
		return nil
	}
	for from, more := "", true; more; {
		batch := make([]keyed, 0, countAtOnce)
		s.mu.RLock()
		t.tree.Ascend(from, func(key string, v *version) bool {
			if !v.counted {
				batch = append(batch, keyed{key, v})
			}
			return len(batch) < countAtOnce
		})
		s.mu.RUnlock()
		if more = len(batch) == countAtOnce; more {
			from = batch[len(batch)-1].key + "\x00"
		}
		old, err := s.replacedBy(batch, t, below)
		if err != nil {
			return s.nameError("read", err)
		}
		s.mu.Lock()
		for i := range batch {
			key := []byte(batch[i].key)
			if v := t.latest(key); !v.counted { // it may be a newer one than that of batch
				t.count(key, v, old[i])
			}
		}
		s.mu.Unlock()
	}
	return nil
}

// replacedBy is the digests of what the records of batch, of t, lie over.
func (s *diskStore) replacedBy(batch []keyed, t, below *table) ([]Digest, error) {
	old := make([]Digest, len(batch))
	if len(batch) == 0 {
		return old, nil
	}
	err := s.view(func(tx *bbolt.Tx) error {
		records, err := fileBucket(tx, recordsBucket)
		if err != nil {
			return err
		}
		for i := range batch {
			key := []byte(batch[i].key)
			if t != below {
				if v := below.latest(key); v != nil {
					old[i] = digestOf(key, v.stored)
					continue
				}
			}
			if old[i], err = digestIn(records, key); err != nil {
				return err
			}
		}
		return nil
	})
	return old, err
}
