package vnodes

import (
	"encoding/binary"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// A comparison of one service's records of a partition between two replicas, both at
// one gen. The driver asks, the other side answers each question in turn:
//
//	driver                                    other
//	request OpCompare  compareOpen (JSON)     OK, or why not
//	request  'T' | tree                       the leaves that differ
//	…                                         again, until none does, or some do three times
//	request  'H' | leaves | key               heads of its records in these leaves behind the key
//	request  'G' | keys                       those records
//	chunk    writes                           OK when they are merged, and durable
//	…
//
// So both hold one page of heads and one chunk of records in memory, however many
// there are. A leaf that differs because a write is under way does not do so three
// times; if it does, that record is too young to be listed as differing.
const (
	askTree    = 'T'
	askHeads   = 'H'
	askRecords = 'G'
)

const (
	treeRounds  = 3 // looks at the trees before records are listed
	treePause   = 50 * time.Millisecond
	headsAtOnce = 4096    // heads in a page
	headBytes   = 1 << 20 // about the longest page
	scanAtOnce  = 1 << 16 // records looked at for one page
	fetchAtOnce = 512     // records asked for at once
)

// compareOpen opens a comparison.
type compareOpen struct {
	Service string      `json:"service"`
	From    ring.NodeID `json:"from"` // the driver
}

// leafSet is a set of leaves of a Tree.
type leafSet [1 << treeBits / 8]byte

func (s *leafSet) has(leaf int) bool { return s[leaf/8]&(1<<(leaf%8)) != 0 }
func (s *leafSet) add(leaf int)      { s[leaf/8] |= 1 << (leaf % 8) }
func (s *leafSet) empty() bool       { return *s == leafSet{} }

// allLeaves has every leaf.
func allLeaves() (s leafSet) {
	for i := range s {
		s[i] = 0xff
	}
	return s
}

// keep takes what is not in o out of s.
func (s *leafSet) keep(o *leafSet) {
	for i := range s {
		s[i] &= o[i]
	}
}

// differing are the leaves in which a and b differ.
func differing(a, b *Tree) (s leafSet) {
	for i := range a {
		if a[i] != b[i] {
			s.add(i)
		}
	}
	return s
}

// head is a record without its value: enough to tell whether another one is the same.
type head struct {
	key   []byte
	flags RecordFlags
	stamp Stamp
	hash  uint64 // RecordHash
}

func headOf(key []byte, r *Record) head {
	return head{key: key, flags: r.Flags, stamp: r.Stamp, hash: RecordHash(key, r)}
}

// append appends the encoding of h to dst.
//
//	uvarint len, key | flags u8 | stamp | hash u64
func (h *head) append(dst []byte) []byte {
	dst = wire.AppendBytes(dst, h.key)
	dst = append(dst, byte(h.flags))
	dst = h.stamp.Append(dst)
	return binary.BigEndian.AppendUint64(dst, h.hash)
}

// parse reads the first head of b, whose memory its key shares, and returns what follows.
func (h *head) parse(b []byte) ([]byte, error) {
	key, b, ok := wire.CutBytes(b)
	if !ok || len(key) == 0 || len(b) < 1+wire.StampSize+8 {
		return nil, wire.ErrBody
	}
	stamp, err := wire.ParseStamp(b[1:])
	if err != nil {
		return nil, err
	}
	*h = head{key: key, flags: RecordFlags(b[0]), stamp: stamp, hash: binary.BigEndian.Uint64(b[1+wire.StampSize:])}
	return b[1+wire.StampSize+8:], nil
}

func (h *head) deleted() bool { return h.flags&FlagTombstone != 0 }

// headPage is an answer to askHeads: all heads behind the key asked from, up to and
// with next; or all there are, if next is empty.
//
//	uvarint len, next | heads
type headPage struct {
	next  []byte
	heads []head
}

func parseHeads(b []byte) (p headPage, err error) {
	var ok bool
	if p.next, b, ok = wire.CutBytes(b); !ok {
		return p, wire.ErrBody
	}
	for len(b) > 0 {
		var h head
		if b, err = h.parse(b); err != nil {
			return p, err
		}
		p.heads = append(p.heads, h)
	}
	return p, nil
}

// pageOfHeads is the encoded headPage of the store's records in leaves behind from.
func pageOfHeads(st Store, leaves *leafSet, from []byte) ([]byte, error) {
	var heads, next []byte
	count, scanned := 0, 0
	full := false
	err := st.Ascend(keyAfter(from), func(key []byte, r Record) bool {
		if full {
			return false // there is more behind next
		}
		scanned++
		if leaves.has(leafOf(key)) {
			h := headOf(key, &r)
			heads = h.append(heads)
			count++
		}
		if full = count == headsAtOnce || scanned == scanAtOnce || len(heads) >= headBytes; full {
			next = append(next[:0], key...)
		}
		return true
	})
	if !full {
		next = nil
	}
	return append(wire.AppendBytes(nil, next), heads...), err
}

// keyAfter is the first key behind key; the first of all if key is empty.
func keyAfter(key []byte) []byte {
	if len(key) == 0 {
		return nil
	}
	return append(key[:len(key):len(key)], 0)
}

// appendKeys appends keys to dst, each with its length.
func appendKeys(dst []byte, keys [][]byte) []byte {
	for _, k := range keys {
		dst = wire.AppendBytes(dst, k)
	}
	return dst
}

// parseKeys undoes appendKeys; the keys share b's memory.
func parseKeys(b []byte) (keys [][]byte, err error) {
	for len(b) > 0 {
		key, rest, ok := wire.CutBytes(b)
		if !ok || len(key) == 0 {
			return nil, wire.ErrBody
		}
		keys, b = append(keys, key), rest
	}
	return keys, nil
}

// recordsOf answers askRecords: the number of keys dealt with, then what is under
// them, as much as one chunk holds and at least one.
func recordsOf(st Store, keys [][]byte, limit int) ([]byte, error) {
	var writes []Write
	size, done := 0, 0
	for _, key := range keys {
		r, ok, err := st.Get(key)
		if err != nil {
			return nil, err
		}
		if size > 0 && size+len(r.Value) > limit {
			break
		}
		if done++; ok {
			writes = append(writes, Write{Key: key, Record: r})
			size += len(key) + len(r.Value) + minWrite
		}
	}
	return AppendWrites(binary.AppendUvarint(nil, uint64(done)), writes), nil
}

func parseRecords(b []byte) (done int, writes []Write, err error) {
	n, width := binary.Uvarint(b)
	if width <= 0 || n > fetchAtOnce {
		return 0, nil, wire.ErrBody
	}
	writes, err = ParseWrites(b[width:])
	return int(n), writes, err
}
