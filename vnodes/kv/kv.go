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

// Object is a value that was read.
type Object struct {
	Value   []byte
	Stamp   wire.Stamp // of the write that stored it
	Expires time.Time  // zero for never
}

// KV does what its callers ask with the key/value service of a cluster. It may be
// used from any goroutine.
type KV struct {
	cluster Cluster
	n       func() int // replicas of the service
}

// New returns a KV over c. n tells how many replicas the service has.
func New(c Cluster, n func() int) *KV { return &KV{cluster: c, n: n} }

// Get reads a key: ErrNotFound if it has no value.
func (k *KV) Get(ctx context.Context, bucket string, key []byte, o Options) (Object, error) {
	return k.read(ctx, bucket, key, codec.QueryGet, o)
}

// Stat is Get without the value.
func (k *KV) Stat(ctx context.Context, bucket string, key []byte, o Options) (Object, error) {
	return k.read(ctx, bucket, key, codec.QueryStat, o)
}

func (k *KV) read(ctx context.Context, bucket string, key []byte, q codec.QueryOp, o Options) (Object, error) {
	if err := codec.CheckKey(bucket, key); err != nil {
		return Object{}, err
	}
	ctx, cancel := o.bound(ctx, defaultTimeout)
	defer cancel()
	reply, err := k.cluster.Query(ctx, codec.Service, wire.Call{
		Bucket: bucket, Key: key, Quorum: o.R, Primary: o.PR, Flags: o.flags(), Body: codec.AppendQuery(nil, q),
	})
	if err != nil {
		return Object{}, err
	}
	r, err := codec.ParseResult(reply)
	if err != nil {
		return Object{}, err
	}
	return found(&r)
}

// found is r as an Object: ErrNotFound if there is no value.
func found(r *codec.Result) (Object, error) {
	if r.State != codec.Live {
		return Object{}, ErrNotFound
	}
	obj := Object{Value: r.Value, Stamp: r.Stamp}
	if r.Expires != 0 {
		obj.Expires = time.UnixMilli(int64(min(r.Expires, 1<<63-1)))
	}
	return obj, nil
}

// command sends c to the key's vnode.
func (k *KV) command(ctx context.Context, bucket string, key []byte, c *codec.Command, o *Options) ([]byte, error) {
	flags := o.flags()
	if c.Op == codec.OpPut || c.Op == codec.OpDelete {
		flags |= wire.CallBlind
	}
	body := codec.AppendCommand(make([]byte, 0, 11+len(c.Value)), c)
	return k.cluster.Command(ctx, codec.Service, wire.Call{
		Bucket: bucket, Key: key, Quorum: o.W, Primary: o.PW, Flags: flags, Body: body,
	})
}

// Put stores value under key, whatever is there.
func (k *KV) Put(ctx context.Context, bucket string, key, value []byte, o Options) error {
	if err := errors.Join(codec.CheckKey(bucket, key), codec.CheckValue(value)); err != nil {
		return err
	}
	ctx, cancel := o.bound(ctx, defaultTimeout)
	defer cancel()
	_, err := k.command(ctx, bucket, key, &codec.Command{Op: codec.OpPut, Expires: o.expires(), Value: value}, &o)
	return err
}

// Delete removes a key and returns what it removed: ErrNotFound if there was
// nothing. With several replicas, two Deletes at once may both return the same value.
func (k *KV) Delete(ctx context.Context, bucket string, key []byte, o Options) (Object, error) {
	if err := codec.CheckKey(bucket, key); err != nil {
		return Object{}, err
	}
	ctx, cancel := o.bound(ctx, defaultTimeout)
	defer cancel()
	if k.n() == 1 {
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
	_, err = k.command(ctx, bucket, key, &codec.Command{Op: codec.OpDelete}, &o)
	return old, err
}

// remove deletes a key without asking what is there.
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
