package typed

import (
	"encoding/binary"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// Method is a command, query or coverage query with the function that does it. By makes one.
type Method struct {
	kind, name string
	blind      bool
	run        func(tx *ringcore.Tx, args []byte) ([]byte, error)
	cover      func(tx *ringcore.Tx, args []byte, emit func(ringcore.Item) error) error
}

// The kinds of methods, as in error messages.
const (
	command = "command"
	query   = "query"
	cover   = "coverage query"
)

// Methods are a vnode: it does what they say. Embed them in a type that does more.
type Methods []Method

// Command does the command that cmd names.
func (m Methods) Command(tx *ringcore.Tx, cmd []byte) ([]byte, error) {
	f, args, err := m.find(command, cmd)
	if err != nil {
		return nil, err
	}
	return f.run(tx, args)
}

// Query does the query that q names.
func (m Methods) Query(tx *ringcore.Tx, q []byte) ([]byte, error) {
	f, args, err := m.find(query, q)
	if err != nil {
		return nil, err
	}
	return f.run(tx, args)
}

// Cover does the coverage query that req names.
func (m Methods) Cover(tx *ringcore.Tx, req []byte, emit func(ringcore.Item) error) error {
	f, args, err := m.find(cover, req)
	if err != nil {
		return err
	}
	return f.cover(tx, args, emit)
}

// find is the method that a body names, and its encoded arguments.
func (m Methods) find(kind string, body []byte) (*Method, []byte, error) {
	name, args, ok := wire.CutBytes(body)
	if !ok {
		return nil, nil, ringcore.Errorf(ringcore.CodeBadRequest, "a %s without a name", kind)
	}
	for i := range m {
		if m[i].kind == kind && m[i].name == string(name) {
			return &m[i], args, nil
		}
	}
	return nil, nil, ringcore.Errorf(wire.NotSupported, "there is no %s %q here: the caller may be of another version", kind, name)
}

// BlindMethods are Methods of which some are blind: they do not read what they replace.
// Services with several replicas whose newest record wins need this.
type BlindMethods struct{ Methods }

// Blind reports whether cmd names a blind command.
func (m BlindMethods) Blind(cmd []byte) bool {
	f, _, err := m.find(command, cmd)
	return err == nil && f.blind
}

// encode is a method's name and arguments as they travel.
//
//	uvarint len, name | rest: args
func encode(c Codec, name string, args any) ([]byte, error) {
	b, err := or(c).Marshal(args)
	if err != nil {
		return nil, ringcore.Errorf(ringcore.CodeBadRequest, "encode the arguments of %s: %v", name, err)
	}
	head := wire.AppendBytes(make([]byte, 0, binary.MaxVarintLen32+len(name)+len(b)), []byte(name))
	return append(head, b...), nil
}

// by makes a function of bytes of fn.
func by[A, R any](c Codec, fn func(*ringcore.Tx, A) (R, error)) func(*ringcore.Tx, []byte) ([]byte, error) {
	return func(tx *ringcore.Tx, body []byte) ([]byte, error) {
		var args A
		if err := or(c).Unmarshal(body, &args); err != nil {
			return nil, ringcore.Errorf(ringcore.CodeBadRequest, "decode a %T: %v", args, err)
		}
		reply, err := fn(tx, args)
		if err != nil {
			return nil, err
		}
		return or(c).Marshal(reply)
	}
}

// reply reads what a method has answered.
func reply[R any](c Codec, name string, b []byte, err error) (r R, _ error) {
	if err != nil {
		return r, err
	}
	if err := or(c).Unmarshal(b, &r); err != nil {
		return r, ringcore.Errorf(wire.Internal, "the reply of %s is no %T: %v", name, r, err)
	}
	return r, nil
}
