package codec

import "github.com/ringcore/ringcore/dataplane/wire"

// A coverage item says of its key what is there: for a plain record its envelope, or
// nothing if only keys are asked for; else an Object, without values in that case.

// ListStored is what a coverage query of op lists of r at the time nowMS, and
// whether there is no value.
func ListStored(op CoverOp, r *Stored, nowMS uint64) (value []byte, deleted bool, err error) {
	if !r.IsObject() {
		if r.Deleted {
			return nil, true, nil
		}
		e, err := ParseEnvelope(r.Value)
		switch {
		case err != nil || e.Expired(nowMS):
			return nil, true, err
		case op == CoverValues:
			return r.Value, false, nil
		}
		return nil, false, nil
	}
	o, err := r.Object()
	if err != nil {
		return nil, true, err
	}
	o.Expire(nowMS)
	if op == CoverKeys {
		o.Strip()
	}
	return AppendObject(nil, &o), o.Empty(), nil
}

// MergeListed makes one item of those that two replicas have listed of a key: the
// newer, or both merged if there is an Object among them.
func MergeListed(a, b *wire.Item) (wire.Item, error) {
	x, y := itemStored(a), itemStored(b)
	if !x.IsObject() && !y.IsObject() {
		if b.Stamp.Compare(a.Stamp) > 0 {
			return *b, nil
		}
		return *a, nil
	}
	m := Merge(x, y)
	o, err := m.Object()
	if !m.IsObject() {
		m.Value = AppendObject(nil, &o)
	}
	return wire.Item{Key: a.Key, Stamp: m.Stamp, Deleted: m.Deleted, Value: m.Value}, err
}

// itemStored is an item as the record that it was made from, but for what was left out.
func itemStored(it *wire.Item) Stored {
	r := Stored{Stamp: it.Stamp, Deleted: it.Deleted, Value: it.Value}
	if !r.Deleted && len(r.Value) == 0 {
		r.Value = AppendEnvelope(nil, &Envelope{})
	}
	return r
}

// ListedValues are what the value of an item lists that is not deleted, the newest first.
func ListedValues(value []byte) ([]Envelope, error) {
	r := Stored{Value: value}
	if !r.IsObject() {
		e, err := ParseEnvelope(value)
		return []Envelope{e}, err
	}
	o, err := r.Object()
	return o.Values(), err
}
