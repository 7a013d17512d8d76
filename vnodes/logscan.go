package vnodes

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// damage is a part of the log that cannot be read: entries of a file, or, if that
// is unknown (0), of any.
type damage struct {
	from, to position // where the entries began that it held: from <= entry < to
	file     uint64
}

// segmentScan reads the entries of one segment.
type segmentScan struct {
	number  uint64
	seed    uint32
	b       []byte // the segment's bytes, up to its end if that is known
	known   bool   // the end is known: every byte before it was durable
	visit   func(file uint64, at position, payload []byte)
	damages []damage
}

// run visits all valid entries and returns where they end. A bad entry is a torn
// write, and the end, if no valid entry follows that was written after it; else,
// and wherever the end is known, it is damage.
func (s *segmentScan) run() (end int64) {
	end = int64(len(s.b))
	at := int64(segmentHeader)
	for at < end {
		if next, ok := s.entry(at); ok {
			at = next
			continue
		}
		next := s.nextAfter(at)
		if next < 0 && !s.known {
			return at
		}
		if next < 0 {
			next = end
		}
		at = s.damaged(at, next)
	}
	return at
}

// entry visits the entry at offset at, if it is valid, and returns where it ends.
func (s *segmentScan) entry(at int64) (next int64, ok bool) {
	h, ok := s.valid(at)
	if !ok {
		return 0, false
	}
	next = at + entrySize + h.length
	s.visit(h.file, positionOf(s.number, at), s.b[at+entryHead:next-entryFoot])
	return next, true
}

// valid reports whether the entry at offset at is whole.
func (s *segmentScan) valid(at int64) (logHead, bool) {
	h, ok := parseHead(s.b, s.seed, at)
	if !ok {
		return h, false
	}
	next := at + entrySize + h.length
	start, file, ok := parseFoot(s.b, s.seed, next)
	ok = ok && start == at && file == h.file &&
		crc32.Checksum(s.b[at+entryHead:next-entryFoot], castagnoli()) == h.payloadSum
	return h, ok
}

// nextAfter is the offset of the first valid entry behind the bad one at offset
// bad, -1 if there is none. Where the end is not known only entries of a later
// write count: pages of one write may reach the disk in any order.
func (s *segmentScan) nextAfter(bad int64) int64 {
	var magic [4]byte
	binary.BigEndian.PutUint32(magic[:], entryMagic)
	for at := bad + 1; ; at++ {
		i := bytes.Index(s.b[min(at+4, int64(len(s.b))):], magic[:])
		if i < 0 {
			return -1
		}
		at += int64(i)
		if h, ok := s.valid(at); ok && (s.known || h.group > bad) {
			return at
		}
	}
}

// damaged notes what is lost between the bad entry at offset at and the valid one
// at next, or the end, and returns where reading goes on. From both sides it finds
// as many whole heads and feet as there are.
func (s *segmentScan) damaged(at, next int64) int64 {
	low, high := at, next
	for low < high {
		h, ok := parseHead(s.b, s.seed, low)
		if !ok || low+entrySize+h.length > high {
			break
		}
		if _, ok := s.entry(low); !ok {
			s.lost(low, low+1, h.file)
		}
		low += entrySize + h.length
	}
	for low < high {
		start, file, ok := parseFoot(s.b, s.seed, high)
		if !ok || start < low {
			break
		}
		if _, ok := s.entry(start); !ok {
			s.lost(start, start+1, file)
		}
		high = start
	}
	if low < high {
		s.lost(low, high, 0)
	}
	return next
}

func (s *segmentScan) lost(from, to int64, file uint64) {
	s.damages = append(s.damages, damage{positionOf(s.number, from), positionOf(s.number, to), file})
}
