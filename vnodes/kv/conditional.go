package kv

import (
	"context"
	"errors"
	"time"

	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// Outcome is what a conditional write came to.
type Outcome struct {
	Applied bool
	Old     *Object // what was there before; nil if nothing
}

// PutIf stores value under key if cond holds, and returns what was there. It is
// exact with one replica; with several, a write between its read and its own write
// goes unnoticed.
func (k *KV) PutIf(ctx context.Context, bucket string, key, value []byte, cond codec.Cond, o Options) (Outcome, error) {
	if err := errors.Join(codec.CheckKey(bucket, key), codec.CheckValue(value)); err != nil {
		return Outcome{}, err
	}
	ctx, cancel := o.bound(ctx, defaultTimeout)
	defer cancel()
	if k.n() == 1 {
		return k.ask(ctx, bucket, key, &codec.Command{Op: codec.OpPutIf, Cond: cond, Expires: o.expires(), Value: value}, &o)
	}
	out, err := k.old(ctx, bucket, key, codec.QueryGet, o)
	if err != nil || !holds(cond, out.Old != nil) {
		return out, err
	}
	if cond&codec.KeepTTL != 0 && out.Old != nil {
		o.Expires = out.Old.Expires
	}
	out.Applied = true
	return out, k.Put(ctx, bucket, key, value, o)
}

// Expire sets the time at which the value under key goes away; never if at is
// zero. Applied is false if there is no value, or none that would ever have
// expired to begin with. Exact as PutIf.
func (k *KV) Expire(ctx context.Context, bucket string, key []byte, at time.Time, o Options) (Outcome, error) {
	if err := codec.CheckKey(bucket, key); err != nil {
		return Outcome{}, err
	}
	ctx, cancel := o.bound(ctx, defaultTimeout)
	defer cancel()
	o.Expires = at
	if k.n() == 1 {
		return k.ask(ctx, bucket, key, &codec.Command{Op: codec.OpExpire, Expires: o.expires()}, &o)
	}
	out, err := k.old(ctx, bucket, key, codec.QueryGet, o)
	if err != nil || out.Old == nil || at.IsZero() && out.Old.Expires.IsZero() {
		return out, err
	}
	out.Applied = true
	return out, k.Put(ctx, bucket, key, out.Old.Value, o)
}

// old reads what a conditional write would replace.
func (k *KV) old(ctx context.Context, bucket string, key []byte, q codec.QueryOp, o Options) (Outcome, error) {
	obj, err := k.read(ctx, bucket, key, q, o)
	switch {
	case err == nil:
		return Outcome{Old: &obj}, nil
	case errors.Is(err, ErrNotFound):
		return Outcome{}, nil
	}
	return Outcome{}, err
}

// ask runs a reading command that replies an Outcome.
func (k *KV) ask(ctx context.Context, bucket string, key []byte, c *codec.Command, o *Options) (Outcome, error) {
	reply, err := k.command(ctx, bucket, key, c, o)
	if err != nil {
		return Outcome{}, err
	}
	r, err := codec.ParseOutcome(reply)
	if err != nil {
		return Outcome{}, err
	}
	out := Outcome{Applied: r.Applied}
	if obj, err := found(&r.Old); err == nil {
		out.Old = &obj
	}
	return out, nil
}
