package kv

import (
	"context"
	"errors"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// ErrUnmet is for who has no use for an Outcome: the condition of a write does not hold.
var ErrUnmet error = &wire.Error{Code: wire.Unmet, Message: "the key is not as the condition says: read it, and decide anew"}

// Outcome is what a conditional write came to.
type Outcome struct {
	Applied bool
	Old     *Object // what was there before; nil if nothing
}

// PutIf stores value under key, in the place of all that is there, if cond holds,
// and returns what was there. It is exact with one replica; with several, of two
// writes at the same time at different replicas both may be done.
func (k *KV) PutIf(ctx context.Context, bucket string, key, value []byte, cond codec.Cond, o Options) (Outcome, error) {
	if err := errors.Join(codec.CheckKey(bucket, key), codec.CheckValue(value)); err != nil {
		return Outcome{}, err
	}
	ctx, cancel := o.bound(ctx, defaultTimeout)
	defer cancel()
	c := codec.Command{Op: codec.OpPutIf, Cond: cond, Context: o.Context, Expires: codec.Expiry(o.Expires), Value: value}
	if k.n() > 1 {
		return k.putIf(ctx, bucket, key, c, &o)
	}
	reply, err := k.command(ctx, bucket, key, &c, &o)
	if err != nil {
		return Outcome{}, err
	}
	return outcome(reply)
}

// putIf is PutIf with several replicas.
func (k *KV) putIf(ctx context.Context, bucket string, key []byte, c codec.Command, o *Options) (Outcome, error) {
	seen, err := k.query(ctx, bucket, key, codec.QueryGet, o)
	if err != nil {
		return Outcome{}, err
	}
	old, done, err := codec.PutIf(c, seen, func(try *codec.Command) ([]byte, error) {
		return k.command(ctx, bucket, key, try, o)
	})
	if err != nil {
		return Outcome{}, err
	}
	return outcomeOf(done, &old), nil
}

// Expire sets the time at which the newest value under key goes away, and leaves no
// other; never if at is zero. Applied is false if there is no value, or none that
// would ever have expired to begin with. Exact as PutIf.
func (k *KV) Expire(ctx context.Context, bucket string, key []byte, at time.Time, o Options) (Outcome, error) {
	if err := codec.CheckKey(bucket, key); err != nil {
		return Outcome{}, err
	}
	ctx, cancel := o.bound(ctx, defaultTimeout)
	defer cancel()
	o.Expires = at
	if k.n() == 1 {
		reply, err := k.command(ctx, bucket, key, &codec.Command{Op: codec.OpExpire, Expires: codec.Expiry(o.Expires)}, &o)
		if err != nil {
			return Outcome{}, err
		}
		return outcome(reply)
	}
	old, err := k.Get(ctx, bucket, key, o)
	if errors.Is(err, ErrNotFound) {
		return Outcome{}, nil
	}
	out := Outcome{Old: &old}
	if err != nil || at.IsZero() && old.Expires.IsZero() {
		return out, err
	}
	out.Applied, o.Context = true, old.Context
	return out, k.Put(ctx, bucket, key, old.Value, o)
}

// outcome reads the reply of a reading command.
func outcome(reply []byte) (Outcome, error) {
	r, err := codec.ParseOutcome(reply)
	if err != nil {
		return Outcome{}, err
	}
	return outcomeOf(r.Applied, &r.Old), nil
}

func outcomeOf(applied bool, old *codec.Result) Outcome {
	out := Outcome{Applied: applied}
	if obj, err := found(old); err == nil {
		out.Old = &obj
	}
	return out
}
