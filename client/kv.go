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

// Object is what was read of a key.
type Object struct {
	Value   []byte    // the newest, if there are several
	Expires time.Time // zero for never
	Context Context   // what has been seen by this read: for the write that follows

	// Siblings are all values, Value too, the newest first, if there are several that
	// were written without knowing of each other. To leave one, Put it with Context.
	Siblings []Sibling
}

// Sibling is one of several values of a key.
type Sibling struct {
	Value   []byte
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
	r := readRequest(bucket, key, codec.AppendQuery(nil, q), o)
	r.deadline = deadline(ctx, o.Timeout, c.cfg.Timeout)
	return c.do(ctx, &r)
}

// found reads a Result.
func found(reply []byte) (Object, error) {
	r, err := codec.ParseResult(reply)
	if err != nil {
		return Object{}, err
	}
	return foundIn(&r)
}

// foundIn is r as an Object.
func foundIn(r *codec.Result) (Object, error) {
	switch {
	case !r.Exists():
		return Object{}, ErrNotFound
	case r.State == codec.Live:
		return Object{Value: r.Value, Expires: codec.ExpiryTime(r.Expires), Context: Context{r.Context()}}, nil
	}
	values := r.Object.Values()
	obj := Object{Value: values[0].Value, Expires: codec.ExpiryTime(values[0].Expires), Context: Context{r.Context()}}
	if len(values) > 1 {
		for _, v := range values {
			obj.Siblings = append(obj.Siblings, Sibling{Value: v.Value, Expires: codec.ExpiryTime(v.Expires)})
		}
	}
	return obj, nil
}

func (c *Client) command(ctx context.Context, bucket string, key []byte, cmd *codec.Command, o *WriteOptions) ([]byte, error) {
	r := writeRequest(bucket, key, codec.AppendCommand(make([]byte, 0, cmd.Size()), cmd), o)
	r.deadline = deadline(ctx, o.Timeout, c.cfg.Timeout)
	return c.do(ctx, &r)
}

// Put stores value under key: in the place of whatever is there or, in a bucket that
// keeps siblings, of what o.Context has seen.
func (c *Client) Put(ctx context.Context, bucket string, key, value []byte, o WriteOptions) error {
	if err := checkPut(bucket, key, value); err != nil {
		return err
	}
	cmd := codec.Command{Op: codec.OpPut, Context: o.Context.seen, Expires: codec.Expiry(o.Expires), Value: value}
	if cond := o.cond(); cond != 0 {
		cmd.Op, cmd.Cond = codec.OpPutIf, cond
		return c.putIf(ctx, bucket, key, cmd, &o)
	}
	_, err := c.command(ctx, bucket, key, &cmd, &o)
	return err
}

func checkPut(bucket string, key, value []byte) error {
	return errors.Join(codec.CheckKey(bucket, key), codec.CheckValue(value))
}

// putIf runs a conditional put.
func (c *Client) putIf(ctx context.Context, bucket string, key []byte, cmd codec.Command, o *WriteOptions) error {
	ctx, cancel := context.WithDeadline(ctx, deadline(ctx, o.Timeout, c.cfg.Timeout))
	defer cancel()
	if c.view.Load().ring.N == 1 {
		reply, err := c.command(ctx, bucket, key, &cmd, o)
		if err != nil {
			return err
		}
		out, err := codec.ParseOutcome(reply)
		if err == nil && !out.Applied {
			return ErrConflict
		}
		return err
	}
	seen, err := c.query(ctx, bucket, key, codec.QueryStat, &ReadOptions{Sloppy: o.Sloppy})
	if err != nil {
		return err
	}
	_, done, err := codec.PutIf(cmd, seen, func(try *codec.Command) ([]byte, error) {
		return c.command(ctx, bucket, key, try, o)
	})
	if err == nil && !done {
		return ErrConflict
	}
	return err
}

// Delete removes what o.Context has seen or, without one, what is there, and returns
// what there was: ErrNotFound if nothing. With one replica that is exact; with several
// it is a read followed by a write, and two Deletes at once may both return the same value.
func (c *Client) Delete(ctx context.Context, bucket string, key []byte, o WriteOptions) (Object, error) {
	if err := codec.CheckKey(bucket, key); err != nil {
		return Object{}, err
	}
	ctx, cancel := context.WithDeadline(ctx, deadline(ctx, o.Timeout, c.cfg.Timeout))
	defer cancel()
	if c.view.Load().ring.N == 1 && o.Context.IsZero() {
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
	seen := o.Context
	if seen.IsZero() {
		seen = old.Context
	}
	_, err = c.command(ctx, bucket, key, &codec.Command{Op: codec.OpDelete, Context: seen.seen}, &o)
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
