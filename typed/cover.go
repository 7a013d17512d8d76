package typed

import (
	"context"

	"github.com/ringcore/ringcore"
)

// Cover declares a coverage query: it looks at every record of the service, once, and
// makes a T of those that it is about.
type Cover[A, T any] struct {
	Service string
	Name    string          // unique among the service's coverage queries, for ever
	Codec   Codec           // JSON if nil
	Quorum  ringcore.Quorum // replicas of each partition to read; enough to meet every write of a majority if 0
}

// Item is one piece of the answer.
type Item[T any] struct {
	Key       string
	Value     T
	Partition ringcore.Partition
}

// By says which function makes an item of a record; false leaves the record out. It must
// depend on nothing but its arguments, and several may run at a time. Deleted records
// never reach it. key and r are valid only during the call.
func (c Cover[A, T]) By(fn func(args A, key []byte, r ringcore.Record) (T, bool, error)) Method {
	return Method{kind: cover, name: c.Name, cover: func(tx *ringcore.Tx, body []byte, emit func(ringcore.Item) error) error {
		var args A
		if err := or(c.Codec).Unmarshal(body, &args); err != nil {
			return ringcore.Errorf(ringcore.CodeBadRequest, "decode a %T: %v", args, err)
		}
		var err error
		tx.Ascend(nil, func(key []byte, r ringcore.Record) bool {
			var it ringcore.Item
			if it, err = c.item(fn, args, key, r); err == nil {
				err = emit(it)
			}
			return err == nil
		})
		return err
	}}
}

// item is what a replica emits of a record: if there is nothing to tell, that, so that
// another replica's older version of it is not told either.
func (c Cover[A, T]) item(fn func(A, []byte, ringcore.Record) (T, bool, error), args A, key []byte, r ringcore.Record) (ringcore.Item, error) {
	it := ringcore.Item{Key: key, Stamp: r.Stamp, Deleted: true}
	if r.Deleted() {
		return it, nil
	}
	v, ok, err := fn(args, key, r)
	if err != nil || !ok {
		return it, err
	}
	it.Deleted = false
	it.Value, err = or(c.Codec).Marshal(v)
	return it, err
}

// Body is the query as bytes.
func (c Cover[A, T]) Body(args A) ([]byte, error) { return encode(c.Codec, c.Name, args) }

// Do asks all vnodes and hands each item to emit, one at a time, each partition's in key
// order. The result says whether that was all. It stops when emit fails and returns that error.
func (c Cover[A, T]) Do(ctx context.Context, on Caller, args A, emit func(Item[T]) error) (ringcore.CoverResult, error) {
	body, err := c.Body(args)
	if err != nil {
		return ringcore.CoverResult{}, err
	}
	return on.Cover(ctx, c.Service, body, ringcore.CoverOptions{R: c.Quorum}, func(it ringcore.CoverItem) error {
		v, err := reply[T](c.Codec, c.Name, it.Item.Value, nil)
		if err != nil {
			return err
		}
		return emit(Item[T]{Key: string(it.Item.Key), Value: v, Partition: it.Partition})
	})
}

// All is Do for answers that fit into memory. It is all or an error: ErrUnavailable if
// partitions are missing.
func (c Cover[A, T]) All(ctx context.Context, on Caller, args A) ([]Item[T], error) {
	var all []Item[T]
	result, err := c.Do(ctx, on, args, func(it Item[T]) error {
		all = append(all, it)
		return nil
	})
	if err == nil && !result.Complete {
		err = ringcore.Errorf(ringcore.CodeUnavailable, "%s could not read partitions %v", c.Name, result.Missing)
	}
	if err != nil {
		return nil, err
	}
	return all, nil
}
