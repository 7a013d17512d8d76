package vnodes

import (
	"bytes"
	"cmp"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Stamp orders the versions of one record.
type Stamp = wire.Stamp

// RecordFlags say what a record is.
type RecordFlags uint8

// FlagTombstone marks a record that stands for a deleted one.
const FlagTombstone RecordFlags = 1 << 0

// Record is one version of what a vnode holds under a key.
type Record struct {
	Stamp Stamp
	Flags RecordFlags
	Value []byte
}

// Deleted reports whether r is a tombstone.
func (r *Record) Deleted() bool { return r.Flags&FlagTombstone != 0 }

// Newer is the one of two versions that has the newer stamp: the rule of services
// without a Merger, and where the stamp of a merged record comes from. Two records of
// one stamp differ only by a fault; all replicas choose the same of them.
func (r Record) Newer(other Record) Record {
	if newer(&other, &r) {
		return other
	}
	return r
}

// newer reports whether a replaces b where the newest stamp wins.
func newer(a, b *Record) bool {
	return cmp.Or(a.Stamp.Compare(b.Stamp), cmp.Compare(a.Flags, b.Flags), bytes.Compare(a.Value, b.Value)) > 0
}

// Write is one record under its key: the unit of effects, handoff and hints.
type Write struct {
	Key    []byte
	Record Record
}

// bytesOf counts the bytes of keys and values.
func bytesOf(writes []Write) (n int) {
	for i := range writes {
		n += len(writes[i].Key) + len(writes[i].Record.Value)
	}
	return n
}
