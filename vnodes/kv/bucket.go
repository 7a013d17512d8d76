package kv

import (
	"bytes"
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// Entry is one item of a listing. Its slices are valid only during the call that
// hands it over.
type Entry struct {
	Partition ring.Partition
	Node      ring.NodeID // which answered for the partition
	Key       []byte
	Value     []byte // of Values
}

// Coverage says whether a listing is whole.
type Coverage struct {
	Complete bool
	Missing  []ring.Partition // those that could not be reached; never nil
}

// Keys hands every key of a bucket to emit, each partition's in order, one call at
// a time. It stops when emit fails and returns that error.
func (k *KV) Keys(ctx context.Context, bucket string, o Options, emit func(*Entry) error) (Coverage, error) {
	return k.list(ctx, &codec.Cover{Op: codec.CoverKeys, Bucket: bucket}, o, emit)
}

// Values is Keys with the values: a key of several values comes once with each, the
// newest first.
func (k *KV) Values(ctx context.Context, bucket string, o Options, emit func(*Entry) error) (Coverage, error) {
	return k.list(ctx, &codec.Cover{Op: codec.CoverValues, Bucket: bucket}, o, emit)
}

func (k *KV) list(ctx context.Context, c *codec.Cover, o Options, emit func(*Entry) error) (Coverage, error) {
	if err := codec.CheckBucket(c.Bucket); err != nil {
		return Coverage{}, err
	}
	ctx, cancel := o.bound(ctx, defaultCoverTimeout)
	defer cancel()
	complete, missing, err := k.cluster.Cover(ctx, codec.Service, codec.AppendCover(nil, c), o.R,
		func(p ring.Partition, node ring.NodeID, it *wire.Item) error {
			return entries(c.Op, &Entry{Partition: p, Node: node, Key: it.Key}, it, emit)
		})
	if missing == nil {
		missing = []ring.Partition{}
	}
	return Coverage{Complete: complete && err == nil, Missing: missing}, err
}

// entries hands what an item lists to emit, in e.
func entries(op codec.CoverOp, e *Entry, it *wire.Item, emit func(*Entry) error) error {
	switch {
	case it.Deleted:
		return nil
	case op == codec.CoverKeys:
		return emit(e)
	}
	values, err := codec.ListedValues(it.Value)
	for i := 0; i < len(values) && err == nil; i++ {
		e.Value = values[i].Value
		err = emit(e)
	}
	return err
}

const (
	clearWorkers   = 64  // deletes under way at once
	clearMaxFailed = 100 // failed keys that are named; the others are counted
)

// Cleared is what a Clear came to.
type Cleared struct {
	Coverage          // of the keys; Complete only if also every delete went through
	Deleted  int      // keys
	Failed   int      // keys that could not be deleted
	Keys     [][]byte // the first of those that failed
	Err      error    // why the first of them failed
}

// Clear deletes every key that a bucket has when it is asked, through the quorum
// like any delete. It goes on past what cannot be reached and says what that was.
func (k *KV) Clear(ctx context.Context, bucket string, o Options) (Cleared, error) {
	ctx, cancel := o.bound(ctx, defaultCoverTimeout)
	defer cancel()
	var (
		mu  sync.Mutex // guards out while deletes run; held for a few instructions
		out Cleared
		g   errgroup.Group
	)
	g.SetLimit(clearWorkers)
	one := Options{W: o.W, PW: o.PW, Sloppy: o.Sloppy, Strict: o.Strict, Timeout: defaultTimeout}
	cover, err := k.Keys(ctx, bucket, o, func(e *Entry) error {
		key := bytes.Clone(e.Key)
		g.Go(func() error {
			err := k.remove(ctx, bucket, key, &one)
			mu.Lock()
			defer mu.Unlock()
			out.count(key, err)
			return nil
		})
		return ctx.Err()
	})
	_ = g.Wait() // the deletes report to out
	out.Coverage = cover
	out.Complete = cover.Complete && out.Failed == 0
	return out, err
}

func (c *Cleared) count(key []byte, err error) {
	if err == nil {
		c.Deleted++
		return
	}
	c.Failed++
	if len(c.Keys) < clearMaxFailed {
		c.Keys = append(c.Keys, key)
	}
	if c.Err == nil {
		c.Err = err
	}
}
