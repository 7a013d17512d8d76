package vnodes

import (
	"fmt"

	"go.etcd.io/bbolt"
)

// change returns when key durably has value.
func (j *Journal) change(key string, value []byte) error {
	done := make(chan error, 1)
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return ErrClosed
	}
	j.queue = append(j.queue, journalChange{key, value, done})
	if !j.running {
		j.running = true
		j.wg.Go(j.commitAll)
	}
	j.mu.Unlock()
	return <-done
}

// commitAll is the committer: what arrives during one transaction is the next one.
func (j *Journal) commitAll() {
	for {
		j.mu.Lock()
		changes, err := j.queue, j.failed
		if j.queue = nil; len(changes) == 0 {
			j.running = false
			j.mu.Unlock()
			return
		}
		changes = j.keepCeiling(changes)
		j.mu.Unlock()
		if err == nil {
			if err = j.commit(changes); err != nil {
				err = fmt.Errorf("write journal: %w", err)
			}
		}
		j.settle(changes, err)
		for _, c := range changes {
			c.done <- err
		}
	}
}

// commit writes changes, in their order, in one transaction.
func (j *Journal) commit(changes []journalChange) error {
	if j.file == nil {
		return nil
	}
	return j.file.update(func(tx *bbolt.Tx) error {
		b, err := fileBucket(tx, journalBucket)
		if err != nil {
			return err
		}
		for _, c := range changes {
			if c.value == nil {
				err = b.Delete([]byte(c.key))
			} else {
				err = b.Put([]byte(c.key), seal(c.key, c.value))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// settle makes changes visible, or writes down why they came to nothing.
func (j *Journal) settle(changes []journalChange, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		if j.failed == nil && !noRoom(err) {
			j.failed = err
			close(j.broken)
		}
		return
	}
	for _, c := range changes {
		if c.value == nil {
			delete(j.values, c.key)
		} else {
			j.values[c.key] = c.value
		}
	}
}
