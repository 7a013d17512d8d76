package vnodes

import (
	"bytes"
	"errors"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Tx is a vnode's access to its records during one call. It must not be kept
// after the call returns, nor used from another goroutine.
//
// Its methods do not return errors. The first failure sticks: reads find nothing
// from then on, and whatever the call returns, its caller gets the failure
// instead and nothing is written. Err tells of it early.
type Tx struct {
	m         *Manager // nil in tests
	partition ring.Partition
	bucket    string
	key       []byte
	store     Store
	stamp     func(have Stamp) (Stamp, error) // issues a stamp newer than have; nil in a query or coverage call
	rename    func(actor uint64) uint64       // what Actor says instead; nil for as it is
	partial   bool                            // a fallback: what it does not hold may exist elsewhere
	stop      func() error                    // of a coverage call: why nobody wants its items any more
	writes    []Write
	replaced  []Stamp  // by them, in their order
	scratch   *[]byte  // where a record that is only looked at may lie; may be nil
	seen      *[]Write // if not nil: where the records that are read by their keys are noted
	err       error
}

var (
	errReadOnly = errors.New("write in a read-only call")
	errPartial  = wire.Errorf(wire.Unavailable, "the owner is down and its fallback does not hold this key")
)

// Partition is the partition that the vnode serves.
func (t *Tx) Partition() ring.Partition { return t.partition }

// Bucket is the bucket that the command or query is addressed to; empty in coverage calls.
func (t *Tx) Bucket() string { return t.bucket }

// Key is the key that the command or query is addressed to; empty in coverage calls.
func (t *Tx) Key() []byte { return t.key }

// Capability is the version of a capability that the cluster goes by now, 0 for none;
// see the node's. What a record is written in should depend on it: other members, which
// get the record as it is, may not know a newer form.
func (t *Tx) Capability(name string) int {
	if t.m == nil || t.m.cfg.Capability == nil {
		return 0
	}
	return t.m.cfg.Capability(name)
}

// Err is the first failure of t, nil if there was none.
func (t *Tx) Err() error { return t.err }

// Get returns the value under key; false if there is none or it was deleted.
func (t *Tx) Get(key []byte) ([]byte, bool) {
	r, ok := t.Record(key)
	if !ok || r.Deleted() {
		return nil, false
	}
	return r.Value, true
}

// Record returns the record under key as it is, tombstones too.
func (t *Tx) Record(key []byte) (Record, bool) {
	if t.err != nil {
		return Record{}, false
	}
	r, ok, err := t.read(key)
	switch {
	case err != nil:
		t.err = err
	case !ok && t.partial:
		t.err = errPartial
	case ok && t.seen != nil:
		*t.seen = append(*t.seen, Write{Key: bytes.Clone(key), Record: r})
	}
	return r, ok && t.err == nil
}

// Held is Record for blind commands: a fallback, which may not know of a record that
// the owner has, reports none, instead of failing the call.
func (t *Tx) Held(key []byte) (Record, bool) {
	if t.err != nil {
		return Record{}, false
	}
	r, ok, err := t.read(key)
	t.err = err
	return r, ok && err == nil
}

// read looks at t's own writes, then at the store: as of the last append in a
// command, as of the last sync in a query.
func (t *Tx) read(key []byte) (Record, bool, error) {
	for i := len(t.writes) - 1; i >= 0; i-- {
		if bytes.Equal(t.writes[i].Key, key) {
			return t.writes[i].Record, true, nil
		}
	}
	if t.stamp != nil {
		return t.store.Latest(key)
	}
	return t.store.Get(key)
}

// Actor names this vnode's copy of the partition's records: a replica that has lost
// them, or got them anew, has another one, and no two ever have the same. A counter of
// its own that a copy keeps under its Actor is therefore counted on by nobody else.
// It is for commands; the first failure makes it 0.
func (t *Tx) Actor() uint64 {
	if !t.writable() {
		return 0
	}
	actor := t.store.ID()
	if actor == 0 {
		t.err = wire.Errorf(wire.Unavailable, "the partition's store cannot be opened")
	} else if t.rename != nil {
		actor = t.rename(actor)
	}
	return actor
}

// NewStamp is a stamp that nobody has been or will be given: later than every stamp
// that this node has issued or met in a write, and than have. It is for commands that
// name events in values of their own; Put and Delete take one by themselves.
func (t *Tx) NewStamp(have Stamp) Stamp {
	if !t.writable() {
		return Stamp{}
	}
	var s Stamp
	s, t.err = t.stamp(have)
	return s
}

// Settled is a time up to which the partition's records are the same on all copies: they
// have compared, nobody keeps an older write that is still on its way, and none of that
// age will be stamped any more. So what this copy has not got of that age was replaced,
// or deleted. It is 0 if nothing is known, and for a fallback. A Merger may forget by it
// what it remembers only for copies that have missed something.
func (t *Tx) Settled() uint64 {
	if t.m == nil || t.partial || t.m.moving(t.partition) {
		return 0
	}
	_, reap := t.m.floors.Floor(t.partition)
	return reap
}

// writable reports whether t is a command's that has not failed.
func (t *Tx) writable() bool {
	if t.stamp == nil && t.err == nil {
		t.err = errReadOnly
	}
	return t.err == nil
}

// replaces is the stamp of the record that a write under key replaces, zero for none.
func (t *Tx) replaces(key []byte) (Stamp, error) {
	if s, ok := t.store.(scratchStore); ok && t.scratch != nil && len(t.writes) == 0 {
		r, _, err := s.latestIn(key, t.scratch)
		return r.Stamp, err
	}
	r, _, err := t.read(key)
	return r.Stamp, err
}

// Put stores value under key. Both are copied.
func (t *Tx) Put(key, value []byte) { t.write(key, 0, value) }

// Delete leaves a tombstone under key, so that the deletion reaches every replica.
func (t *Tx) Delete(key []byte) { t.write(key, FlagTombstone, nil) }

// Bury leaves a tombstone with a value under key, for a Merger that must know of a
// deletion what it has deleted. The value is copied.
func (t *Tx) Bury(key, value []byte) { t.write(key, FlagTombstone, value) }

func (t *Tx) write(key []byte, flags RecordFlags, value []byte) {
	if !t.writable() {
		return
	}
	// Before anybody hears of the write: a replica would refuse it too.
	if t.err = checkWrites([]Write{{Key: key, Record: Record{Value: value}}}); t.err != nil {
		return
	}
	have, err := t.replaces(key)
	if err != nil {
		t.err = err
		return
	}
	stamp, err := t.stamp(have)
	if err != nil {
		t.err = err
		return
	}
	own := append(append(make([]byte, 0, len(key)+len(value)), key...), value...)
	r := Record{Stamp: stamp, Flags: flags}
	if value != nil {
		r.Value = own[len(key):]
	}
	for i := range t.writes { // one write per key: the last
		if bytes.Equal(t.writes[i].Key, key) {
			t.writes[i].Record = r
			return // what it replaced stands
		}
	}
	t.writes = append(t.writes, Write{Key: own[:len(key):len(key)], Record: r})
	t.replaced = append(t.replaced, have)
}

// Ascend calls fn with every durable record from key on, tombstones included,
// in key order, until fn returns false. It does not see t's own writes. The
// slices are valid only during the call.
func (t *Tx) Ascend(from []byte, fn func(key []byte, r Record) bool) {
	if t.err != nil {
		return
	}
	if t.stop != nil {
		fn = t.stoppable(fn)
	}
	if err := t.store.Ascend(from, fn); err != nil && t.err == nil {
		t.err = err
	}
}

// stopEvery is how many records a coverage call may look at after nobody wants them
// any more: it may emit none of them, and would not notice.
const stopEvery = 256

// stoppable is fn, which ends when the caller has gone.
func (t *Tx) stoppable(fn func(key []byte, r Record) bool) func(key []byte, r Record) bool {
	seen := 0
	return func(key []byte, r Record) bool {
		if seen++; seen%stopEvery == 0 {
			if t.err = t.stop(); t.err != nil {
				return false
			}
		}
		return fn(key, r)
	}
}
