package vnodes

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"
)

// segmentSuffix ends the name of a segment's file.
const segmentSuffix = ".segment"

// awaitSegment waits until an entry with a payload of n bytes may find room. The
// error says that there is none on the disk for now, or that the log has ended.
func (l *commitLog) awaitSegment(n int) error {
	size := segmentHeader + entrySize + int64(n)
	l.mu.Lock()
	defer l.mu.Unlock()
	for tried := false; ; tried = true {
		switch err := l.usable(); {
		case err != nil:
			return err
		case l.next != nil && size <= l.next.length:
			return nil
		case tried && l.noRoom != nil:
			return l.noRoom
		case l.next != nil: // too short: the entry needs a segment of its own length
			l.roll()
		}
		l.makeSegment(size)
		for l.making && l.usable() == nil {
			l.room.Wait()
		}
	}
}

// makeSegment starts the maker of the next segment, at least size bytes long. The
// caller holds mu.
func (l *commitLog) makeSegment(size int64) {
	if l.making || l.next != nil || l.usable() != nil || l.noRoom != nil && time.Since(l.noRoomAt) < retryPause {
		return
	}
	l.making = true
	number := l.active.number + 1
	length := max(size, l.nextLength())
	l.wg.Go(func() {
		s, err := l.newSegment(number, length)
		l.mu.Lock()
		l.making, l.next, l.noRoom = false, s, nil
		if err != nil && isDiskFull(err) {
			l.noRoom, l.noRoomAt, err = fmt.Errorf("no room for the commit log: %w", err), time.Now(), nil
		}
		l.room.Broadcast()
		l.mu.Unlock()
		if err != nil {
			_ = l.fail(fmt.Errorf("make a segment of the commit log: %w", err))
		}
	})
}

// nextLength is how long the next segment should be: not so long that it takes a
// large part of what room there is. The caller holds mu.
func (l *commitLog) nextLength() int64 {
	length := min(2*l.active.length, l.limits.segment)
	if l.roomLeft >= 0 {
		length = min(length, max(l.roomLeft/segmentPart, l.limits.first))
	}
	return length
}

// segmentPart of the room on the disk is what a segment may take.
const segmentPart = 8

// tellRoom says how much room the disk has for the log, and whether it is short of it.
func (l *commitLog) tellRoom(left int64, known, short bool) {
	l.mu.Lock()
	l.roomLeft, l.short = -1, short
	if known {
		l.roomLeft = max(left, 0)
	}
	l.mu.Unlock()
}

// newSegment makes a segment's file, from one that is not needed any more if it can.
func (l *commitLog) newSegment(number uint64, length int64) (*segment, error) {
	path := l.segmentPath(number)
	s := &segment{number: number, path: path, length: length, seed: entrySeed(l.id, number)}
	if from := l.takeSpare(length); from != nil {
		s.length = from.length
		if err := renameFile(l.fsys, from.path, path); err != nil {
			return nil, err
		}
		f, err := l.fsys.open(path)
		if err != nil {
			return nil, err
		}
		s.file = f
		return s, nil
	}
	f, err := l.fsys.create(path+partSuffix, length)
	if err != nil {
		return nil, err
	}
	if err := renameFile(l.fsys, path+partSuffix, path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.file = f
	return s, nil
}

// takeSpare takes a segment that is not needed any more and long enough; nil if
// there is none.
func (l *commitLog) takeSpare(length int64) *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range l.spares() {
		if s.length >= length && s.length <= l.limits.segment {
			l.old = append(l.old[:i], l.old[i+1:]...)
			return s
		}
	}
	return nil
}

// spares are the old segments that are not needed any more. The caller holds mu.
func (l *commitLog) spares() []*segment {
	for i, s := range l.old {
		if s.number >= l.oldest {
			return l.old[:i]
		}
	}
	return l.old
}

// trim gives up the segments before the one that holds p. First the log says so,
// durably, so that a segment that is missing without that is noticed.
func (l *commitLog) trim(p position) error {
	l.mu.Lock()
	oldest := min(p.segment(), l.active.number)
	before := l.oldest
	l.mu.Unlock()
	if oldest <= before {
		return nil
	}
	payload := binary.BigEndian.AppendUint64(nil, oldest)
	trimmed := make(chan error, 1)
	if _, err := l.append(trimFile, payload, payloadSum(payload), func(err error) { trimmed <- err }); err != nil {
		if errors.Is(err, errNoSegment) {
			return nil // another time
		}
		return err
	}
	if err := <-trimmed; err != nil {
		return err
	}
	l.mu.Lock()
	l.oldest = max(l.oldest, oldest)
	l.mu.Unlock()
	return l.removeSpares()
}

// removeSpares deletes the old segments that are not worth keeping.
func (l *commitLog) removeSpares() error {
	removed := false
	for {
		l.mu.Lock()
		spares, total := l.spares(), int64(0)
		for _, s := range spares {
			total += s.length
		}
		keep := total <= l.limits.spare && !l.short && len(spares) > 0 && spares[0].length == l.limits.segment
		if len(spares) == 0 || keep {
			l.mu.Unlock()
			break
		}
		s := spares[0]
		l.old = l.old[1:]
		l.mu.Unlock()
		if err := l.fsys.remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove a segment of the commit log: %w", err)
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return l.fsys.syncDir(l.dir)
}

// isDiskFull reports whether err may go away when there is room on the disk.
func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// noRoom reports whether err, of a transaction on a bbolt file or of the making of
// one, means that there was no room on the disk and nothing has been written that
// counts. The failed sync of a transaction has no path: nobody knows what it has lost.
func noRoom(err error) bool {
	var path *fs.PathError
	var unmade *unmadeError
	return isDiskFull(err) && (errors.As(err, &path) || errors.As(err, &unmade))
}

// unmadeError says that a file was not made, and is not there.
type unmadeError struct{ err error }

func (e *unmadeError) Error() string { return e.err.Error() }
func (e *unmadeError) Unwrap() error { return e.err }

// retryPause is how long something that found no room is not tried again.
const retryPause = time.Second
