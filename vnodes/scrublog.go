package vnodes

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
)

// scrubLog checks the full segments of the log that are still needed. What they
// hold is in the stores' tables too: if one is damaged, checkpoints write those, so
// that it is needed no more.
func (d *Disk) scrubLog(pace *pace) error {
	segments := d.log.segments()
	for i := range segments[:len(segments)-1] {
		s, next := segments[i], segments[i+1]
		if next.number != s.number+1 {
			continue // found missing at start
		}
		at, err := d.log.scrub(s, next, pace)
		if err != nil {
			return err
		}
		if at < 0 || !d.log.needed(s) {
			continue
		}
		d.logger.Warn("segment of the commit log is damaged; all stores are written to their files",
			"position", positionOf(s.number, at).String(), "file", s.path)
		return errors.Join(d.Checkpoint(), d.trim())
	}
	return nil
}

// needed reports whether s has not been given up since it was listed.
func (l *commitLog) needed(s segment) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.number >= l.oldest
}

// scrub reads the entries of s, a full segment, and returns the offset of the
// first one that is damaged, -1 if none is. Where they end is in the header of next.
func (l *commitLog) scrub(s, next segment, pace *pace) (bad int64, err error) {
	header := make([]byte, segmentHeader)
	if err := l.readSegment(next, header, 0, nil); err != nil {
		return -1, err
	}
	info, begun := parseHeader(header, next.number)
	switch {
	case !begun && bytes.Equal(header, make([]byte, segmentHeader)):
		return -1, nil // its first write is under way
	case !begun || info.previousEnd > s.length:
		return 0, nil // the damaged header is what says where s ends
	}
	c := segmentCheck{l: l, s: s, pace: pace, seed: entrySeed(l.id, s.number)}
	for at := int64(segmentHeader); at < info.previousEnd; {
		next, ok, err := c.entry(at, info.previousEnd)
		if err != nil {
			return -1, err
		}
		if !ok {
			return at, nil
		}
		at = next
	}
	return -1, nil
}

// readSegment fills b from a segment's file. What lies beyond its end, and what
// cannot be read, is zero.
func (l *commitLog) readSegment(s segment, b []byte, at int64, pace *pace) error {
	f, err := l.fsys.open(s.path)
	if err != nil {
		return nil //nolint:nilerr // given up since, or damaged: zeros say so
	}
	defer f.Close() //nolint:errcheck // it was only read
	_, err = (&pacedReader{f, pace}).ReadAt(b, at)
	if errors.Is(err, errStopped) {
		return err
	}
	return nil
}

// segmentCheck reads a segment entry by entry.
type segmentCheck struct {
	l    *commitLog
	s    segment
	seed uint32
	pace *pace
	buf  []byte // a window of the segment, from at on
	at   int64
}

// bytes is n bytes of the segment from offset at on.
func (c *segmentCheck) bytes(at, n int64) ([]byte, error) {
	if at < c.at || at+n > c.at+int64(len(c.buf)) {
		size := min(max(n, scrubPiece), c.s.length-at)
		if size < n {
			return nil, io.ErrUnexpectedEOF
		}
		c.buf, c.at = make([]byte, size), at
		if err := c.l.readSegment(c.s, c.buf, at, c.pace); err != nil {
			return nil, err
		}
	}
	return c.buf[at-c.at : at-c.at+n], nil
}

// entry checks the entry at offset at and returns where it ends.
func (c *segmentCheck) entry(at, limit int64) (next int64, ok bool, err error) {
	if at+entrySize > limit {
		return 0, false, nil
	}
	b, err := c.bytes(at, entryHead)
	if err != nil {
		return 0, false, err
	}
	head, ok := decodeHead(b, c.seed, at)
	if next = at + entrySize + head.length; !ok || next > limit {
		return 0, false, nil
	}
	sum, end := uint32(0), next-entryFoot
	for off := at + entryHead; off < end; off += scrubPiece {
		b, err := c.bytes(off, min(scrubPiece, end-off))
		if err != nil {
			return 0, false, err
		}
		sum = crc32.Update(sum, castagnoli(), b)
	}
	if b, err = c.bytes(end, entryFoot); err != nil {
		return 0, false, err
	}
	start, file, ok := decodeFoot(b, c.seed, end)
	return next, ok && start == at && file == head.file && sum == head.payloadSum, nil
}
