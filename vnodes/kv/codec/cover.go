package codec

import (
	"crypto/sha1"
	"encoding/binary"
)

// CoverOp is what a coverage query collects. Append only.
type CoverOp uint8

// The coverage queries. Items carry the key within the bucket; what their value says is
// ListStored's and ListedValues' business.
const (
	CoverKeys   CoverOp = 1
	CoverValues CoverOp = 2
)

// Cover is the body of a coverage query of the key/value service.
//
//	u8 op | u16 q | u64 from | u64 to | rest: bucket
type Cover struct {
	Op     CoverOp
	Bucket string
	// With Q set, only keys whose Position lies from From to To, both included, are
	// wanted, and Q is the ring's number of partitions: a vnode whose part of the
	// ring lies outside need not look.
	Q        uint16
	From, To uint64
}

const coverHead = 1 + 2 + 8 + 8

// AppendCover appends the encoding of c to dst.
func AppendCover(dst []byte, c *Cover) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, byte(c.Op)), c.Q)
	dst = binary.BigEndian.AppendUint64(dst, c.From)
	dst = binary.BigEndian.AppendUint64(dst, c.To)
	return append(dst, c.Bucket...)
}

// ParseCover reads a Cover and checks it.
func ParseCover(b []byte) (Cover, error) {
	if len(b) < coverHead || b[0] < byte(CoverKeys) || b[0] > byte(CoverValues) {
		return Cover{}, errBody("coverage query", b)
	}
	c := Cover{
		Op: CoverOp(b[0]), Q: binary.BigEndian.Uint16(b[1:]),
		From: binary.BigEndian.Uint64(b[3:]), To: binary.BigEndian.Uint64(b[11:]),
		Bucket: string(b[coverHead:]),
	}
	if c.From > c.To || c.Q&(c.Q-1) != 0 {
		return Cover{}, errBody("coverage query", b)
	}
	return c, CheckBucket(c.Bucket)
}

// Touches reports whether keys of partition p can lie within c.
func (c *Cover) Touches(p uint16) bool {
	if c.Q < 2 {
		return true
	}
	// Partition p holds the part of the ring before its index: hashes belong to the next boundary.
	size := 1 << 63 / uint64(c.Q) * 2 // 2^64 / Q
	first := (uint64(p) + uint64(c.Q) - 1) % uint64(c.Q) * size
	return c.From <= first+(size-1) && first <= c.To
}

// Wants reports whether the key with this record key lies within c. The bucket
// is not compared.
func (c *Cover) Wants(record []byte) bool {
	if c.Q == 0 {
		return true
	}
	x := Position(record)
	return c.From <= x && x <= c.To
}

// Position is the place of a record key on the ring: the upper 64 bits of its hash.
func Position(record []byte) uint64 {
	sum := sha1.Sum(record)
	return binary.BigEndian.Uint64(sum[:])
}
