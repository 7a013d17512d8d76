package codec

import (
	"encoding/binary"
	"slices"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// QueryOp is a query of one key; it is the whole body of an OpQuery. Append only.
type QueryOp uint8

// The queries.
const (
	QueryGet  QueryOp = 1 // reply a Result
	QueryPing QueryOp = 2 // reply a Pong
	QueryStat QueryOp = 3 // as QueryGet, without the value
)

// AppendQuery appends the encoding of q to dst.
func AppendQuery(dst []byte, q QueryOp) []byte { return append(dst, byte(q)) }

// ParseQuery reads a query.
func ParseQuery(b []byte) (QueryOp, error) {
	if len(b) != 1 || b[0] < byte(QueryGet) || b[0] > byte(QueryStat) {
		return 0, errBody("query", b)
	}
	return QueryOp(b[0]), nil
}

// State says what a replica knows of a key.
type State uint8

// The states.
const (
	Absent   State = 0 // no record; the stamp is zero
	Deleted  State = 1 // a tombstone, or an expired value
	Live     State = 2
	Versions State = 3 // an Object, which may hold no value
)

// Result is what one replica, or several together, know of a key.
//
//	u8 state | stamp | if live: envelope, if versions: object
type Result struct {
	State   State
	Stamp   wire.Stamp
	Expires uint64 // of a live value; see Envelope
	Value   []byte // of a live value
	Object  Object // of Versions
}

// Context is what whoever got r has seen.
func (r *Result) Context() Context {
	if r.State == Versions {
		return r.Object.Context()
	}
	return Context{Base: r.Stamp}
}

// Exists reports whether r holds a value.
func (r *Result) Exists() bool { return r.State == Live || r.State == Versions && !r.Object.Empty() }

// Shows reports whether the write with that id is in r, as the newest or as one of several.
func (r *Result) Shows(id uint64) bool {
	return r.Stamp.ID == id || r.State == Versions && (r.Object.Base.Stamp.ID == id ||
		slices.ContainsFunc(r.Object.Siblings, func(s Sibling) bool { return s.ID == id }))
}

// Values are those that r holds, the newest first.
func (r *Result) Values() []Envelope {
	switch r.State {
	case Live:
		return []Envelope{{r.Expires, r.Value}}
	case Versions:
		return r.Object.Values()
	}
	return nil
}

// Whole is r as an Object, whatever its state.
func (r *Result) Whole() Object {
	switch r.State {
	case Versions:
		return r.Object
	case Live:
		return Object{Base: Base{Stamp: r.Stamp, Live: true, Envelope: Envelope{r.Expires, r.Value}}}
	}
	return Object{Base: Base{Stamp: r.Stamp}}
}

// AppendResult appends the encoding of r to dst.
func AppendResult(dst []byte, r *Result) []byte {
	dst = r.Stamp.Append(append(dst, byte(r.State)))
	switch r.State {
	case Live:
		dst = AppendEnvelope(dst, &Envelope{Expires: r.Expires, Value: r.Value})
	case Versions:
		dst = AppendObject(dst, &r.Object)
	}
	return dst
}

// ParseResult reads a Result.
func ParseResult(b []byte) (Result, error) {
	if len(b) < 1+wire.StampSize {
		return Result{}, errReply("result", b)
	}
	r := Result{State: State(b[0])}
	r.Stamp, _ = wire.ParseStamp(b[1:])
	rest, ok := b[1+wire.StampSize:], false
	switch r.State {
	case Absent:
		ok = len(rest) == 0 && r.Stamp.IsZero()
	case Deleted:
		ok = len(rest) == 0
	case Live:
		var e Envelope
		e, ok = cutEnvelope(rest)
		r.Expires, r.Value = e.Expires, e.Value
	case Versions:
		r.Object, ok = cutObject(rest)
	}
	if !ok {
		return Result{}, errReply("result", b)
	}
	return r, nil
}

// Resolve makes one encoded Result of those of several replicas: the newest, or all
// of them merged if there are Objects among them.
func Resolve(replies [][]byte) ([]byte, error) {
	var best []byte
	var stamp wire.Stamp
	for _, b := range replies {
		r, err := ParseResult(b)
		switch {
		case err != nil:
			return nil, err
		case r.State == Versions:
			return resolveObjects(replies)
		case best == nil || r.Stamp.Compare(stamp) > 0:
			best, stamp = b, r.Stamp
		}
	}
	if best == nil {
		return nil, errReply("result", nil)
	}
	return best, nil
}

func resolveObjects(replies [][]byte) ([]byte, error) {
	all := Result{State: Versions}
	for _, b := range replies {
		r, err := ParseResult(b)
		if err != nil {
			return nil, err
		}
		o := r.Whole()
		all.Object = MergeObjects(&all.Object, &o)
		if r.Stamp.Compare(all.Stamp) > 0 {
			all.Stamp = r.Stamp
		}
	}
	all.shorten()
	return AppendResult(nil, &all), nil
}

// shorten gives r the form that a replica's answer would have which held all of it:
// an Object that is nothing but its Base is stored as a plain record.
func (r *Result) shorten() {
	base := r.Object.Base
	switch {
	case !r.Object.plain() || base.Stamp != r.Stamp:
	case base.Live:
		*r = Result{State: Live, Stamp: r.Stamp, Expires: base.Expires, Value: base.Value}
	default:
		*r = Result{State: Deleted, Stamp: r.Stamp}
	}
}

// Pong says which vnode answered a ping.
//
//	u16 partition | rest: node id
type Pong struct {
	Partition uint16
	Node      string
}

// AppendPong appends the encoding of p to dst.
func AppendPong(dst []byte, p *Pong) []byte {
	return append(binary.BigEndian.AppendUint16(dst, p.Partition), p.Node...)
}

// ParsePong reads a Pong.
func ParsePong(b []byte) (Pong, error) {
	if len(b) < 2 {
		return Pong{}, errReply("pong", b)
	}
	return Pong{Partition: binary.BigEndian.Uint16(b), Node: string(b[2:])}, nil
}
