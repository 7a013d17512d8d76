package codec

import (
	"encoding/binary"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Op is what a command does. The numbers are stored nowhere, but travel between
// versions: append only.
type Op uint8

// The commands. Only the blind ones may be sent to a service with more than one
// replica; the others are exact because one vnode alone runs them.
const (
	OpPut    Op = 1 // blind: store the value; reply empty
	OpDelete Op = 2 // blind: leave a tombstone; reply empty
	OpTake   Op = 3 // delete, and reply the Result that was there
	OpPutIf  Op = 4 // store the value if Cond holds; reply an Outcome
	OpExpire Op = 5 // set or, with 0, remove the time of expiry; reply an Outcome
)

// Cond says when OpPutIf stores, and how.
type Cond uint8

// The conditions.
const (
	IfAbsent Cond = 1 << 0 // only if there is no value
	IfExists Cond = 1 << 1 // only if there is one
	KeepTTL  Cond = 1 << 2 // the new value expires when the old one would have
	condMask Cond = 1<<3 - 1
)

// Command is the body of an OpCommand to the key/value service.
//
//	put     u8 1 | envelope
//	delete  u8 2
//	take    u8 3
//	put if  u8 4 | u8 cond | envelope
//	expire  u8 5 | u64 expires
type Command struct {
	Op      Op
	Cond    Cond   // OpPutIf
	Expires uint64 // OpPut, OpPutIf, OpExpire: see Envelope
	Value   []byte // OpPut, OpPutIf
}

// AppendCommand appends the encoding of c to dst.
func AppendCommand(dst []byte, c *Command) []byte {
	dst = append(dst, byte(c.Op))
	switch c.Op {
	case OpPutIf:
		dst = append(dst, byte(c.Cond))
		fallthrough
	case OpPut:
		dst = AppendEnvelope(dst, &Envelope{Expires: c.Expires, Value: c.Value})
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
	switch c.Op {
	case OpPut:
		ok = c.setEnvelope(rest)
	case OpPutIf:
		if len(rest) > 0 {
			c.Cond = Cond(rest[0])
			ok = c.Cond&^condMask == 0 && c.setEnvelope(rest[1:])
		}
	case OpDelete, OpTake:
		ok = len(rest) == 0
	case OpExpire:
		if ok = len(rest) == 8; ok {
			c.Expires = binary.BigEndian.Uint64(rest)
		}
	}
	if !ok {
		return Command{}, errBody("command", b)
	}
	return c, CheckValue(c.Value)
}

func (c *Command) setEnvelope(b []byte) bool {
	e, ok := cutEnvelope(b)
	c.Expires, c.Value = e.Expires, e.Value
	return ok
}

// Blind reports whether the encoded command b does not read what it replaces.
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
