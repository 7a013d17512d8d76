package vnodes

import (
	"os"
	"sync/atomic"
	"time"
)

// The marks of a Disk that is told none.
var (
	lowDefault      = defaultMark{percent: 10, most: 10 << 30}
	criticalDefault = defaultMark{percent: 3, most: 2 << 30}
)

const (
	// smallPart of a disk is what the log may take of it, and smallest the least that
	// it is given, whatever DiskOptions say: a small disk has to hold data too.
	smallPart = 8
	smallest  = 1 << 20

	// spaceSlack is kept for what nobody counts: folders, the journal, raft's files.
	spaceSlack = 1 << 20

	listEvery = 2 * time.Second        // how often the sizes of files are looked at
	spaceTick = 500 * time.Millisecond // how often the disk is asked for its free room, at least
)

// diskSpace watches the room on the disk.
type diskSpace struct {
	now     atomic.Pointer[Space]
	seen    atomic.Int64 // bytes in all tables at the last look
	look    chan struct{}
	refused atomic.Int64 // commands, effects, chunks and sessions

	largest int64     // what the largest file has on the disk, as of listed; the watcher's
	listed  time.Time // likewise
}

// fitDisk makes the sizes in o right for a small disk.
func (o *DiskOptions) fitDisk(dir string) {
	_, total, err := o.files.space(dir)
	if err != nil || total <= 0 {
		return
	}
	o.LogBytes = min(o.LogBytes, max(total/smallPart, 4*smallest))
	o.SegmentBytes = min(o.SegmentBytes, max(total/(4*smallPart), smallest))
	o.TableBytes = min(o.TableBytes, max(total/(8*smallPart), smallest))
}

// Space is the room on the disk as it was lately.
func (d *Disk) Space() Space {
	if s := d.space.now.Load(); s != nil {
		return *s
	}
	return Space{}
}

// Writable refuses what would make the records grow while the room on the disk is
// critical. doing is for people.
func (d *Disk) Writable(doing string) error {
	s := d.space.now.Load()
	if s == nil || s.Level < Critical {
		return nil
	}
	d.space.refused.Add(1)
	return &SpaceError{Doing: doing, Free: s.Free, Need: s.leave(s.Critical)}
}

// Takes refuses records that others would bring, about size bytes of them, if
// that would leave less room than the low mark.
func (d *Disk) Takes(doing string, size int64) error {
	s := d.space.now.Load()
	if s == nil || !s.Known {
		return nil
	}
	need := s.Low
	if s.Level >= Low {
		need = s.leave(s.Low)
	}
	if need += 2 * size; s.Free >= need { // twice: in the log, and in the file
		return nil
	}
	d.space.refused.Add(1)
	return &SpaceError{Doing: doing, Free: s.Free, Need: need}
}

// leave is the room with which the level of a mark ends: a little more than with
// which it begins, so that it does not come and go.
func (s *Space) leave(mark int64) int64 { return mark + max(mark/8, smallest/2) }

// next is the level after one of s's, with the room that s says.
func (s *Space) next(before Level) Level {
	switch {
	case !s.Known:
		return Roomy
	case s.Free < s.Critical || before == Critical && s.Free < s.leave(s.Critical):
		return Critical
	case s.Free < s.Low || before >= Low && s.Free < s.leave(s.Low):
		return Low
	}
	return Roomy
}

// watchSpace looks after the room until Close.
func (d *Disk) watchSpace() {
	t := time.NewTicker(min(spaceTick, d.opts.CheckpointAge))
	defer t.Stop()
	for {
		select {
		case <-d.stop:
			return
		case <-t.C:
		case <-d.space.look:
		}
		d.lookAtSpace()
	}
}

// lookSoon has the room looked at: much has been written, or has found no room.
func (d *Disk) lookSoon() {
	select {
	case d.space.look <- struct{}{}:
	default:
	}
}

// lookAtSpace finds out how much room there is and acts on it. One goroutine at a time.
func (d *Disk) lookAtSpace() {
	before := d.Space()
	d.space.seen.Store(d.tables.Load())
	now := Space{}
	if free, total, err := d.fsys.space(d.dir); err == nil {
		now = Space{Known: true, Free: free, Total: total, Reserve: d.reserve()}
		now.Critical = max(d.opts.Critical.of(total, criticalDefault), now.Reserve)
		now.Low = max(d.opts.Low.of(total, lowDefault), now.Critical)
	}
	now.Level = now.next(before.Level)
	d.space.now.Store(&now)
	d.log.tellRoom(now.Free-now.Reserve, now.Known, now.Level > Roomy)
	if now.Level == before.Level {
		return
	}
	d.tellLevel(&before, &now)
	if now.Level == Critical || before.Level == Critical {
		d.hurry()
	}
}

// tellLevel logs a change of the level, once.
func (d *Disk) tellLevel(before, now *Space) {
	const from = "the disk has room again"
	args := []any{"level", now.Level.String(), "free", now.Free, "low", now.Low, "critical", now.Critical, "total", now.Total}
	switch {
	case now.Level == Critical:
		d.logger.Warn("disk almost full: writes are refused until there is room", args...)
	case now.Level == Low && before.Level == Critical:
		d.logger.Warn("disk has room for writes again; partitions that would move here are still refused", args...)
	case now.Level == Low:
		d.logger.Warn("disk is getting full: partitions that would move here are refused", args...)
	default:
		d.logger.Info(from, args...)
	}
}

// hurry has everything written into the files at once, so that the log can be
// shortened: when room is short, and when there is some again.
func (d *Disk) hurry() {
	d.mu.Lock()
	for _, s := range d.stores {
		s.notBefore.Store(0)
	}
	d.mu.Unlock()
	d.roomMu.Lock()
	d.noRoom = nil // what it was about is tried again
	d.room.Broadcast()
	d.roomMu.Unlock()
	d.wake()
}

// reserve is the room that must be left so that everything that was acknowledged
// can be written into the files and the log be shortened: what the tables become in
// files, the copy that a checkpoint may make of what the largest file holds already,
// and the segment that the log needs to say that older ones may go. It does not
// depend on how full the tables are now, or the level would come and go with them.
func (d *Disk) reserve() int64 {
	tables := max(d.tables.Load(), d.opts.mostTables())
	return spaceSlack + 2*tables + d.log.limits.first + d.space.largestFile(d)
}

// largestFile is what the largest store takes of the disk, as of lately.
func (w *diskSpace) largestFile(d *Disk) int64 {
	if time.Since(w.listed) < listEvery {
		return w.largest
	}
	names, err := d.List()
	if err != nil {
		return w.largest
	}
	w.largest, w.listed = 0, time.Now()
	for _, name := range names {
		if info, err := os.Stat(d.path(name)); err == nil { // else it was renamed or dropped just now
			w.largest = max(w.largest, onDisk(info))
		}
	}
	return w.largest
}
