package vnodes

import (
	"bytes"
	"strings"

	"github.com/tidwall/btree"
)

// table holds a store's records that are newer than its file, in key order. One
// goroutine at a time may change it, or several read it: the store's lock. Keys
// and values lie in blocks of their own, so that a table is a few objects for the
// garbage collector, and goes as a whole.
type table struct {
	tree  btree.Map[string, *version]
	first position // of the oldest entry, 0 if empty
	last  position // of the newest one
	bytes int64    // memory in use, about

	// What the records in the table change in the digest of what lies below them, the
	// uncounted ones left out: for those nobody has looked yet what they replace.
	delta     Digest
	uncounted int
	maxTime   uint64 // of the store, when the table was frozen

	keys     strings.Builder
	values   []byte
	versions []version
	block    int // size of the newest blocks
}

// version is a record as of one entry of the log.
type version struct {
	stored []byte // the form in which it lies in the file
	at     position
	// What a reader may see until at is durable. nil where that is not in the table.
	prev    *version
	counted bool // it is in the table's delta
}

const (
	// versionBytes is about what a version costs besides its key and stored form.
	versionBytes = 48 + 36
	firstBlock   = 1 << 10
	lastBlock    = 64 << 10
)

// set puts the record under key, as of the entry at, in place of what is there.
// durable is the position before which everything is durable.
func (t *table) set(key []byte, r *Record, at, durable position) {
	k, v := t.alloc(key, r)
	v.at = at
	prev, had := t.tree.Set(k, v)
	switch {
	case !had:
		t.uncounted++
	case prev.counted:
		t.delta.subtract(digestOf(key, prev.stored))
		t.delta.sum(digestOf(key, v.stored))
		v.counted = true
	}
	if had {
		if prev.at < durable {
			prev.prev = nil // nobody looks behind it any more
		}
		v.prev = prev
	}
	if t.first == 0 || at < t.first {
		t.first = at
	}
	t.last = max(t.last, at)
}

// count takes v, which is under key and not counted yet, and replaces old, into
// the table's delta.
func (t *table) count(key []byte, v *version, old Digest) {
	t.delta.sum(digestOf(key, v.stored))
	t.delta.subtract(old)
	v.counted = true
	t.uncounted--
}

// alloc copies key and r into the table's memory.
func (t *table) alloc(key []byte, r *Record) (string, *version) {
	size := recordHeader + len(r.Value)
	if t.keys.Cap()-t.keys.Len() < len(key) {
		t.grow()
		t.keys.Reset()
		t.keys.Grow(max(t.block, len(key)))
		t.bytes += int64(t.keys.Cap())
	}
	if cap(t.values)-len(t.values) < size {
		t.grow()
		t.values = make([]byte, 0, max(4*t.block, size))
		t.bytes += int64(cap(t.values))
	}
	if len(t.versions) == 0 {
		t.versions = make([]version, max(t.block/256, 4))
		t.bytes += int64(len(t.versions)) * versionBytes
	}
	at := t.keys.Len()
	t.keys.Write(key)
	start := len(t.values)
	t.values = appendRecord(t.values, key, r)
	v := &t.versions[0]
	t.versions = t.versions[1:]
	v.stored = t.values[start:len(t.values):len(t.values)]
	return t.keys.String()[at:], v
}

func (t *table) grow() { t.block = min(max(2*t.block, firstBlock), lastBlock) }

// latest is the newest version under key, nil if there is none.
func (t *table) latest(key []byte) *version {
	if t == nil {
		return nil
	}
	v, _ := t.tree.Get(string(key))
	return v
}

// visible is the newest of v and what it replaced that is durable, nil if none is.
func (v *version) visible(durable position) *version {
	for v != nil && v.at >= durable {
		v = v.prev
	}
	return v
}

// record is the version as the caller's own record under key.
func (v *version) record(key []byte) (Record, error) {
	r, err := parseRecord(key, v.stored)
	r.Value = bytes.Clone(r.Value)
	return r, err
}

// keyed is a version with its key.
type keyed struct {
	key string
	v   *version
}

// from appends to dst the first n versions from key on that are durable.
func (t *table) from(dst []keyed, key string, n int, durable position) []keyed {
	if t == nil || n == 0 {
		return dst
	}
	t.tree.Ascend(key, func(k string, v *version) bool {
		if v = v.visible(durable); v != nil {
			dst = append(dst, keyed{k, v})
			n--
		}
		return n > 0
	})
	return dst
}

// mergeKeyed is the first n of both, in key order; where both have a key, newer's.
func mergeKeyed(newer, older []keyed, n int) []keyed {
	if len(older) == 0 {
		return newer[:min(n, len(newer))]
	}
	merged := make([]keyed, 0, min(n, len(newer)+len(older)))
	for len(merged) < n && len(newer)+len(older) > 0 {
		switch {
		case len(older) == 0 || len(newer) > 0 && newer[0].key < older[0].key:
			merged, newer = append(merged, newer[0]), newer[1:]
		case len(newer) == 0 || older[0].key < newer[0].key:
			merged, older = append(merged, older[0]), older[1:]
		default:
			merged, newer, older = append(merged, newer[0]), newer[1:], older[1:]
		}
	}
	return merged
}
