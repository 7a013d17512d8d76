package vnodes

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/cespare/xxhash/v2"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// recordHeader is what precedes the value of a stored record, in bytes.
//
//	0 CRC-32C of the key and all that follows, u32 | 4 flags u8 | 5 stamp: time, node, id u64 | 29 value
//
// All integers are big endian.
const recordHeader = 4 + 1 + wire.StampSize

// sealHeader is the checksum that precedes a sealed value.
const sealHeader = 4

// checksum is CRC-32C over key and b, so that a value under a wrong key is noticed.
func checksum(key, b []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(key, table), table, b)
}

// appendRecord appends the stored form of r, the record under key, to dst.
func appendRecord(dst, key []byte, r *Record) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, byte(r.Flags))
	dst = r.Stamp.Append(dst)
	dst = append(dst, r.Value...)
	binary.BigEndian.PutUint32(dst[start:], checksum(key, dst[start+sealHeader:]))
	return dst
}

// parseRecord reads and verifies the stored form of the record under key. Its
// Value shares b's memory, and is nil if empty.
func parseRecord(key, b []byte) (Record, error) {
	if len(b) < recordHeader {
		return Record{}, fmt.Errorf("record %s is %d bytes long: %w", shortKey(key), len(b), ErrCorrupt)
	}
	if binary.BigEndian.Uint32(b) != checksum(key, b[sealHeader:]) {
		return Record{}, fmt.Errorf("checksum of record %s: %w", shortKey(key), ErrCorrupt)
	}
	return recordOf(b), nil
}

// recordOf reads a stored form that is known to be whole, as parseRecord does.
func recordOf(b []byte) Record {
	be := binary.BigEndian
	r := Record{
		Flags: RecordFlags(b[4]),
		Stamp: Stamp{Time: be.Uint64(b[5:]), Node: be.Uint64(b[13:]), ID: be.Uint64(b[21:])},
	}
	if len(b) > recordHeader {
		r.Value = b[recordHeader:]
	}
	return r
}

// seal is v with a checksum over key and v before it: for what is stored and is
// no record.
func seal(key string, v []byte) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, sealHeader+len(v)), checksum([]byte(key), v))
	return append(b, v...)
}

// unseal undoes seal; the result shares b's memory.
func unseal(key string, b []byte) ([]byte, error) {
	if len(b) < sealHeader || binary.BigEndian.Uint32(b) != checksum([]byte(key), b[sealHeader:]) {
		return nil, fmt.Errorf("checksum of %q: %w", key, ErrCorrupt)
	}
	return b[sealHeader:], nil
}

// shortKey is the beginning of key as messages show it.
func shortKey(key []byte) string {
	const shown = 24
	if len(key) <= shown {
		return fmt.Sprintf("%q", key)
	}
	return fmt.Sprintf("%q and %d bytes", key[:shown], len(key)-shown)
}

// RecordHash is the part of r, the record under key, in Digest.Sum: xxHash64 of
//
//	uvarint len, key | flags u8 | stamp | value
func RecordHash(key []byte, r *Record) uint64 {
	var head [binary.MaxVarintLen64]byte
	var tail [1 + wire.StampSize]byte
	var h xxhash.Digest
	h.Reset()
	// Writes to an xxhash.Digest never fail.
	_, _ = h.Write(binary.AppendUvarint(head[:0], uint64(len(key))))
	_, _ = h.Write(key)
	_, _ = h.Write(r.Stamp.Append(append(tail[:0], byte(r.Flags))))
	_, _ = h.Write(r.Value)
	return h.Sum64()
}

// recordDigest is the digest of r alone, the record under key.
func recordDigest(key []byte, r *Record) Digest {
	d := Digest{Records: 1, Live: 1, Bytes: int64(len(key) + len(r.Value)), Sum: RecordHash(key, r)}
	if r.Deleted() {
		d.Live = 0
	}
	return d
}

// sum makes d the digest of what it and o describe.
func (d *Digest) sum(o Digest) {
	d.Records += o.Records
	d.Live += o.Live
	d.Bytes += o.Bytes
	d.Sum += o.Sum
}

// subtract undoes sum.
func (d *Digest) subtract(o Digest) {
	d.Records -= o.Records
	d.Live -= o.Live
	d.Bytes -= o.Bytes
	d.Sum -= o.Sum
}

// digestOf is the digest of one record, which lies under key in its stored form.
func digestOf(key, stored []byte) Digest {
	r := recordOf(stored)
	return recordDigest(key, &r)
}

// Bounds of what a Store takes. Both leave room above what the doors let in.
const (
	maxKeySize   = 128 << 10
	maxValueSize = 1 << 30
)

// checkWrites reports the first write that no Store can hold.
func checkWrites(writes []Write) error {
	for i := range writes {
		key, value := len(writes[i].Key), len(writes[i].Record.Value)
		switch {
		case key == 0:
			return wire.Errorf(wire.BadRequest, "a record's key is empty")
		case key > maxKeySize:
			return wire.Errorf(wire.TooLarge, "a record's key is %d bytes long, over %d", key, maxKeySize)
		case value > maxValueSize:
			return wire.Errorf(wire.TooLarge, "a record's value is %d bytes long, over %d", value, maxValueSize)
		}
	}
	return nil
}
