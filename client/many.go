package client

import (
	"context"
	"fmt"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// Result is what GetMany has found of one key: its Object, or why there is none.
type Result struct {
	Object
	Err error // ErrNotFound if the key has no value
}

// set makes o what a read has brought.
func (o *Result) set(r *codec.Result, err error) {
	if o.Err = err; err == nil {
		o.Object, o.Err = foundIn(r)
	}
}

// Write is one write of a PutMany.
type Write struct {
	Key     []byte
	Value   []byte
	Delete  bool    // instead of a put: without a Context, of all that was written before
	Context Context // as in WriteOptions, for this key
}

// BatchError says that some keys of a batch failed. Through it errors.Is and errors.As
// find what any of them failed with.
type BatchError struct {
	Errs   []error // one for each key, in their order; nil for those that went well
	Failed int     // how many are not nil
}

// Error names the first key that failed, by its place.
func (e *BatchError) Error() string {
	for i, err := range e.Errs {
		if err != nil {
			return fmt.Sprintf("%d of %d keys failed, the first of them is number %d: %v", e.Failed, len(e.Errs), i, err)
		}
	}
	return "no key failed"
}

// Unwrap is Errs, for errors.Is and errors.As.
func (e *BatchError) Unwrap() []error { return e.Errs }

// failures gathers what has failed of a batch of n keys.
type failures struct {
	n   int
	err *BatchError
}

func (f *failures) add(i int, err error) {
	if err == nil {
		return
	}
	if f.err == nil {
		f.err = &BatchError{Errs: make([]error, f.n)}
	}
	f.err.Errs[i] = err
	f.err.Failed++
}

// asError is nil if nothing has failed.
func (f *failures) asError() error {
	if f.err == nil {
		return nil
	}
	return f.err
}

// GetMany reads many keys, for much less than as many Gets cost. The results are in the
// order of keys. The error is nil if all were read, found or not, else a *BatchError; the
// results of those that were read are good all the same.
//
// Each key is read by itself, with the Timeout of o from when it is asked for: what a batch
// shows is not of one moment. The whole takes as long as ctx allows, a minute if that has no
// deadline. A few hundred keys are under way at a time, so there may be any number of them.
func (c *Client) GetMany(ctx context.Context, bucket string, keys [][]byte, o ReadOptions) ([]Result, error) {
	results, failed := make([]Result, len(keys)), failures{n: len(keys)}
	at := func(i int) ([]byte, *ReadOptions) { return keys[i], &o }
	c.readMany(ctx, bucket, len(keys), o.Timeout, at, func(i int, r *codec.Result, err error) {
		results[i].set(r, err)
		failed.add(i, err)
	})
	return results, failed.asError()
}

// PutMany makes many writes, for much less than as many Puts cost. The error is nil if all
// were made, else a *BatchError: its Errs are in the order of the writes.
//
// Each write is one by itself, and may be done when others fail: a batch is no transaction.
// Of two to the same key either may win. Timeout, and how long the whole takes, are as in
// GetMany. The Context is each write's own, and there are no conditions: o may have neither.
func (c *Client) PutMany(ctx context.Context, bucket string, writes []Write, o WriteOptions) error {
	failed := failures{n: len(writes)}
	c.writeMany(ctx, bucket, writes, &o, func(i int, _ uint64, err error) { failed.add(i, err) })
	return failed.asError()
}

// readMany reads n keys; at tells which and how. each is told once of every one.
func (c *Client) readMany(ctx context.Context, bucket string, n int, timeout time.Duration, at func(i int) ([]byte, *ReadOptions), each func(i int, r *codec.Result, err error)) {
	body := codec.AppendQuery(nil, codec.QueryGet)
	ask := func(it *item) error {
		key, o := at(it.i)
		it.request = readRequest(bucket, key, body, o)
		return codec.CheckKey(bucket, key)
	}
	c.batch(ctx, n, timeout, ask, func(it *item, reply []byte, err error) {
		if err != nil {
			each(it.i, nil, err)
			return
		}
		r, err := codec.ParseResult(reply)
		each(it.i, &r, err)
	})
}

var errBatchOptions = wire.Errorf(wire.BadRequest, "a batch has no conditions, and each of its writes a context of its own: set Write.Context, or use Put")

// writeMany makes writes. each is told once of every one, and the id that it had.
func (c *Client) writeMany(ctx context.Context, bucket string, list []Write, o *WriteOptions, each func(i int, id uint64, err error)) {
	expires := codec.Expiry(o.Expires)
	ask := func(it *item) error {
		w := &list[it.i]
		if o.cond() != 0 || !o.Context.IsZero() {
			return errBatchOptions
		}
		if err := checkPut(bucket, w.Key, w.Value); err != nil {
			return err
		}
		cmd := codec.Command{Op: codec.OpPut, Context: w.Context.seen, Expires: expires, Value: w.Value}
		if w.Delete {
			cmd = codec.Command{Op: codec.OpDelete, Context: w.Context.seen}
		}
		it.body = codec.AppendCommand(it.body[:0], &cmd)
		it.request = writeRequest(bucket, w.Key, it.body, o)
		return nil
	}
	c.batch(ctx, len(list), o.Timeout, ask, func(it *item, _ []byte, err error) { each(it.i, it.request.call.ID, err) })
}

// readRequest is a query of the key/value service; it has no deadline yet.
func readRequest(bucket string, key, body []byte, o *ReadOptions) request {
	return request{
		op: wire.OpQuery, service: wire.ServiceID(codec.Service), safe: true,
		call: wire.Call{Bucket: bucket, Key: key, Quorum: o.R, Primary: o.PR, Flags: sloppy(o.Sloppy), Body: body},
	}
}

// writeRequest is a command of the key/value service; it has no deadline yet.
func writeRequest(bucket string, key, body []byte, o *WriteOptions) request {
	r := request{
		op: wire.OpCommand, service: wire.ServiceID(codec.Service), safe: codec.Blind(body),
		call: wire.Call{Bucket: bucket, Key: key, Quorum: o.W, Primary: o.PW, Flags: sloppy(o.Sloppy), Body: body},
	}
	if r.safe {
		r.call.Flags |= wire.CallBlind
		r.call.ID = writeID()
	}
	return r
}
