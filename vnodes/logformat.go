package vnodes

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The log is a row of segments, numbered from 1. A segment is a file of fixed
// size: its header, twice, and entries one behind the other. What follows the
// last entry, or the end that the next segment's header states, is garbage:
// zeros, a torn write, or what the file held when it was another segment.
//
//	header: CRC-32C of the rest u32 | version u32 | magic u64 | log id 16 | number u64 | end of the segment before u32 | 0 u32 | oldest u64
//	entry:  head | payload | foot
//	head:   CRC-32C u32 | magic u32 | payload's CRC-32C u32 | payload length u32 | group u32 | file u64
//	foot:   CRC-32C u32 | offset of the head u32 | file u64
//
// oldest is the number of the first segment that was needed when the segment was
// begun. group is the offset at which the write began that the entry was part of.
// Head and foot name the file, so that either tells whose entry is damaged. Their
// checksums cover the log's id, the segment's number and their own offset too: no
// entry is valid in another place. All integers are big endian.
const (
	logMagic      = 0x52696e67434c6f67
	logVersion    = 1
	headerCopy    = 64
	segmentHeader = 2 * headerCopy
	entryMagic    = 0xa17e52c1
	entryHead     = 28
	entryFoot     = 16
	entrySize     = entryHead + entryFoot // of one without payload
)

// trimFile is the file of entries by which the log says that the segments before
// a number, their payload as u64, are not needed any more.
const trimFile = 1

// position is a place in the log: segment number, offset. It orders all entries.
type position uint64

func positionOf(segment uint64, offset int64) position {
	return position(segment<<32 | uint64(offset))
}

func (p position) segment() uint64 { return uint64(p >> 32) }
func (p position) offset() int64   { return int64(p & (1<<32 - 1)) }

func (p position) String() string { return fmt.Sprintf("%d+%d", p.segment(), p.offset()) }

// logID tells one log from another.
type logID [16]byte

// segmentInfo is a segment's header.
type segmentInfo struct {
	log         logID
	number      uint64
	previousEnd int64
	oldest      uint64
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// append appends both copies of the header.
func (h *segmentInfo) append(dst []byte) []byte {
	b := make([]byte, 4, headerCopy)
	b = binary.BigEndian.AppendUint32(b, logVersion)
	b = binary.BigEndian.AppendUint64(b, logMagic)
	b = append(b, h.log[:]...)
	b = binary.BigEndian.AppendUint64(b, h.number)
	b = binary.BigEndian.AppendUint32(b, uint32(h.previousEnd))
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint64(b, h.oldest)
	b = append(b, make([]byte, headerCopy-len(b))...)
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli()))
	return append(append(dst, b...), b...)
}

// parseHeader reads the header of segment number; false if neither copy is valid.
func parseHeader(b []byte, number uint64) (segmentInfo, bool) {
	be := binary.BigEndian
	for ; len(b) >= headerCopy; b = b[headerCopy:] {
		c := b[:headerCopy]
		if be.Uint32(c) != crc32.Checksum(c[4:], castagnoli()) || be.Uint32(c[4:]) != logVersion ||
			be.Uint64(c[8:]) != logMagic || be.Uint64(c[32:]) != number {
			continue
		}
		return segmentInfo{
			log: logID(c[16:32]), number: number,
			previousEnd: int64(be.Uint32(c[40:])), oldest: be.Uint64(c[48:]),
		}, true
	}
	return segmentInfo{}, false
}

// newerHeader refuses a header that a newer version has written: taken for garbage, the
// segment would be replaced, and what it holds lost.
func newerHeader(b []byte) error {
	be := binary.BigEndian
	for ; len(b) >= headerCopy; b = b[headerCopy:] {
		c := b[:headerCopy]
		if v := be.Uint32(c[4:]); v > logVersion && be.Uint64(c[8:]) == logMagic && be.Uint32(c) == crc32.Checksum(c[4:], castagnoli()) {
			return fmt.Errorf("it was made by a newer version of this software (format %d, this version knows %d): start the newer version again", v, logVersion)
		}
	}
	return nil
}

// entrySeed is what the checksums of a segment's entries begin with.
func entrySeed(log logID, number uint64) uint32 {
	var b [24]byte
	copy(b[:], log[:])
	binary.BigEndian.PutUint64(b[16:], number)
	return crc32.Checksum(b[:], castagnoli())
}

// placedSum is the checksum of b, which lies at offset.
func placedSum(seed uint32, offset int64, b []byte) uint32 {
	var at [4]byte
	binary.BigEndian.PutUint32(at[:], uint32(offset))
	return crc32.Update(crc32.Update(seed, castagnoli(), at[:]), castagnoli(), b)
}

// appendEntry appends the entry that lies at offset, in a write that begins at group.
func appendEntry(dst []byte, seed uint32, offset, group int64, file uint64, payload []byte, payloadSum uint32) []byte {
	be := binary.BigEndian
	start := len(dst)
	dst = be.AppendUint32(dst, 0)
	dst = be.AppendUint32(dst, entryMagic)
	dst = be.AppendUint32(dst, payloadSum)
	dst = be.AppendUint32(dst, uint32(len(payload)))
	dst = be.AppendUint32(dst, uint32(group))
	dst = be.AppendUint64(dst, file)
	be.PutUint32(dst[start:], placedSum(seed, offset, dst[start+4:]))
	dst = append(dst, payload...)
	foot := len(dst)
	dst = be.AppendUint32(dst, 0)
	dst = be.AppendUint32(dst, uint32(offset))
	dst = be.AppendUint64(dst, file)
	be.PutUint32(dst[foot:], placedSum(seed, offset+int64(foot-start), dst[foot+4:]))
	return dst
}

// logHead is the head of an entry.
type logHead struct {
	payloadSum uint32
	length     int64 // of the payload
	group      int64
	file       uint64
}

// parseHead reads the head at offset of a segment; false if there is no valid one.
func parseHead(segment []byte, seed uint32, offset int64) (logHead, bool) {
	if offset < 0 || offset+entrySize > int64(len(segment)) {
		return logHead{}, false
	}
	h, ok := decodeHead(segment[offset:offset+entryHead], seed, offset)
	return h, ok && offset+entrySize+h.length <= int64(len(segment))
}

// decodeHead reads the head that b is, and that lies at offset; false if it is not valid.
func decodeHead(b []byte, seed uint32, offset int64) (logHead, bool) {
	be := binary.BigEndian
	if be.Uint32(b[4:]) != entryMagic || be.Uint32(b) != placedSum(seed, offset, b[4:]) {
		return logHead{}, false
	}
	return logHead{
		payloadSum: be.Uint32(b[8:]), length: int64(be.Uint32(b[12:])),
		group: int64(be.Uint32(b[16:])), file: be.Uint64(b[20:]),
	}, true
}

// parseFoot reads the foot that ends at end of a segment: the offset of its head,
// and its file; false if there is no valid one.
func parseFoot(segment []byte, seed uint32, end int64) (start int64, file uint64, ok bool) {
	at := end - entryFoot
	if at < segmentHeader || end > int64(len(segment)) {
		return 0, 0, false
	}
	return decodeFoot(segment[at:end], seed, at)
}

// decodeFoot reads the foot that b is, and that lies at offset at, likewise.
func decodeFoot(b []byte, seed uint32, at int64) (start int64, file uint64, ok bool) {
	be := binary.BigEndian
	if be.Uint32(b) != placedSum(seed, at, b[4:]) {
		return 0, 0, false
	}
	start = int64(be.Uint32(b[4:]))
	return start, be.Uint64(b[8:]), start >= segmentHeader && start <= at-entryHead
}
