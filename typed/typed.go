package typed

import (
	"context"

	"github.com/ringcore/ringcore"
)

// Caller runs calls: a *ringcore.Node does, and a client behind Client.
type Caller interface {
	Command(ctx context.Context, service string, call ringcore.Call) ([]byte, error)
	Query(ctx context.Context, service string, call ringcore.Call) ([]byte, error)
	Cover(ctx context.Context, service string, body []byte, o ringcore.CoverOptions, emit func(ringcore.CoverItem) error) (ringcore.CoverResult, error)
}

// Options say how sure a call must be; the zero value is the service's default. They
// are fields of the declarations: for one call, change a copy.
//
//	sure := enter
//	sure.Quorum = ringcore.All
//	room, err := sure.Do(ctx, node, "kitchen", Enter{Name: "ann"})
type Options struct {
	Bucket  string          // with the key, says which partition is asked
	Quorum  ringcore.Quorum // W of a command, R of a query
	Primary ringcore.Quorum // PW or PR
	Sloppy  bool            // nodes that stand in for others count
}

func (o Options) call(key string, body []byte) ringcore.Call {
	c := ringcore.Call{Bucket: o.Bucket, Key: []byte(key), Quorum: o.Quorum, Primary: o.Primary, Body: body}
	if o.Sloppy {
		c.Flags |= ringcore.Sloppy
	}
	return c
}

// Command declares a command: with a key and an A it makes an R.
type Command[A, R any] struct {
	Service string
	Name    string // unique among the service's commands, for ever
	Blind   bool   // it does not read what it replaces; of BlindMethods only
	Codec   Codec  // JSON if nil
	Options
}

// By says which function does the command. It runs alone in its vnode, and its writes are
// durable before the reply leaves; an error undoes them.
func (c Command[A, R]) By(fn func(tx *ringcore.Tx, args A) (R, error)) Method {
	return Method{kind: command, name: c.Name, blind: c.Blind, run: by(c.Codec, fn)}
}

// Call is the command as bytes: what Do sends, and a test hands to vnodetest.
func (c Command[A, R]) Call(key string, args A) (ringcore.Call, error) {
	body, err := encode(c.Codec, c.Name, args)
	if err != nil {
		return ringcore.Call{}, err
	}
	call := c.call(key, body)
	if c.Blind {
		call.Flags |= ringcore.Blind
	}
	return call, nil
}

// Do runs the command where key lives. Its errors are those of ringcore.Node.Command.
func (c Command[A, R]) Do(ctx context.Context, on Caller, key string, args A) (r R, err error) {
	call, err := c.Call(key, args)
	if err != nil {
		return r, err
	}
	b, err := on.Command(ctx, c.Service, call)
	return reply[R](c.Codec, c.Name, b, err)
}

// Query declares a query: it changes nothing, and runs beside commands.
type Query[A, R any] struct {
	Service string
	Name    string // unique among the service's queries, for ever
	Codec   Codec  // JSON if nil
	Options
}

// By says which function does the query. Several may run at a time.
func (q Query[A, R]) By(fn func(tx *ringcore.Tx, args A) (R, error)) Method {
	return Method{kind: query, name: q.Name, run: by(q.Codec, fn)}
}

// Call is the query as bytes.
func (q Query[A, R]) Call(key string, args A) (ringcore.Call, error) {
	body, err := encode(q.Codec, q.Name, args)
	if err != nil {
		return ringcore.Call{}, err
	}
	return q.call(key, body), nil
}

// Do asks the vnode of key.
func (q Query[A, R]) Do(ctx context.Context, on Caller, key string, args A) (r R, err error) {
	call, err := q.Call(key, args)
	if err != nil {
		return r, err
	}
	b, err := on.Query(ctx, q.Service, call)
	return reply[R](q.Codec, q.Name, b, err)
}

// Resolve is for a vnode's own Resolve: it makes one reply of those of several replicas,
// two at a time.
func (q Query[A, R]) Resolve(replies [][]byte, two func(a, b R) R) ([]byte, error) {
	var all R
	for i, b := range replies {
		r, err := reply[R](q.Codec, q.Name, b, nil)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			all = r
		} else {
			all = two(all, r)
		}
	}
	return or(q.Codec).Marshal(all)
}
