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

// find is the record under key, sharing the transaction's memory.
func (r *boltReader) find(key []byte) (Record, bool, error) {
	if r.records == nil {
		return Record{}, false, corruptBolt("no bucket %q", recordsBucket)
	}
	c, _ := r.cursors.Get().(*bbolt.Cursor)
	if c == nil {
		c = r.records.Cursor()
	}
	defer r.cursors.Put(c)
	return findKey(c, key)
}

// findKey is the record under key in the bucket that c is a cursor of, sharing
// the transaction's memory.
func findKey(c *bbolt.Cursor, key []byte) (Record, bool, error) {
	stored, prefix, skip := key, []byte(nil), 0
	for {
		segment := stored[:min(len(stored), keySegment)]
		k, v := c.Seek(segment)
		if !bytes.Equal(k, segment) {
			return Record{}, false, checkNear(c, prefix, skip, k, v)
		}
		if v != nil || len(segment) < keySegment {
			r, err := parseRecord(key, v) // which refuses a bucket, without a value
			return r, err == nil, err
		}
		prefix, skip = key[:len(prefix)+keySegment-skip], 1
		c, stored = c.Bucket().Bucket(segment).Cursor(), append([]byte{0}, stored[keySegment:]...)
	}
}

// checkNear verifies the records on both sides of where a key was looked for and
// not found: a key that was damaged on the disk is one of them, because every
// search that it leads astray ends beside it. prefix and skip are a keyWalk's.
func checkNear(c *bbolt.Cursor, prefix []byte, skip int, k, v []byte) error {
	const long = 4 << 10 // a longer value is verified when it is read
	var damaged error
	verify := keyWalk{fn: func(key, value []byte) bool {
		if len(value) <= long {
			_, damaged = parseRecord(key, value)
		}
		return false
	}}
	for range 2 {
		if k != nil && damaged == nil {
			verify.done = false
			verify.visit(c.Bucket(), prefix, skip, k, v, nil)
		}
		k, v = c.Prev()
	}
	return damaged
}

// keyWalk visits the records of a file in the order of their keys.
type keyWalk struct {
	fn   func(key, value []byte) bool // false ends the walk; value is nil if damaged; both are valid only during the call
	done bool
}

// bucket visits the records of b from the stored key from on. Their keys are
// prefix and what follows the first skip bytes of the stored key.
func (w *keyWalk) bucket(b *bbolt.Bucket, prefix []byte, skip int, from []byte) {
	c := b.Cursor()
	var rest []byte
	if len(from) >= keySegment {
		rest = append([]byte{0}, from[keySegment:]...)
		from = from[:keySegment]
	}
	for k, v := c.Seek(from); k != nil && !w.done; k, v = c.Next() {
		if !bytes.Equal(k, from) {
			rest = nil
		}
		w.visit(b, prefix, skip, k, v, rest)
	}
}

// visit visits the record of b under the stored key k, or, if that is a nested
// bucket, those in it from the stored key from on.
func (w *keyWalk) visit(b *bbolt.Bucket, prefix []byte, skip int, k, v, from []byte) {
	key := k
	if len(prefix) > 0 {
		key = append(prefix[:len(prefix):len(prefix)], k[skip:]...)
	}
	if v != nil || len(k) != keySegment {
		w.done = !w.fn(key, v)
		return
	}
	w.bucket(b.Bucket(k), key, 1, from)
}
