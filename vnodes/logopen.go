package vnodes

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// logReplay is how a commitLog tells what it held when it was opened.
type logReplay struct {
	// visit is told of each entry, in no order, from several goroutines; payload is
	// valid only during the call.
	visit   func(file uint64, at position, payload []byte)
	workers int

	buffers sync.Pool // of *[]byte: what a segment is read into

	mu      sync.Mutex
	damages []damage // what of it cannot be read, in no order
	oldest  uint64   // the first segment that was still needed, as far as entries say
}

// foundSegment is a segment's file at start.
type foundSegment struct {
	number uint64
	path   string
	length int64
	info   segmentInfo
	begun  bool  // info is valid
	end    int64 // where its entries end; 0 if no other segment says so
}

// openCommitLog opens the log in dir, or makes a new one. It replays what is there
// and makes sure that all of it is on the disk; new entries go to a new segment.
func openCommitLog(fsys fileSystem, dir string, limits logLimits, logger *slog.Logger, replay *logReplay) (*commitLog, error) {
	if err := fsys.makeDir(dir); err != nil {
		return nil, err
	}
	found, err := findSegments(fsys, dir)
	if err != nil {
		return nil, err
	}
	l := &commitLog{fsys: fsys, dir: dir, limits: limits, log: logger, broken: make(chan struct{}), roomLeft: -1}
	newest := foundSegment{}
	if i := lastBegun(found); i >= 0 {
		newest = found[i]
		l.id, l.oldest = newest.info.log, newest.info.oldest
	} else {
		_, _ = rand.Read(l.id[:]) // never fails
		l.oldest = 1
	}
	if err := l.replay(found, replay); err != nil {
		return nil, err
	}
	l.oldest = max(l.oldest, replay.oldest)
	if err := l.resume(found, replay); err != nil {
		return nil, err
	}
	l.start()
	return l, nil
}

// findSegments reads the headers of all segments in dir, in order, and deletes
// what a crash has left half made.
func findSegments(fsys fileSystem, dir string) ([]foundSegment, error) {
	names, err := fsys.list(dir)
	if err != nil {
		return nil, err
	}
	var found []foundSegment
	for _, name := range names {
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, partSuffix) {
			if err := fsys.remove(path); err != nil {
				return nil, err
			}
			continue
		}
		number, err := strconv.ParseUint(strings.TrimSuffix(name, segmentSuffix), 16, 64)
		if err != nil || segmentName(number) != name {
			continue // nothing of ours
		}
		s := foundSegment{number: number, path: path}
		if err := s.readHeader(fsys); err != nil {
			return nil, fmt.Errorf("segment %s: %w", name, err)
		}
		found = append(found, s)
	}
	slices.SortFunc(found, func(a, b foundSegment) int { return int(int64(a.number - b.number)) })
	for i := range found[:max(len(found)-1, 0)] {
		if next := &found[i+1]; next.begun && next.number == found[i].number+1 {
			found[i].end = next.info.previousEnd
		}
	}
	return found, nil
}

func (s *foundSegment) readHeader(fsys fileSystem) (err error) {
	f, err := fsys.open(s.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if s.length, err = f.size(); err != nil || s.length < segmentHeader {
		return err
	}
	b := make([]byte, segmentHeader)
	if _, err := f.ReadAt(b, 0); err != nil {
		return err
	}
	s.info, s.begun = parseHeader(b, s.number)
	return newerHeader(b)
}

func lastBegun(found []foundSegment) int {
	for i := len(found) - 1; i >= 0; i-- {
		if found[i].begun {
			return i
		}
	}
	return -1
}

// replay reads all segments that may be needed, several at a time.
func (l *commitLog) replay(found []foundSegment, r *logReplay) error {
	last := lastBegun(found)
	expected := l.oldest
	var readers errgroup.Group
	readers.SetLimit(max(r.workers, 1))
	for i := range found {
		s := &found[i]
		if s.number < l.oldest {
			continue
		}
		// A gap behind the last one that was begun is what a start left that was killed
		// while it removed the others.
		if s.number > expected && i <= last {
			r.lost(damage{from: positionOf(expected, 0), to: positionOf(s.number, 0)})
		}
		before := expected - 1
		expected = s.number + 1
		readers.Go(func() error {
			if err := l.read(s, before, i < last, r); err != nil {
				return fmt.Errorf("read segment %d of the commit log: %w", s.number, err)
			}
			return nil
		})
	}
	err := readers.Wait()
	r.settle(found)
	return err
}

// buffer is n bytes to read into.
func (r *logReplay) buffer(n int64) []byte {
	if b, ok := r.buffers.Get().(*[]byte); ok && int64(cap(*b)) >= n {
		return (*b)[:n]
	}
	return make([]byte, n)
}

func (r *logReplay) lost(d ...damage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.damages = append(r.damages, d...)
}

// settle forgets missing segments of which a later entry said that they were not
// needed any more.
func (r *logReplay) settle(found []foundSegment) {
	r.damages = slices.DeleteFunc(r.damages, func(d damage) bool { return d.to <= positionOf(r.oldest, 0) })
}

// read replays one segment; before is the number of the last one found before it.
// followed says that a later one has been begun, so that everything in this one was
// durable.
func (l *commitLog) read(s *foundSegment, before uint64, followed bool, r *logReplay) (err error) {
	f, err := l.fsys.open(s.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	// What a killed process has written may still be on its way to the disk.
	if err := f.sync(); err != nil {
		return err
	}
	b := r.buffer(s.length)
	defer r.buffers.Put(&b)
	if _, err := f.ReadAt(b, 0); err != nil {
		return err
	}
	scan := segmentScan{number: s.number, seed: entrySeed(l.id, s.number), b: b, visit: r.take}
	switch {
	case !s.begun:
		return l.readBlank(s, &scan, before, followed, r)
	case s.end > 0 && s.end <= s.length:
		scan.b, scan.known = b[:s.end], true
	}
	s.end = scan.run()
	r.lost(scan.damages...)
	return nil
}

// readBlank reads a segment without a valid header: it has not been begun, or its
// first write was torn, or it is damaged.
func (l *commitLog) readBlank(s *foundSegment, scan *segmentScan, before uint64, followed bool, r *logReplay) error {
	if s.length < segmentHeader {
		return nil
	}
	scan.known = s.end > 0 && s.end <= s.length
	if scan.known {
		scan.b = scan.b[:s.end]
	}
	if !followed && scan.nextAfter(0) < 0 {
		s.end = 0
		return nil
	}
	// Nobody says any more where the segment before ends: any file may have lost entries there.
	r.lost(damage{from: positionOf(before, segmentHeader), to: positionOf(s.number, segmentHeader)})
	s.end = scan.run()
	r.lost(scan.damages...)
	return nil
}

// take handles an entry that was read.
func (r *logReplay) take(file uint64, at position, payload []byte) {
	if file != trimFile {
		r.visit(file, at, payload)
		return
	}
	if len(payload) == 8 {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.oldest = max(r.oldest, binary.BigEndian.Uint64(payload))
	}
}

// resume begins a new segment behind those that were found.
func (l *commitLog) resume(found []foundSegment, r *logReplay) error {
	number, previousEnd := uint64(1), int64(0)
	last := lastBegun(found)
	for i := range found {
		s := &found[i]
		if i <= last || s.end > 0 { // the latter: damaged
			l.old = append(l.old, &segment{number: s.number, path: s.path, length: s.length})
			number, previousEnd = s.number+1, s.end
			continue
		}
		if err := l.fsys.remove(s.path); err != nil { // never begun
			return err
		}
	}
	if err := l.removeSpares(); err != nil {
		return err
	}
	s, err := l.newSegment(number, l.limits.first)
	if err != nil {
		return fmt.Errorf("make a segment of the commit log: %w", err)
	}
	info := segmentInfo{log: l.id, number: number, previousEnd: previousEnd, oldest: l.oldest}
	_, err = s.file.WriteAt(info.append(nil), 0)
	if err == nil {
		err = s.file.sync()
	}
	if err != nil {
		return fmt.Errorf("begin a segment of the commit log: %w", errors.Join(err, s.file.Close()))
	}
	l.active, l.offset = s, segmentHeader
	l.durable.Store(uint64(positionOf(number, segmentHeader)))
	return nil
}
