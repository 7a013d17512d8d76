package kv

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// ErrNotFound is returned for a key that has no value, by enough replicas that know.
var ErrNotFound error = &wire.Error{Code: wire.NotFound, Message: "the key has no value"}

// Object is what was read of a key.
type Object struct {
	Value   []byte        // the newest, if there are several
	Expires time.Time     // zero for never
	Context codec.Context // what the reader has seen now: for the write that follows

	// Siblings are all values, Value too, the newest first, if there are several that
	// were written without knowing of each other.
	Siblings []Sibling
}

// Sibling is one of several values of a key.
type Sibling struct {
	Value   []byte
	Expires time.Time // zero for never
}

// KV does what its callers ask with the key/value service of a cluster. It may be
// used from any goroutine.
type KV struct {
	cluster  Cluster
	n        func() int               // replicas of the service
	siblings func(bucket string) bool // whether concurrent values are kept
}

// New returns a KV over c. n tells how many replicas the service has, siblings in
// which buckets concurrent values are kept.
func New(c Cluster, n func() int, siblings func(bucket string) bool) *KV {
	return &KV{cluster: c, n: n, siblings: siblings}
}

// Get reads a key: ErrNotFound if it has no value.
func (k *KV) Get(ctx context.Context, bucket string, key []byte, o Options) (Object, error) {
	return k.read(ctx, bucket, key, codec.QueryGet, o)
}

// GetAll reads several keys at once, for which it costs less than as many Gets. each is
// told of them in order.
func (k *KV) GetAll(ctx context.Context, bucket string, keys [][]byte, o Options, each func(i int, obj Object, err error)) {
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Timeout)
		defer cancel()
	}
	body, calls := codec.AppendQuery(nil, codec.QueryGet), make([]wire.Call, 0, len(keys))
	wrong := map[int]error{}
	for i, key := range keys {
		if err := codec.CheckKey(bucket, key); err != nil {
			wrong[i] = err
			continue
		}
		calls = append(calls, wire.Call{Bucket: bucket, Key: key, Quorum: o.R, Primary: o.PR, Flags: o.flags(), Body: body})
	}
	next := 0
	refused := func() {
		for ; next < len(keys) && wrong[next] != nil; next++ {
			each(next, Object{}, wrong[next])
		}
	}
	k.cluster.Queries(ctx, codec.Service, calls, func(_ int, reply []byte, err error) {
		refused()
		var obj Object
		if err == nil {
			var r codec.Result
			if r, err = codec.ParseResult(reply); err == nil {
				obj, err = found(&r)
			}
		}
		each(next, obj, err)
		next++
	})
	refused()
}

// Stat is Get without the value.
func (k *KV) Stat(ctx context.Context, bucket string, key []byte, o Options) (Object, error) {
	return k.read(ctx, bucket, key, codec.QueryStat, o)
}

func (k *KV) read(ctx context.Context, bucket string, key []byte, q codec.QueryOp, o Options) (Object, error) {
	reply, err := k.query(ctx, bucket, key, q, &o)
	if err != nil {
		return Object{}, err
	}
	r, err := codec.ParseResult(reply)
	if err != nil {
		return Object{}, err
	}
	return found(&r)
}

// query asks for the encoded codec.Result of a key.
func (k *KV) query(ctx context.Context, bucket string, key []byte, q codec.QueryOp, o *Options) ([]byte, error) {
	if err := codec.CheckKey(bucket, key); err != nil {
		return nil, err
	}
	ctx, cancel := o.bound(ctx, defaultTimeout)
	defer cancel()
	return k.cluster.Query(ctx, codec.Service, wire.Call{
		Bucket: bucket, Key: key, Quorum: o.R, Primary: o.PR, Flags: o.flags(), Body: codec.AppendQuery(nil, q),
	})
}

// found is r as an Object: ErrNotFound if there is no value.
func found(r *codec.Result) (Object, error) {
	switch {
	case !r.Exists():
		return Object{}, ErrNotFound
	case r.State == codec.Live:
		return Object{Value: r.Value, Expires: codec.ExpiryTime(r.Expires), Context: r.Context()}, nil
	}
	values := r.Object.Values()
	obj := Object{Value: values[0].Value, Expires: codec.ExpiryTime(values[0].Expires), Context: r.Context()}
	if len(values) > 1 {
		for _, v := range values {
			obj.Siblings = append(obj.Siblings, Sibling{Value: v.Value, Expires: codec.ExpiryTime(v.Expires)})
		}
	}
	return obj, nil
}

// command sends c to the key's vnode.
func (k *KV) command(ctx context.Context, bucket string, key []byte, c *codec.Command, o *Options) ([]byte, error) {
	flags := o.flags()
	if c.Op == codec.OpPut || c.Op == codec.OpDelete {
		flags |= wire.CallBlind
	}
	body := codec.AppendCommand(make([]byte, 0, c.Size()), c)
	return k.cluster.Command(ctx, codec.Service, wire.Call{
		Bucket: bucket, Key: key, Quorum: o.W, Primary: o.PW, Flags: flags, Body: body,
	})
}

// Put stores value under key: in the place of whatever is there or, in a bucket that
// keeps siblings, of what o.Context has seen.
func (k *KV) Put(ctx context.Context, bucket string, key, value []byte, o Options) error {
	if err := errors.Join(codec.CheckKey(bucket, key), codec.CheckValue(value)); err != nil {
		return err
	}
	ctx, cancel := o.bound(ctx, defaultTimeout)
	defer cancel()
	_, err := k.command(ctx, bucket, key, &codec.Command{Op: codec.OpPut, Context: o.Context, Expires: codec.Expiry(o.Expires), Value: value}, &o)
	return err
}

// Replace is Put for callers who know of one value only: in a bucket that keeps
// siblings it is in the place of all that a reader sees now.
func (k *KV) Replace(ctx context.Context, bucket string, key, value []byte, o Options) error {
	if !k.siblings(bucket) {
		return k.Put(ctx, bucket, key, value, o)
	}
	ctx, cancel := o.bound(ctx, defaultTimeout)
	defer cancel()
	reply, err := k.query(ctx, bucket, key, codec.QueryStat, &o)
	if err != nil {
		return err
	}
	now, err := codec.ParseResult(reply)
	if err != nil {
		return err
	}
	o.Context = now.Context()
	return k.Put(ctx, bucket, key, value, o)
}

// Delete removes what o.Context has seen or, without one, what a reader sees now, and
// returns what there was: ErrNotFound if nothing. Where the last write wins it
// removes everything. With several replicas, two Deletes at once may both return the same value.
func (k *KV) Delete(ctx context.Context, bucket string, key []byte, o Options) (Object, error) {
	if err := codec.CheckKey(bucket, key); err != nil {
		return Object{}, err
	}
	ctx, cancel := o.bound(ctx, defaultTimeout)
	defer cancel()
	if k.n() == 1 && o.Context.IsZero() {
		reply, err := k.command(ctx, bucket, key, &codec.Command{Op: codec.OpTake}, &o)
		if err == nil {
			r, err := codec.ParseResult(reply)
			if err != nil {
				return Object{}, err
			}
			return found(&r)
		}
		if !ownerAway(err) {
			return Object{}, err
		}
	}
	old, err := k.Get(ctx, bucket, key, o)
	if err != nil {
		return Object{}, err
	}
	seen := o.Context
	if seen.IsZero() {
		seen = old.Context
	}
	_, err = k.command(ctx, bucket, key, &codec.Command{Op: codec.OpDelete, Context: seen}, &o)
	return old, err
}

// remove deletes a key without asking what is there: siblings too, known or not, that
// were written before.
func (k *KV) remove(ctx context.Context, bucket string, key []byte, o *Options) error {
	ctx, cancel := o.bound(ctx, defaultTimeout)
	defer cancel()
	_, err := k.command(ctx, bucket, key, &codec.Command{Op: codec.OpDelete}, o)
	return err
}

// ownerAway reports that a reading command did not run because only the owner may
// run it. A fallback, if there is one, still reads and takes blind writes.
func ownerAway(err error) bool {
	e, ok := errors.AsType[*wire.Error](err)
	return ok && (e.Code == wire.Unavailable || e.Code == wire.NotReadable)
}

// Pong says who answered a Ping.
type Pong struct {
	Partition ring.Partition
	Node      ring.NodeID
	Name      string // the node's
}

// Ping asks the vnode of key in bucket to answer; that of a random key if key is empty.
func (k *KV) Ping(ctx context.Context, bucket string, key []byte, o Options) (Pong, error) {
	if len(key) == 0 {
		key = []byte(rand.Text())
	}
	if err := codec.CheckKey(bucket, key); err != nil {
		return Pong{}, err
	}
	ctx, cancel := o.bound(ctx, defaultTimeout)
	defer cancel()
	reply, err := k.cluster.Query(ctx, codec.Service, wire.Call{
		Bucket: bucket, Key: key, Quorum: max(o.R, 1), Primary: o.PR, Flags: o.flags(), Body: codec.AppendQuery(nil, codec.QueryPing),
	})
	if err != nil {
		return Pong{}, err
	}
	p, err := codec.ParsePong(reply)
	node := ring.NodeID(p.Node)
	return Pong{Partition: ring.Partition(p.Partition), Node: node, Name: k.cluster.NodeName(node)}, err
}
