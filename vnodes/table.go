package vnodes

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math"
)

// table holds a store's records that are newer than its file: one goroutine at a
// time may change it, or several read it, by the store's lock. A hash finds a key;
// the order of the keys is made when somebody wants it (see tableorder.go), which
// most tables see once, when they are written. All of it lies in blocks of a pool
// and in slices without pointers, so that the garbage collector has nothing to
// look at, and a table goes as a whole.
//
// A key is numbered when it first comes. Its versions hang one behind the other,
// the newest first. In blocks, integers in little endian:
//
//	key:     length u32 | bytes
//	version: position u64 | the version before, place u32 | length, and in the top bit: counted, u32 | stored form
type table struct {
	pool   *blockPool
	blocks [][]byte
	small  int // number of the block that takes the next small thing
	used   int // of that one

	keys  []tableKey // by number
	slots []uint64   // the hash: upper half of a key's hash | its number + 1; 0 is free. A power of two of them
	runs  [][]uint32 // numbers of the first keys, in the order of the keys, in runs of falling length

	first position // of the oldest entry, 0 if empty
	last  position // of the newest one
	bytes int64    // memory in use, about

	// What the records in the table change in the digest of what lies below them, the
	// uncounted ones left out: for those nobody has looked yet what they replace.
	delta     Digest
	tree      *Tree // the same of the hash tree; nil while nothing is counted
	uncounted int
	maxTime   uint64 // of the store, when the table was frozen
}

// place is where something lies in a table's blocks: number of the block, offset.
type place uint32

const (
	blockBits     = 15 // blockSize is 1 << blockBits
	versionHeader = 16
	countedBit    = 1 << 31
	// tableKeyBytes is about what a key costs besides what lies in blocks.
	tableKeyBytes = 8 + 2*8 + 4
)

type tableKey struct {
	key    place
	newest place // version
}

// version is a record as of one entry of the log.
type version struct {
	at      position
	before  place // what it replaced: what a reader may see until at is durable; 0 if that is not in the table
	counted bool  // it is in the table's delta
	stored  []byte
}

// hashSeed is the same for all tables of the process.
var hashSeed = maphash.MakeSeed()

func newTable(pool *blockPool) *table { return &table{pool: pool} }

// free gives the table's memory back. Nobody may look at it any more.
func (t *table) free() {
	t.pool.put(t.blocks)
	*t = table{pool: t.pool}
}

// restore is set for an entry of the log that is read again, after newer ones
// perhaps: it does nothing if the table has one of those.
func (t *table) restore(key []byte, r *Record, at position) {
	hash := maphash.Bytes(hashSeed, key)
	number, had := t.find(key, hash)
	if had && t.version(t.keys[number].newest).at > at {
		return
	}
	t.put(key, hash, number, had, r, at, math.MaxUint64)
}

// set puts the record under key, as of the entry at, in place of what is there.
// durable is the position before which everything is durable.
func (t *table) set(key []byte, r *Record, at, durable position) {
	hash := maphash.Bytes(hashSeed, key)
	number, had := t.find(key, hash)
	t.put(key, hash, number, had, r, at, durable)
}

func (t *table) put(key []byte, hash uint64, number uint32, had bool, r *Record, at, durable position) {
	if !had {
		number = t.addKey(key, hash)
	}
	k := &t.keys[number]
	p, v := t.allocVersion(key, r, at)
	if had {
		old := t.version(k.newest)
		if old.counted {
			count := t.tally()
			count.remove(key, digestOf(key, old.stored))
			count.add(key, digestOf(key, v))
			t.mark(p)
		}
		if old.at < durable {
			t.cut(k.newest) // nobody looks behind it any more
		}
		t.setBefore(p, k.newest)
	} else {
		t.uncounted++
	}
	k.newest = p
	if t.first == 0 || at < t.first {
		t.first = at
	}
	t.last = max(t.last, at)
}

// count takes the version at p, which is under key and not counted yet, and
// replaces old, into the table's delta.
func (t *table) count(key []byte, p place, old Digest) {
	count := t.tally()
	count.add(key, digestOf(key, t.version(p).stored))
	count.remove(key, old)
	t.mark(p)
	t.uncounted--
}

// tally is what counts the table's records.
func (t *table) tally() tally {
	if t.tree == nil {
		t.tree = new(Tree)
	}
	return tally{&t.delta, t.tree}
}

// uncount takes everything out of the table's delta again.
func (t *table) uncount() {
	for i := range t.keys {
		t.unmark(t.keys[i].newest)
	}
	t.delta, t.tree, t.uncounted = Digest{}, nil, len(t.keys)
}

// find is the number of key, whose hash is given.
func (t *table) find(key []byte, hash uint64) (number uint32, ok bool) {
	if len(t.slots) == 0 {
		return 0, false
	}
	mask := uint64(len(t.slots) - 1)
	for i := hash >> 32 & mask; ; i = (i + 1) & mask {
		s := t.slots[i]
		if s == 0 {
			return 0, false
		}
		if s>>32 == hash>>32 && bytes.Equal(t.key(uint32(s)-1), key) {
			return uint32(s) - 1, true
		}
	}
}

// addKey gives key, which is new, a number.
func (t *table) addKey(key []byte, hash uint64) uint32 {
	if 4*(len(t.keys)+1) > 3*len(t.slots) {
		t.growSlots()
	}
	p, b := t.alloc(4 + len(key))
	binary.LittleEndian.PutUint32(b, uint32(len(key)))
	copy(b[4:], key)
	number := uint32(len(t.keys))
	t.keys = append(t.keys, tableKey{key: p})
	t.bytes += tableKeyBytes
	t.place(hash&^(1<<32-1) | uint64(number+1))
	return number
}

func (t *table) growSlots() {
	old := t.slots
	t.slots = make([]uint64, max(2*len(old), 16))
	for _, s := range old {
		if s != 0 {
			t.place(s)
		}
	}
}

// place puts s into the first free slot.
func (t *table) place(s uint64) {
	mask := uint64(len(t.slots) - 1)
	i := s >> 32 & mask
	for t.slots[i] != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = s
}

// alloc is n bytes of the table's memory.
func (t *table) alloc(n int) (place, []byte) {
	if n > blockSize/4 {
		t.blocks = append(t.blocks, t.pool.getLarge(n))
		t.bytes += int64(n)
		if len(t.blocks) == 1 {
			t.used = blockSize // it is no block for small things
		}
		return t.placeOf(len(t.blocks)-1, 0), t.blocks[len(t.blocks)-1]
	}
	if len(t.blocks) == 0 || t.used+n > blockSize {
		t.small, t.used = len(t.blocks), 0
		t.blocks = append(t.blocks, t.pool.get())
		t.bytes += blockSize
	}
	at := t.used
	t.used += n
	return t.placeOf(t.small, at), t.blocks[t.small][at : at+n : at+n]
}

// placeOf leaves 0 to mean nowhere.
func (t *table) placeOf(block, offset int) place { return place((block+1)<<blockBits | offset) }

func (t *table) at(p place) []byte { return t.blocks[p>>blockBits-1][p&(blockSize-1):] }

// key is the key with a number.
func (t *table) key(number uint32) []byte {
	b := t.at(t.keys[number].key)
	n := binary.LittleEndian.Uint32(b)
	return b[4 : 4+n : 4+n]
}

// allocVersion makes a version of r under key, and returns its place and stored form.
func (t *table) allocVersion(key []byte, r *Record, at position) (place, []byte) {
	n := recordHeader + len(r.Value)
	p, b := t.alloc(versionHeader + n)
	binary.LittleEndian.PutUint64(b, uint64(at))
	binary.LittleEndian.PutUint32(b[8:], 0)
	binary.LittleEndian.PutUint32(b[12:], uint32(n))
	return p, appendRecord(b[versionHeader:versionHeader:len(b)], key, r)
}

func (t *table) version(p place) version {
	b := t.at(p)
	n := binary.LittleEndian.Uint32(b[12:])
	end := versionHeader + n&^countedBit
	return version{
		at: position(binary.LittleEndian.Uint64(b)), before: place(binary.LittleEndian.Uint32(b[8:])),
		counted: n&countedBit != 0, stored: b[versionHeader:end:end],
	}
}

func (t *table) setBefore(p, before place) {
	binary.LittleEndian.PutUint32(t.at(p)[8:], uint32(before))
}
func (t *table) cut(p place)    { t.setBefore(p, 0) }
func (t *table) mark(p place)   { t.at(p)[versionHeader-1] |= countedBit >> 24 }
func (t *table) unmark(p place) { t.at(p)[versionHeader-1] &^= countedBit >> 24 }

// latest is the newest version under key, false if there is none.
func (t *table) latest(key []byte) (version, bool) {
	if t == nil || len(t.keys) == 0 {
		return version{}, false
	}
	number, ok := t.find(key, maphash.Bytes(hashSeed, key))
	if !ok {
		return version{}, false
	}
	return t.version(t.keys[number].newest), true
}

// visible is the newest version under key that is durable, false if none is.
func (t *table) visible(key []byte, durable position) (version, bool) {
	v, ok := t.latest(key)
	if !ok {
		return v, false
	}
	return t.seen(v, durable)
}

// seen is the newest of v and what it replaced that is durable, false if none is.
func (t *table) seen(v version, durable position) (version, bool) {
	for v.at >= durable {
		if v.before == 0 {
			return v, false
		}
		v = t.version(v.before)
	}
	return v, true
}

// record is the version as the caller's own record under key.
func (v *version) record(key []byte) (Record, error) {
	r, err := parseRecord(key, v.stored)
	r.Value = bytes.Clone(r.Value)
	return r, err
}
