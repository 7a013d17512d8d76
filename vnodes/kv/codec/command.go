package codec

import (
	"encoding/binary"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Op is what a command does. The numbers are stored nowhere, but travel between
// versions: append only.
type Op uint8

// The commands. The blind ones run on any copy of the records, and may run twice.
// The others are exact where one vnode alone runs them: with one replica.
const (
	OpPut    Op = 1 // blind: store the value, as the bucket says: in the place of all or of what Context has seen; reply empty
	OpDelete Op = 2 // blind: remove what Context has seen; without one, or where the last write wins, everything; reply empty
	OpTake   Op = 3 // delete, and reply the Result that was there
	OpPutIf  Op = 4 // store the value in the place of what is there if Cond holds; reply an Outcome
	OpExpire Op = 5 // set or, with 0, remove the time of expiry; reply an Outcome
)

// Cond says when OpPutIf stores, and how.
type Cond uint8

// The conditions.
const (
	IfAbsent    Cond = 1 << 0 // only if there is no value
	IfExists    Cond = 1 << 1 // only if there is one
	KeepTTL     Cond = 1 << 2 // the new value expires when the old one would have
	IfUnchanged Cond = 1 << 3 // only if Context has seen all that was written
	condMask    Cond = 1<<4 - 1
)

// Holds reports whether c lets a value be stored, where exists tells if there is one
// already, and unchanged if Context has seen all that was written.
func (c Cond) Holds(exists, unchanged bool) bool {
	return !(exists && c&IfAbsent != 0) && !(!exists && c&IfExists != 0) && !(!unchanged && c&IfUnchanged != 0)
}

// Command is the body of an OpCommand to the key/value service.
//
//	put     u8 1 | u16 len, context | envelope
//	delete  u8 2 | context
//	take    u8 3
//	put if  u8 4 | u8 cond | u16 len, context | envelope
//	expire  u8 5 | u64 expires
type Command struct {
	Op      Op
	Cond    Cond    // OpPutIf
	Context Context // OpPut, OpDelete, OpPutIf
	Expires uint64  // OpPut, OpPutIf, OpExpire: see Envelope
	Value   []byte  // OpPut, OpPutIf
}

// Size is about the length of c's encoding, and not less.
func (c *Command) Size() int { return 13 + c.Context.size() + len(c.Value) }

// AppendCommand appends the encoding of c to dst.
func AppendCommand(dst []byte, c *Command) []byte {
	dst = append(dst, byte(c.Op))
	switch c.Op {
	case OpPutIf:
		dst = append(dst, byte(c.Cond))
		fallthrough
	case OpPut:
		dst = c.Context.Append(binary.BigEndian.AppendUint16(dst, uint16(c.Context.size())))
		dst = AppendEnvelope(dst, &Envelope{Expires: c.Expires, Value: c.Value})
	case OpDelete:
		dst = c.Context.Append(dst)
	case OpExpire:
		dst = binary.BigEndian.AppendUint64(dst, c.Expires)
	}
	return dst
}

// ParseCommand reads a Command and checks its value's length.
func ParseCommand(b []byte) (Command, error) {
	if len(b) == 0 {
		return Command{}, errBody("command", b)
	}
	c, rest, ok := Command{Op: Op(b[0])}, b[1:], false
	var err error
	switch c.Op {
	case OpPut:
		ok, err = c.setValue(rest)
	case OpPutIf:
		if len(rest) > 0 && Cond(rest[0])&^condMask == 0 {
			c.Cond = Cond(rest[0])
			ok, err = c.setValue(rest[1:])
		}
	case OpDelete:
		c.Context, err = ReadContext(rest)
		ok = err == nil
	case OpTake:
		ok = len(rest) == 0
	case OpExpire:
		if ok = len(rest) == 8; ok {
			c.Expires = binary.BigEndian.Uint64(rest)
		}
	}
	switch {
	case err != nil:
		return Command{}, err
	case !ok:
		return Command{}, errBody("command", b)
	}
	return c, CheckValue(c.Value)
}

// setValue reads a context and the envelope behind it.
func (c *Command) setValue(b []byte) (ok bool, err error) {
	if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
		return false, nil
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if c.Context, err = ReadContext(b[2:n]); err != nil {
		return false, err
	}
	e, ok := cutEnvelope(b[n:])
	c.Expires, c.Value = e.Expires, e.Value
	return ok, nil
}

// PlainValue is the envelope in the encoding of an OpPut that ParseCommand accepts.
func PlainValue(put []byte) []byte { return put[3+int(binary.BigEndian.Uint16(put[1:])):] }

// Blind reports whether any copy of the records may run the encoded command b, and
// twice.
func Blind(b []byte) bool {
	return len(b) > 0 && (Op(b[0]) == OpPut || Op(b[0]) == OpDelete)
}

// Outcome is the reply to OpPutIf and OpExpire.
//
//	u8 applied | rest: Result
type Outcome struct {
	Applied bool
	Old     Result // what was there before
}

// AppendOutcome appends the encoding of o to dst.
func AppendOutcome(dst []byte, o *Outcome) []byte {
	applied := byte(0)
	if o.Applied {
		applied = 1
	}
	return AppendResult(append(dst, applied), &o.Old)
}

// ParseOutcome reads an Outcome.
func ParseOutcome(b []byte) (Outcome, error) {
	if len(b) == 0 || b[0] > 1 {
		return Outcome{}, errReply("outcome", b)
	}
	old, err := ParseResult(b[1:])
	return Outcome{Applied: b[0] == 1, Old: old}, err
}

func errBody(what string, b []byte) error {
	return wire.Errorf(wire.BadRequest, "a %s of %d bytes does not parse", what, len(b))
}

func errReply(what string, b []byte) error {
	return wire.Errorf(wire.Corrupt, "a reply of %d bytes is no %s", len(b), what)
}
