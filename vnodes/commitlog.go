package vnodes

import (
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// commitLog is the node's log. Everything that is appended while one write and
// its sync are under way is the next write:
//
//	append → group → writer: pwrite, fdatasync, done callbacks
//
// Entries get their positions when they are appended, in segments that lie ready
// on the disk. After the first failed write or sync nothing is tried again: all
// that waits, and all that comes, ends with that error.
type commitLog struct {
	fsys   fileSystem
	dir    string
	id     logID
	limits logLimits
	log    *slog.Logger
	cork   Cork   // may be nil
	rouse  func() // wakes the writer

	durable atomic.Uint64 // durableEnd
	gather  gathering     // the writer's

	mu       sync.Mutex // held for memory operations only, never over I/O
	work     sync.Cond  // the writer waits for groups, or for the end
	room     sync.Cond  // appenders wait for a segment
	groups   []*group   // not taken by the writer; the last one grows
	spent    []*group   // for use again
	active   *segment   // takes entries
	offset   int64      // in active: of the next entry
	next     *segment   // ready to be the active one, nil if there is none
	old      []*segment // full or ended, oldest first
	oldest   uint64     // number of the first segment that is needed, as far as the log says
	making   bool       // the maker runs
	noRoom   error      // why it could not make the last one, at noRoomAt
	noRoomAt time.Time
	roomLeft int64 // on the disk, beyond what must be left; unknown if negative
	short    bool  // the disk is: old segments are not kept
	failed   error
	closed   bool

	broken chan struct{}  // closed when failed is set
	wg     sync.WaitGroup // writer, maker
}

// logLimits are the sizes of a commitLog, in bytes.
type logLimits struct {
	first   int64 // of the first segment; each is twice as long as the one before
	segment int64 // of the longest segment, except for one that holds a longer entry
	spare   int64 // of old segments that are kept to be used again
}

// segment is a file of the log.
type segment struct {
	number uint64
	path   string
	length int64
	seed   uint32
	file   logFile // closed by the writer when the next segment's first write begins
}

// group is what becomes durable with one write.
type group struct {
	segment *segment
	offset  int64 // where buf goes
	buf     []byte
	acks    []ack
}

// ack is a caller who waits for a group; err is what he gets if that is durable.
type ack struct {
	done func(error)
	err  error
}

// maxPayload leaves an entry's end inside what a position can tell.
const maxPayload = math.MaxUint32 - 1<<20

// keptBuffer is the largest buffer that is kept for use again.
const keptBuffer = 4 << 20

// errNoSegment asks the caller of append to wait by awaitSegment.
var errNoSegment = errors.New("no segment is ready")

func (l *commitLog) start() {
	l.work.L, l.room.L = &l.mu, &l.mu
	l.rouse = l.work.Signal
	l.wg.Go(l.write)
}

// answerWith has k held while those who wait are told. It comes before the first append.
func (l *commitLog) answerWith(k Cork) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cork = k
}

// append enters an entry with payload, whose checksum is sum, and returns its
// position. done is called, in the order of all calls of append and after, when
// it is durable or has failed. The error errNoSegment asks for awaitSegment and
// another try; after any error nothing is entered and done is not called.
func (l *commitLog) append(file uint64, payload []byte, sum uint32, done func(error)) (position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return 0, err
	}
	size := entrySize + int64(len(payload))
	if l.offset+size > l.active.length {
		if l.next == nil || segmentHeader+size > l.next.length {
			return 0, errNoSegment
		}
		l.roll()
	}
	g := l.group()
	g.buf = appendEntry(g.buf, l.active.seed, l.offset, g.offset, file, payload, sum)
	g.acks = append(g.acks, ack{done: done})
	at := positionOf(l.active.number, l.offset)
	l.offset += size
	if l.next == nil && l.offset > l.active.length/2 {
		l.makeSegment(0)
	}
	return at, nil
}

// after calls done, with err if the log has not failed, after the callbacks of
// everything appended before. After close it calls it at once.
func (l *commitLog) after(err error, done func(error)) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		if err == nil {
			err = ErrClosed
		}
		done(err)
		return
	}
	g := l.group()
	g.acks = append(g.acks, ack{done, err})
	l.mu.Unlock()
}

// flush waits until everything appended before is durable.
func (l *commitLog) flush() error {
	flushed := make(chan error, 1)
	l.after(nil, func(err error) { flushed <- err })
	return <-flushed
}

// usable says why nothing can be appended. The caller holds mu.
func (l *commitLog) usable() error {
	if l.closed {
		return ErrClosed
	}
	return l.failed
}

// group is the one that grows; if there is none the writer is woken. The caller holds mu.
func (l *commitLog) group() *group {
	if n := len(l.groups); n > 0 && l.groups[n-1].segment == l.active {
		return l.groups[n-1]
	}
	g := new(group)
	if n := len(l.spent); n > 0 {
		g, l.spent = l.spent[n-1], l.spent[:n-1]
	}
	g.segment, g.offset = l.active, l.offset
	l.groups = append(l.groups, g)
	if l.cork == nil || !l.cork.Keep(l.rouse) {
		l.work.Signal()
	}
	return g
}

// roll makes next the active segment. The caller holds mu.
func (l *commitLog) roll() {
	info := segmentInfo{log: l.id, number: l.next.number, previousEnd: l.offset, oldest: l.oldest}
	l.old = append(l.old, l.active)
	l.active, l.next, l.offset = l.next, nil, 0
	g := l.group()
	g.buf = info.append(g.buf)
	l.offset = segmentHeader
}

// write is the writer.
func (l *commitLog) write() {
	var last *segment
	for groups := l.take(); len(groups) > 0; groups = l.take() {
		err := l.err()
		for _, g := range groups {
			if last != g.segment && last != nil && err == nil {
				err = last.file.Close()
			}
			last = g.segment
			if err == nil {
				err = l.commit(g)
			}
			if err != nil {
				err = l.fail(err)
			} else if len(g.buf) > 0 {
				l.durable.Store(uint64(positionOf(g.segment.number, g.offset+int64(len(g.buf)))))
			}
			l.acknowledge(g, err)
			l.recycle(g)
		}
	}
}

// take waits for groups to write; none are left when the log has been closed.
func (l *commitLog) take() []*group {
	// Those who were just answered go first: what they append next comes along.
	runtime.Gosched()
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.groups) == 0 && !l.closed {
		l.work.Wait()
	}
	if d := l.gather.wait(); d > 0 && !l.closed {
		l.mu.Unlock()
		doze(d)
		l.mu.Lock()
	}
	groups := l.groups
	l.groups = nil
	n := 0
	for _, g := range groups {
		n += len(g.acks)
	}
	l.gather.took(n, time.Now())
	return groups
}

// commit makes the group durable.
func (l *commitLog) commit(g *group) error {
	if len(g.buf) == 0 {
		return nil
	}
	begun := time.Now()
	defer func() { l.gather.synced(time.Since(begun)) }()
	if _, err := g.segment.file.WriteAt(g.buf, g.offset); err != nil {
		return fmt.Errorf("write to the commit log: %w", err)
	}
	if err := g.segment.file.sync(); err != nil {
		return fmt.Errorf("sync of the commit log: %w", err)
	}
	return nil
}

// fail ends the log, unless it has failed before, and returns the first error.
func (l *commitLog) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = err
		close(l.broken)
		l.log.Error("commit log failed: this node acknowledges no more writes", "err", err)
	}
	l.room.Broadcast()
	return l.failed
}

// acknowledge tells all who wait for the group that it is durable, or err.
func (l *commitLog) acknowledge(g *group, err error) {
	if l.cork != nil {
		l.cork.Hold()
		defer l.cork.Release()
	}
	for _, a := range g.acks {
		if err != nil && a.err == nil {
			a.err = err
		}
		a.done(a.err)
	}
}

func (l *commitLog) recycle(g *group) {
	clear(g.acks)
	g.acks, g.buf, g.segment = g.acks[:0], g.buf[:0], nil
	if cap(g.buf) > keptBuffer {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.spent) < 4 {
		l.spent = append(l.spent, g)
	}
}

// position is where the next entry goes, at the earliest.
func (l *commitLog) position() position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return positionOf(l.active.number, l.offset)
}

// durableEnd is the position before which everything is on the disk.
func (l *commitLog) durableEnd() position { return position(l.durable.Load()) }

// isDurable reports whether the entry at p is on the disk.
func (l *commitLog) isDurable(p position) bool { return p < l.durableEnd() }

// err is why the log has failed, nil if it has not.
func (l *commitLog) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// bytes is the size of all segments.
func (l *commitLog) bytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	total := l.active.length
	if l.next != nil {
		total += l.next.length
	}
	for _, s := range l.old {
		total += s.length
	}
	return total
}

// close waits for what was appended, then gives up the files.
func (l *commitLog) close() error {
	l.mu.Lock()
	l.closed = true
	l.work.Signal()
	l.room.Broadcast()
	l.mu.Unlock()
	l.wg.Wait()
	errs := []error{l.failed, l.active.file.Close()}
	if l.next != nil {
		errs = append(errs, l.next.file.Close())
	}
	return errors.Join(errs...)
}

func segmentName(number uint64) string { return fmt.Sprintf("%016x%s", number, segmentSuffix) }

func (l *commitLog) segmentPath(number uint64) string {
	return filepath.Join(l.dir, segmentName(number))
}

func payloadSum(payload []byte) uint32 { return crc32.Checksum(payload, castagnoli()) }
