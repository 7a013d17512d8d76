package vnodes

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// The order of a table's keys is kept in runs, each sorted. Keys that have come
// since are sorted into a run of their own, which is merged with the one before
// while that is less than twice as long: a key is merged a logarithmic number of
// times, however often somebody looks in between.

// ordered reports whether the runs hold all keys.
func (t *table) ordered() bool {
	n := 0
	if t != nil {
		n = len(t.keys)
		for _, r := range t.runs {
			n -= len(r)
		}
	}
	return n == 0
}

// orderAtOnce is how many keys are put in order under one lock.
const orderAtOnce = 8192

// order brings the keys that have come since the last call into the runs, up to
// orderAtOnce of them.
func (t *table) order() {
	have := 0
	for _, r := range t.runs {
		have += len(r)
	}
	if have == len(t.keys) {
		return
	}
	run := t.sorted(have, min(have+orderAtOnce, len(t.keys)))
	for n := len(t.runs); n > 0 && len(t.runs[n-1]) < 2*len(run); n-- {
		run = t.mergeRuns(t.runs[n-1], run)
		t.runs = t.runs[:n-1]
	}
	t.runs = append(t.runs, run)
}

// sorted is the numbers from <= number < to in the order of their keys.
// They are compared by eight bytes behind what all of them begin with, and by the
// rest only where these are equal: a comparison of two keys misses the cache twice.
func (t *table) sorted(from, to int) []uint32 {
	type item struct {
		head   uint64
		number uint32
	}
	items := make([]item, to-from)
	common := t.commonPrefix(from, to)
	for i := range items {
		items[i] = item{keyHead(t.key(uint32(from + i))[common:]), uint32(from + i)}
	}
	slices.SortFunc(items, func(a, b item) int {
		if c := cmp.Compare(a.head, b.head); c != 0 {
			return c
		}
		return bytes.Compare(t.key(a.number)[common:], t.key(b.number)[common:])
	})
	run := make([]uint32, len(items))
	for i := range items {
		run[i] = items[i].number
	}
	return run
}

// commonPrefix is how many bytes those keys have in common.
func (t *table) commonPrefix(from, to int) int {
	first := t.key(uint32(from))
	n := len(first)
	for number := from + 1; number < to && n > 0; number++ {
		key := t.key(uint32(number))
		n = min(n, len(key))
		for n > 0 && !bytes.Equal(key[:n], first[:n]) {
			n--
		}
	}
	return n
}

// keyHead is the first eight bytes of key, zeros behind its end: in the order of
// the keys, as far as it goes.
func keyHead(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

func (t *table) mergeRuns(a, b []uint32) []uint32 {
	merged := make([]uint32, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if bytes.Compare(t.key(a[0]), t.key(b[0])) < 0 {
			merged, a = append(merged, a[0]), a[1:]
		} else {
			merged, b = append(merged, b[0]), b[1:]
		}
	}
	return append(append(merged, a...), b...)
}

// keyed is a copy of a version's stored form with its key.
type keyed struct{ key, stored []byte }

// page is records of a table in key order, copied: all from a key on or, if cut,
// those up to the last one here.
type page struct {
	items []keyed
	cut   bool
}

// from is the durable versions from key on, as many as fill a chunk. All keys must
// be ordered.
func (t *table) from(key []byte, durable position) (p page) {
	if t == nil {
		return p
	}
	heads := make([][]uint32, 0, len(t.runs))
	for _, r := range t.runs {
		i, _ := slices.BinarySearchFunc(r, key, func(number uint32, key []byte) int {
			return bytes.Compare(t.key(number), key)
		})
		heads = append(heads, r[i:])
	}
	var buf []byte
	for {
		number, ok := t.pop(heads)
		if !ok {
			return p
		}
		v, durably := t.seen(t.version(t.keys[number].newest), durable)
		if !durably {
			continue
		}
		if len(p.items) > chunkRecords || len(buf) > chunkBytes {
			p.cut = true
			return p
		}
		start, k := len(buf), t.key(number)
		buf = append(append(buf, k...), v.stored...)
		middle := start + len(k)
		p.items = append(p.items, keyed{buf[start:middle:middle], buf[middle:len(buf):len(buf)]})
	}
}

// pop takes the first of all runs' heads, false if they are empty.
func (t *table) pop(heads [][]uint32) (uint32, bool) {
	first := -1
	for i, h := range heads {
		if len(h) > 0 && (first < 0 || bytes.Compare(t.key(h[0]), t.key(heads[first][0])) < 0) {
			first = i
		}
	}
	if first < 0 {
		return 0, false
	}
	number := heads[first][0]
	heads[first] = heads[first][1:]
	return number, true
}

// mergePages is the records of both, in key order, up to where both are known;
// where both have a key, newer's.
func mergePages(newer, older page) page {
	a, b := newer.upTo(older), older.upTo(newer)
	if len(b) == 0 {
		return page{a, newer.cut || older.cut}
	}
	merged := make([]keyed, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := bytes.Compare(a[0].key, b[0].key); {
		case c < 0:
			merged, a = append(merged, a[0]), a[1:]
		case c > 0:
			merged, b = append(merged, b[0]), b[1:]
		default:
			merged, a, b = append(merged, a[0]), a[1:], b[1:]
		}
	}
	return page{append(append(merged, a...), b...), newer.cut || older.cut}
}

// upTo is the records of p that are not behind what other knows.
func (p *page) upTo(other page) []keyed {
	if !other.cut {
		return p.items
	}
	last := other.items[len(other.items)-1].key
	i, found := slices.BinarySearchFunc(p.items, last, func(k keyed, last []byte) int { return bytes.Compare(k.key, last) })
	if found {
		i++
	}
	return p.items[:i]
}
