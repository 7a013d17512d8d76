package codec

import (
	"encoding/binary"

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
	Absent  State = 0 // no record; the stamp is zero
	Deleted State = 1 // a tombstone, or an expired value
	Live    State = 2
)

// Result is what one replica, or the newest of several, knows of a key.
//
//	u8 state | stamp | if live: envelope
type Result struct {
	State   State
	Stamp   wire.Stamp
	Expires uint64 // of a live value; see Envelope
	Value   []byte // of a live value
}

// AppendResult appends the encoding of r to dst.
func AppendResult(dst []byte, r *Result) []byte {
	dst = r.Stamp.Append(append(dst, byte(r.State)))
	if r.State == Live {
		dst = AppendEnvelope(dst, &Envelope{Expires: r.Expires, Value: r.Value})
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
	}
	if !ok {
		return Result{}, errReply("result", b)
	}
	return r, nil
}

// Newest is the encoded Result with the newest stamp among replies; any one of
// them if several share it.
func Newest(replies [][]byte) ([]byte, error) {
	var best []byte
	var stamp wire.Stamp
	for _, b := range replies {
		r, err := ParseResult(b)
		if err != nil {
			return nil, err
		}
		if best == nil || r.Stamp.Compare(stamp) > 0 {
			best, stamp = b, r.Stamp
		}
	}
	if best == nil {
		return nil, errReply("result", nil)
	}
	return best, nil
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
