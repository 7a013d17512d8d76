package kv

import (
	"bytes"
	"cmp"
	"context"
	"math/bits"
	"slices"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// A scan goes once round the ring, in the order of the keys' hashes. Its cursor
// is all that there is of it: the position from which on keys are still to come,
// and how wide a part of the ring the last step looked at, so that nodes keep
// nothing, may change, and a key that is there throughout is seen exactly once.
//
//	bits 6 to 49: position, of 2^44 | bits 0 to 5: log2 of the width
//
// A cursor has at most 50 bits, so that it is exact also in clients that keep
// numbers as floating point. 0 is the start, and the end.
const (
	scanBits     = 44
	scanEnd      = uint64(1) << scanBits
	scanExpBits  = 6
	scanShift    = 64 - scanBits // from a hash's upper 64 bits to a position
	scanMinKeys  = 1024          // a step returns up to that many keys, however few are asked for
	scanMaxCount = 100_000
)

type scanCursor struct {
	position uint64 // below scanEnd
	exp      uint64 // at most scanBits
}

func parseScanCursor(c uint64, q int) (scanCursor, error) {
	s := scanCursor{position: c >> scanExpBits, exp: c & (1<<scanExpBits - 1)}
	if c == 0 {
		s.exp = scanBits - uint64(bits.Len(uint(q))-1) // one partition
	}
	if s.position >= scanEnd || s.exp > scanBits {
		return s, wire.Errorf(wire.BadRequest, "invalid cursor")
	}
	return s, nil
}

func (s scanCursor) encode() uint64 {
	if s.position >= scanEnd {
		return 0
	}
	return s.position<<scanExpBits | s.exp
}

// Scan returns some keys of a bucket, about count or more, and the cursor with
// which to go on; 0 begins, and says that there are no more.
func (k *KV) Scan(ctx context.Context, bucket string, cursor uint64, count int, o Options) (keys [][]byte, next uint64, err error) {
	q := k.cluster.Ring().Q()
	s, err := parseScanCursor(cursor, q)
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := o.bound(ctx, defaultCoverTimeout)
	defer cancel()
	count = min(max(count, 1), scanMaxCount)
	for len(keys) < count && s.position < scanEnd {
		w := scanWindow{bucket: bucket, from: s.position, end: min(s.position+1<<s.exp, scanEnd), max: max(count, scanMinKeys)}
		full := w.end
		if err := k.scanStep(ctx, &w, q, o); err != nil {
			return nil, 0, err
		}
		for i := range w.keys {
			keys = append(keys, w.keys[i].key)
		}
		switch {
		case w.end < full:
			s.exp = max(s.exp, 1) - 1
		case len(w.keys) < count:
			s.exp = min(s.exp+2, scanBits)
		}
		s.position = w.end
	}
	return keys, s.encode(), nil
}

// scanStep fills w. An incomplete answer is an error: a key left out would never be seen.
func (k *KV) scanStep(ctx context.Context, w *scanWindow, q int, o Options) error {
	c := codec.Cover{
		Op: codec.CoverKeys, Bucket: w.bucket, Q: uint16(q),
		From: w.from << scanShift, To: w.end<<scanShift - 1, // the end of the ring wraps to the largest number
	}
	cover, err := k.list(ctx, &c, o, func(e *Entry) error {
		w.add(e.Key)
		return nil
	})
	if err == nil && !cover.Complete {
		err = incomplete(&cover)
	}
	w.trim(w.max)
	return err
}

// scanWindow collects the keys at positions from up to end. If there are more
// than max, it moves end down and keeps the first of them.
type scanWindow struct {
	bucket    string
	from, end uint64
	max       int
	keys      []scanKey
}

type scanKey struct {
	position uint64
	key      []byte
}

func (w *scanWindow) add(key []byte) {
	x := codec.Position(codec.RecordKey(w.bucket, key)) >> scanShift
	if x < w.from || x >= w.end {
		return
	}
	w.keys = append(w.keys, scanKey{x, bytes.Clone(key)})
	if len(w.keys) > 2*w.max {
		w.trim(w.max)
	}
}

// trim keeps about the first n keys: all that share a position, or none of them.
func (w *scanWindow) trim(n int) {
	slices.SortFunc(w.keys, func(a, b scanKey) int { return cmp.Compare(a.position, b.position) })
	if len(w.keys) <= n {
		return
	}
	w.end = w.keys[n-1].position + 1
	for n < len(w.keys) && w.keys[n].position < w.end {
		n++
	}
	w.keys = w.keys[:n]
}

// incomplete is the error of an answer that must be whole and is not.
func incomplete(c *Coverage) error {
	return wire.Errorf(wire.Unavailable, "%d partitions cannot be reached: %v", len(c.Missing), c.Missing)
}
