package vnodes

import "cmp"

// Stamp orders the versions of one record: a hybrid logical clock's time, the
// node that issued it, the write's id. Time is milliseconds since 1970 shifted
// left by 16, plus a counter (Kulkarni et al., "Logical Physical Clocks", 2014).
type Stamp struct {
	Time uint64
	Node uint64 // the NodeID's 64 bits
	ID   uint64 // the write's id; the same in every retry of it
}

// Compare is negative if s is older than t, positive if newer.
func (s Stamp) Compare(t Stamp) int {
	if c := cmp.Compare(s.Time, t.Time); c != 0 {
		return c
	}
	if c := cmp.Compare(s.Node, t.Node); c != 0 {
		return c
	}
	return cmp.Compare(s.ID, t.ID)
}

// IsZero reports whether s is no stamp at all.
func (s Stamp) IsZero() bool { return s == Stamp{} }

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

// Write is one record under its key: the unit of effects, handoff and hints.
type Write struct {
	Key    []byte
	Record Record
}
