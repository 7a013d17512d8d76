package codec

import (
	"bytes"
	"slices"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Stored is a record of the service: an Envelope under the stamp of the write that
// stored it or, if it is deleted, nothing; or an Object.
type Stored struct {
	Stamp   wire.Stamp
	Deleted bool // it holds no value
	Value   []byte
}

// IsObject reports whether r is an Object, and not the compact form of one that is
// nothing but its Base.
func (r *Stored) IsObject() bool { return len(r.Value) > 0 && r.Value[0] == objectMark }

// Object reads r, whatever its form.
func (r *Stored) Object() (Object, error) {
	if r.Deleted && len(r.Value) == 0 {
		return Object{Base: Base{Stamp: r.Stamp}}, nil
	}
	if !r.IsObject() {
		e, err := ParseEnvelope(r.Value)
		return Object{Base: Base{Stamp: r.Stamp, Live: true, Envelope: e}}, err
	}
	o, ok := cutObject(r.Value)
	if !ok || o.Empty() != r.Deleted {
		return o, wire.Errorf(wire.Corrupt, "a stored object of %d bytes does not parse", len(r.Value))
	}
	return o, nil
}

// StoredObject is o as a record with that stamp, in its shortest form.
func StoredObject(stamp wire.Stamp, o *Object) Stored {
	r := Stored{Stamp: stamp, Deleted: o.Empty()}
	switch {
	case !o.plain() || o.Base.Stamp != stamp:
		r.Value = AppendObject(nil, o)
	case o.Base.Live:
		r.Value = AppendEnvelope(nil, &o.Base.Envelope)
	}
	return r
}

// Merge makes one record of two versions. Those that parse are merged by their
// contents; of others, which nobody writes, the newer wins.
func Merge(a, b Stored) Stored {
	if !a.IsObject() && !b.IsObject() || a.Stamp == b.Stamp && a.Deleted == b.Deleted && bytes.Equal(a.Value, b.Value) {
		return newerStored(a, b)
	}
	x, errX := a.Object()
	y, errY := b.Object()
	if errX != nil || errY != nil {
		return newerStored(a, b)
	}
	m := MergeObjects(&x, &y)
	return StoredObject(slices.MaxFunc([]wire.Stamp{a.Stamp, b.Stamp}, wire.Stamp.Compare), &m)
}

func newerStored(a, b Stored) Stored {
	if c := b.Stamp.Compare(a.Stamp); c > 0 || c == 0 && b.Deleted {
		return b
	}
	return a
}

// Supersedes reports whether have would hide the value that incoming, a new write,
// brings without knowing of have.
func Supersedes(have, incoming *Stored) bool {
	if !incoming.IsObject() {
		return have.Stamp.Compare(incoming.Stamp) > 0
	}
	o, err := incoming.Object()
	h, errHave := have.Object()
	return err == nil && errHave == nil && len(o.Siblings) > 0 && o.Newest() <= h.Base.Stamp.Time
}
