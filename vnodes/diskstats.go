package vnodes

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// diskCounts count what the keepers have done.
type diskCounts struct {
	done   atomic.Int64
	failed atomic.Int64
	took   atomic.Int64 // ns, of both
}

// checkpoint counts one that ended with err.
func (c *diskCounts) checkpoint(begun time.Time, err error) {
	if err == nil {
		c.done.Add(1)
	} else {
		c.failed.Add(1)
	}
	c.took.Add(int64(time.Since(begun)))
}

// DiskStats are a Disk's state and counters.
type DiskStats struct {
	Space             Space
	Refused           int64 // for want of room: commands, effects, chunks and sessions
	LogBytes          int64
	TableBytes        int64
	OpenFiles         int64
	Checkpoints       int64 // by the keepers, that succeeded
	CheckpointsFailed int64
	CheckpointTime    time.Duration // spent in both
	LogErr            error         // why the log is lost, nil if it is not
	FailedStores      []FailedStore // those that take no more writes, by name
}

// FailedStore is a store that takes no more writes.
type FailedStore struct {
	Name string
	Err  error
}

// Stats is how the disk does.
func (d *Disk) Stats() DiskStats {
	return DiskStats{
		Space: d.Space(), Refused: d.space.refused.Load(), LogBytes: d.log.bytes(), TableBytes: d.tables.Load(), OpenFiles: d.open.Load(),
		Checkpoints: d.counts.done.Load(), CheckpointsFailed: d.counts.failed.Load(), CheckpointTime: time.Duration(d.counts.took.Load()),
		LogErr: d.log.err(), FailedStores: d.failedStores(),
	}
}

// failedStores are those that take no more writes.
func (d *Disk) failedStores() []FailedStore {
	d.mu.Lock()
	defer d.mu.Unlock()
	var failed []FailedStore
	for name, s := range d.stores {
		s.mu.RLock()
		if s.failed != nil {
			failed = append(failed, FailedStore{Name: name, Err: s.failed})
		}
		s.mu.RUnlock()
	}
	slices.SortFunc(failed, func(a, b FailedStore) int { return strings.Compare(a.Name, b.Name) })
	return failed
}
