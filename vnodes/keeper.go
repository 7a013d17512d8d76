package vnodes

import (
	"cmp"
	"hash/fnv"
	"slices"
	"time"
)

// keepers is how many checkpoints run at a time.
const keepers = 2

// largeTable is the part of all tables' memory that one table may take before it
// is written, so that no transaction becomes very large.
const largeTable = 4

// keep is a keeper: it writes the stores that are due.
func (d *Disk) keep() {
	for {
		select {
		case <-d.stop:
			return
		case <-d.kick:
		}
		for s := d.due(time.Now()); s != nil; s = d.due(time.Now()) {
			d.wake() // another one may be due too
			begun := time.Now()
			err := s.checkpoint()
			known := d.done(s, err)
			d.counts.checkpoint(begun, err)
			if err == nil {
				err = d.trim()
			}
			d.lookSoon()
			if err != nil && !known {
				d.logger.Warn("checkpoint put off", "partition", s.id.Partition, "err", err)
			}
		}
	}
}

// wake wakes a keeper, if one sleeps.
func (d *Disk) wake() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// tick wakes a keeper now and then, for what is due by age, and closes files that
// are idle when too many are open.
func (d *Disk) tick() {
	t := time.NewTicker(min(time.Second, d.opts.CheckpointAge))
	defer t.Stop()
	for {
		select {
		case <-d.stop:
			return
		case <-d.crowded:
			d.restIdle()
		case <-t.C:
			d.clock.Add(1)
			d.blocks.shrink()
			d.wake()
			d.room.Broadcast() // the log may have failed
		}
	}
}

// due is a store to be written now, nil if none is. It counts as busy until done.
func (d *Disk) due(now time.Time) *diskStore {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut || d.log.err() != nil {
		return nil
	}
	critical := d.Space().Level == Critical
	if critical && len(d.busy) > 0 {
		return nil // one at a time: each may need room of its own for a while
	}
	var largest, oldest, aged, wasteful *diskStore
	var size int64
	var from position
	for _, s := range d.stores {
		if d.busy[s] || s.notBefore.Load() > now.UnixNano() || s.hopeless() {
			continue
		}
		at, needs := s.needs()
		if !needs {
			if s.wasteful() {
				wasteful = s
			}
			continue
		}
		if n := s.pending.Load(); n > size {
			largest, size = s, n
		}
		if oldest == nil || at < from {
			oldest, from = s, at
		}
		since := s.since.Load() // read after needs: an Append sets it before it lets needs see its records
		if since == 0 || critical || now.Sub(time.Unix(0, since)) > d.age(s.name) {
			aged = s // also one whose last attempt has failed
		}
	}
	due := aged
	switch {
	case size > d.opts.TableBytes/largeTable, largest != nil && d.tables.Load() > d.opts.TableBytes:
		due = largest
	case d.log.bytes() > d.opts.LogBytes && oldest != nil:
		due = oldest
	}
	if due == nil {
		due = wasteful
	}
	if due != nil {
		d.busy[due] = true
	}
	return due
}

// age spreads the checkpoints of stores that are written to at the same time.
func (d *Disk) age(name string) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	return d.opts.CheckpointAge + time.Duration(float64(d.opts.CheckpointAge)*float64(h.Sum32())/(1<<32))
}

// done ends a checkpoint of s, and reports whether err says what is known: that
// there is no room.
func (d *Disk) done(s *diskStore, err error) (known bool) {
	if err != nil {
		s.notBefore.Store(time.Now().Add(retryPause).UnixNano())
	}
	d.mu.Lock()
	delete(d.busy, s)
	d.mu.Unlock()
	d.roomMu.Lock()
	defer d.roomMu.Unlock()
	if err == nil || isDiskFull(err) {
		known = err != nil && d.noRoom != nil
		d.noRoom = err
	}
	d.room.Broadcast()
	return known
}

// trim shortens the log by what all stores have in their files.
func (d *Disk) trim() error {
	needed := d.log.position() // looked at first: what comes later is behind it
	d.mu.Lock()
	for _, b := range d.blocked {
		needed = min(needed, b.from)
	}
	for _, s := range d.stores {
		if at, ok := s.needs(); ok {
			needed = min(needed, at)
		}
	}
	d.mu.Unlock()
	return d.log.trim(needed)
}

// grown counts n bytes more in the tables, the last of them in that of s.
func (d *Disk) grown(s *diskStore, n int64) {
	if n == 0 {
		return
	}
	total := d.tables.Add(n)
	if total-d.space.seen.Load() > d.opts.TableBytes/8 {
		d.lookSoon()
	}
	if total > d.opts.TableBytes || s.pending.Load() > d.opts.TableBytes/largeTable {
		d.wake()
	}
}

// freed counts n bytes less in the tables.
func (d *Disk) freed(n int64) {
	d.tables.Add(-n)
	d.roomMu.Lock()
	d.room.Broadcast()
	d.roomMu.Unlock()
}

// hurried reports whether checkpoints must not take their time.
func (d *Disk) hurried() bool {
	return d.awaited.Load() > 0 || d.tables.Load() > d.opts.TableBytes*9/8 || d.log.bytes() > d.opts.LogBytes
}

// mostTables is the memory of tables at which Append waits.
func (o *DiskOptions) mostTables() int64 { return o.TableBytes * 3 / 2 }

// awaitRoom waits while the tables are over their limit. The error says why that
// would not help.
func (d *Disk) awaitRoom() error {
	if d.tables.Load() <= d.opts.mostTables() {
		return nil
	}
	d.roomMu.Lock()
	defer d.roomMu.Unlock()
	for d.tables.Load() > d.opts.mostTables() {
		switch err := d.log.err(); {
		case err != nil:
			return err
		case d.shutDown:
			return ErrClosed
		case d.noRoom != nil:
			return d.noRoom
		}
		d.wake()
		d.room.Wait()
	}
	return nil
}

// opened counts the file of s among those that are open.
func (d *Disk) opened() {
	if d.open.Add(1) > int64(d.opts.OpenFiles) {
		select {
		case d.crowded <- struct{}{}:
		default:
		}
	}
}

// boundOpen lets whoever opens files faster than they are closed do that. The
// caller holds no lock.
func (d *Disk) boundOpen() {
	if d.open.Load() > 2*int64(d.opts.OpenFiles) {
		d.restIdle()
	}
}

// rested is opened undone.
func (d *Disk) rested() { d.open.Add(-1) }

// restIdle closes the files that were used least lately while there are too many.
func (d *Disk) restIdle() {
	crowded := func() bool { return d.open.Load() > int64(d.opts.OpenFiles) } // others may close some meanwhile
	if !crowded() {
		return
	}
	d.mu.Lock()
	all := make([]*diskStore, 0, len(d.stores))
	for _, s := range d.stores {
		all = append(all, s)
	}
	d.mu.Unlock()
	slices.SortFunc(all, func(a, b *diskStore) int { return cmp.Compare(a.file.used.Load(), b.file.used.Load()) })
	for _, s := range all {
		if !crowded() {
			return
		}
		if _, err := s.file.rest(s); err != nil {
			d.logger.Warn("idle file not closed", "partition", s.id.Partition, "err", err)
		}
	}
}
