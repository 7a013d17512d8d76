package ring

import (
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"math/bits"
)

// Hash is a place on the circle: 160 bits, big-endian.
type Hash [sha1.Size]byte

// hashBits is the length of a Hash in bits.
const hashBits = sha1.Size * 8

// String is h in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// HashKey is the SHA-1 of uvarint(len(bucket)) bucket key. riak_core hashes the
// Erlang term of the pair, which moved keys when OTP 26 changed how atoms are
// written; these bytes depend on nothing but the two arguments.
func HashKey(bucket string, key []byte) Hash {
	var stack [256]byte
	if binary.MaxVarintLen64+len(bucket)+len(key) > len(stack) {
		return hashLong(bucket, key)
	}
	b := binary.AppendUvarint(stack[:0], uint64(len(bucket)))
	b = append(b, bucket...)
	b = append(b, key...)
	return sha1.Sum(b)
}

// hashLong is HashKey for what does not fit its stack buffer. It hashes in
// pieces, so that a long key is not copied.
func hashLong(bucket string, key []byte) (h Hash) {
	d := sha1.New()
	head := binary.AppendUvarint(make([]byte, 0, binary.MaxVarintLen64+len(bucket)), uint64(len(bucket)))
	d.Write(append(head, bucket...)) // a hash's Write returns no error
	d.Write(key)
	d.Sum(h[:0])
	return h
}

// Locate is the partition of h in a ring of q, which must satisfy
// ValidPartitions: h belongs to the next boundary, as in riak_core, so partition
// 0 holds the topmost part of the circle.
func Locate(h Hash, q int) Partition {
	top := int(binary.BigEndian.Uint16(h[:2])) >> (16 - bits.TrailingZeros(uint(q)))
	return Partition((top + 1) & (q - 1))
}

// Index is p's boundary, p * 2^160/q, in decimal as riak_core prints it. q must
// satisfy ValidPartitions.
func (p Partition) Index(q int) string {
	i := big.NewInt(int64(p))
	return i.Lsh(i, uint(hashBits-bits.TrailingZeros(uint(q)))).String()
}

// ParseIndex is the partition whose Index in a ring of q is s.
func ParseIndex(s string, q int) (Partition, error) {
	if !ValidPartitions(q) {
		return 0, fmt.Errorf("parse index: a ring cannot have %d partitions", q)
	}
	if len(s) > 49 { // 2^160 has 49 digits
		return 0, fmt.Errorf("parse index: %d digits are more than an index can have", len(s))
	}
	i, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return 0, fmt.Errorf("parse index %q: not a decimal number", s)
	}
	i.Rsh(i, uint(hashBits-bits.TrailingZeros(uint(q))))
	if i.Sign() < 0 || i.Cmp(big.NewInt(int64(q))) >= 0 || Partition(i.Int64()).Index(q) != s {
		return 0, fmt.Errorf("parse index %s: no boundary of a ring of %d partitions", s, q)
	}
	return Partition(i.Int64()), nil
}
