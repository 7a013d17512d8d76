package client

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// Object is a value that was read.
type Object struct {
	Value   []byte
	Context Context
	Expires time.Time // zero for never
}

// Get reads a key of the key/value service: ErrNotFound if it has no value.
func (c *Client) Get(ctx context.Context, bucket string, key []byte, o ReadOptions) (Object, error) {
	if err := codec.CheckKey(bucket, key); err != nil {
		return Object{}, err
	}
	reply, err := c.query(ctx, bucket, key, codec.QueryGet, &o)
	if err != nil {
		return Object{}, err
	}
	return found(reply)
}

func (c *Client) query(ctx context.Context, bucket string, key []byte, q codec.QueryOp, o *ReadOptions) ([]byte, error) {
	return c.Query(ctx, codec.Service, Call{
		Bucket: bucket, Key: key, Body: codec.AppendQuery(nil, q),
		Quorum: o.R, Primary: o.PR, Sloppy: o.Sloppy, Timeout: o.Timeout,
	})
}

// found reads a Result.
func found(reply []byte) (Object, error) {
	r, err := codec.ParseResult(reply)
	switch {
	case err != nil:
		return Object{}, err
	case r.State != codec.Live:
		return Object{}, ErrNotFound
	}
	obj := Object{Value: r.Value, Context: Context{r.Stamp}}
	if r.Expires != 0 {
		obj.Expires = time.UnixMilli(int64(min(r.Expires, 1<<63-1)))
	}
	return obj, nil
}

func (c *Client) command(ctx context.Context, bucket string, key []byte, cmd *codec.Command, o *WriteOptions) ([]byte, error) {
	body := codec.AppendCommand(make([]byte, 0, 10+len(cmd.Value)), cmd)
	return c.Command(ctx, codec.Service, Call{
		Bucket: bucket, Key: key, Body: body, Blind: codec.Blind(body),
		Quorum: o.W, Primary: o.PW, Sloppy: o.Sloppy, Timeout: o.Timeout,
	})
}

// Put stores value under key, whatever is there.
func (c *Client) Put(ctx context.Context, bucket string, key, value []byte, o WriteOptions) error {
	if err := errors.Join(codec.CheckKey(bucket, key), codec.CheckValue(value)); err != nil {
		return err
	}
	_, err := c.command(ctx, bucket, key, &codec.Command{Op: codec.OpPut, Expires: o.expires(), Value: value}, &o)
	return err
}

// Delete removes a key and returns what it removed: ErrNotFound if there was
// nothing. With one replica that is exact; with several it is a read followed by a
// write, and two Deletes at once may both return the same value.
func (c *Client) Delete(ctx context.Context, bucket string, key []byte, o WriteOptions) (Object, error) {
	if err := codec.CheckKey(bucket, key); err != nil {
		return Object{}, err
	}
	ctx, cancel := context.WithDeadline(ctx, deadline(ctx, o.Timeout, c.cfg.Timeout))
	defer cancel()
	if c.view.Load().ring.N == 1 {
		reply, err := c.command(ctx, bucket, key, &codec.Command{Op: codec.OpTake}, &o)
		if err == nil {
			return found(reply)
		}
		if !blindOnly(err) {
			return Object{}, err
		}
	}
	old, err := c.Get(ctx, bucket, key, ReadOptions{Sloppy: o.Sloppy})
	if err != nil {
		return Object{}, err
	}
	_, err = c.command(ctx, bucket, key, &codec.Command{Op: codec.OpDelete}, &o)
	return old, err
}

// blindOnly reports that a reading command did not run because only a blind one
// may: the owner is away, or there are several replicas by now.
func blindOnly(err error) bool {
	e, ok := asError(err)
	return ok && (e.Code == wire.Unavailable || e.Code == wire.NotReadable || e.Code == wire.Refused)
}

// Pong says who answered a Ping.
type Pong struct {
	Partition ring.Partition
	Node      string // its name
}

// Ping asks the vnode of key in the bucket "default" to answer; that of a random
// key if key is empty.
func (c *Client) Ping(ctx context.Context, key []byte) (Pong, error) {
	if len(key) == 0 {
		key = []byte(rand.Text())
	}
	if err := codec.CheckKey(codec.DefaultBucket, key); err != nil {
		return Pong{}, err
	}
	reply, err := c.query(ctx, codec.DefaultBucket, key, codec.QueryPing, &ReadOptions{R: One})
	if err != nil {
		return Pong{}, err
	}
	p, err := codec.ParsePong(reply)
	return Pong{Partition: ring.Partition(p.Partition), Node: c.view.Load().name(ring.NodeID(p.Node))}, err
}
