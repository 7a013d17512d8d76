package vnodes

import "errors"

// Store holds one vnode's records, tombstones included, ordered by key bytes.
//
// Append and Latest belong to the vnode's worker, one goroutine at a time; every
// other method may be called from any goroutine beside them. Byte slices that a
// Store returns are the caller's; those passed to it must not change afterwards.
type Store interface {
	// Append enters writes, all or none, after everything appended before, and
	// returns at once; it blocks only for back-pressure. done is called once, in
	// append order, when they are durable (nil) or the store has failed. It runs on
	// the store's goroutine, or in Append itself where there is nothing to wait for
	// (in memory, after Close), and must not block. The writes replace what is
	// there: merging was the caller's work. Refused, entering nothing, are keys that
	// are empty or over 128 KiB and values over 1 GiB.
	Append(writes []Write, done func(error))
	// Latest is the newest record under key, also one that is appended and not yet durable.
	Latest(key []byte) (Record, bool, error)

	// Get is the durable record under key.
	Get(key []byte) (Record, bool, error)
	// Ascend calls fn with every durable record from key on, in key order, on one
	// consistent snapshot per chunk: it holds no snapshot while fn runs for longer
	// than one chunk. A record that is there throughout is seen once. It stops when fn
	// returns false. The slices are valid only during the call.
	Ascend(from []byte, fn func(key []byte, r Record) bool) error

	// Digest describes the appended state: number of records, tombstones included,
	// and the sum over them of RecordHash. Two stores with equal digests hold the same.
	Digest() Digest
	// Tree is the hash tree of the appended state, exact as of one moment of the call.
	Tree() (Tree, error)
	// ID names these data, from when the store was made until it is dropped: no other
	// store has ever had it, so that whoever has lost its data comes back with another.
	// It is 0 once a store that was never written to is closed, or cannot be opened.
	ID() uint64
	// MaxTime is at least every stamp's time in the store.
	MaxTime() uint64
	// Sync waits until everything appended before is durable.
	Sync() error
	// Close waits for what was appended, then gives up the file. Later calls fail with ErrClosed.
	Close() error
	// Drop is Close, and deletes the file.
	Drop() error
}

// keptScratch is the longest value for which memory is kept to be used again, in each vnode.
const keptScratch = 4 << 10

// scratchStore is a Store that copies what is appended before Append returns, so that
// the value of a record that is only looked at may lie in memory that is used again.
type scratchStore interface {
	// latestIn is Latest, but the value may be in scratch, which grows as needed.
	latestIn(key []byte, scratch *[]byte) (Record, bool, error)
}

// Digest describes the content of a store, independent of order.
type Digest struct {
	Records int64  `json:"records"` // tombstones included
	Live    int64  `json:"live"`    // without tombstones
	Bytes   int64  `json:"bytes"`   // keys and values
	Sum     uint64 `json:"sum,string"`
}

// ErrClosed is returned by a Store after Close or Drop.
var ErrClosed = errors.New("store is closed")

// ErrCorrupt reports a stored record or file whose checksum or identity does not match.
var ErrCorrupt = errors.New("stored data is corrupt")

// Identity is stamped inside a vnode's file; a file in the wrong place is refused.
type Identity struct {
	ClusterID string `json:"cluster_id"`
	NodeID    string `json:"node_id"`
	Service   string `json:"service"`
	Partition int    `json:"partition"`
	For       string `json:"for,omitempty"`     // a hint store's: the node whose slot it stands in for
	Session   string `json:"session,omitempty"` // the transfer that filled it; empty for one born here
}
