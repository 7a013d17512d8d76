package vnodes

import (
	"bytes"

	"go.etcd.io/bbolt"
)

// keySegment is the length of the longest key that lies in a file as it is, +1;
// bbolt's own limit is 32 KiB. A longer key lies in a nested bucket named by its
// first keySegment bytes, as a zero byte and the rest, and if that is still
// too long, the same again. The order of the keys is kept.
const keySegment = 16 << 10

// putKey stores value, which must stay as it is until the commit, under key.
func putKey(b *bbolt.Bucket, key, value []byte) error {
	for len(key) >= keySegment {
		nested, err := b.CreateBucketIfNotExists(key[:keySegment])
		if err != nil {
			return err
		}
		b, key = nested, append([]byte{0}, key[keySegment:]...)
	}
	return b.Put(key, value)
}

// findKey is the record under key in the bucket that c is a cursor of, as a write
// transaction has it, sharing its memory.
func findKey(c *bbolt.Cursor, key []byte) (Record, bool, error) {
	stored := key
	for {
		segment := stored[:min(len(stored), keySegment)]
		k, v := c.Seek(segment)
		if !bytes.Equal(k, segment) {
			return Record{}, false, nil
		}
		if v != nil || len(segment) < keySegment {
			r, err := parseRecord(key, v) // which refuses a bucket, without a value
			return r, err == nil, err
		}
		c, stored = c.Bucket().Bucket(segment).Cursor(), append([]byte{0}, stored[keySegment:]...)
	}
}
