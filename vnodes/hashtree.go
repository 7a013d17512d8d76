package vnodes

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/bbolt"
)

// treeBits says how many leaves a Tree has. A thousand fit into one frame of 8 KiB,
// so that one question and one answer say where two replicas differ, and of a
// partition of a million records one lost record makes a thousand be listed. More
// levels would save bytes only where one frame is too many.
const treeBits = 10

// Tree is the hash tree of a store: one level of leaves, each the sum of RecordHash
// over the live records whose keys fall to it. Two replicas with equal leaves hold
// the same live records there. Tombstones are left out, so that reaping them makes
// no trees differ; one that stands against a live record of another replica shows
// in that record's leaf.
type Tree [1 << treeBits]uint64

// leafOf is the leaf that key falls to, the same on every node.
func leafOf(key []byte) int { return int(xxhash.Sum64(key) >> (64 - treeBits)) }

// add counts the record under key whose digest is one; nothing if that is of none.
func (t *Tree) add(key []byte, one Digest) {
	if one.Live != 0 {
		t[leafOf(key)] += one.Sum
	}
}

// remove undoes add.
func (t *Tree) remove(key []byte, one Digest) {
	if one.Live != 0 {
		t[leafOf(key)] -= one.Sum
	}
}

// sum makes t the tree of what it and o, which may be nil, describe.
func (t *Tree) sum(o *Tree) {
	if o == nil {
		return
	}
	for i := range t {
		t[i] += o[i]
	}
}

// append appends the encoding of t to dst: its leaves, big endian.
func (t *Tree) append(dst []byte) []byte {
	for _, sum := range t {
		dst = binary.BigEndian.AppendUint64(dst, sum)
	}
	return dst
}

// parse reads what append made; false if b is nothing of the kind.
func (t *Tree) parse(b []byte) bool {
	if len(b) != 8*len(t) {
		return false
	}
	for i := range t {
		t[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return true
}

// tally keeps a digest and a tree while single records come and go.
type tally struct {
	digest *Digest
	tree   *Tree
}

func (t tally) add(key []byte, one Digest) {
	t.digest.sum(one)
	t.tree.add(key, one)
}

func (t tally) remove(key []byte, one Digest) {
	t.digest.subtract(one)
	t.tree.remove(key, one)
}

// writeTree puts the tree of the records in a store's file into it.
func writeTree(tx *bbolt.Tx, t *Tree) error {
	meta, err := fileBucket(tx, metaBucket)
	if err != nil {
		return err
	}
	return meta.Put([]byte(treeKey), seal(treeKey, t.append(nil)))
}

// readTree reads the tree of the records in a store's file. One that has never had
// records has none.
func readTree(tx *bbolt.Tx, t *Tree) error {
	meta, err := fileBucket(tx, metaBucket)
	if err != nil {
		return err
	}
	sealed := meta.Get([]byte(treeKey))
	if sealed == nil {
		*t = Tree{}
		state, err := readState(tx)
		if err == nil && state.digest.Live != 0 {
			err = corruptBolt("%d live records and no hash tree", state.digest.Live)
		}
		return err
	}
	b, err := unseal(treeKey, sealed)
	if err == nil && !t.parse(b) {
		err = corruptBolt("a hash tree of %d bytes", len(b))
	}
	return err
}
