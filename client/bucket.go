package client

import (
	"bytes"
	"context"
	"sync"

	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// Keys hands every key of a bucket to emit; see Cover.
func (c *Client) Keys(ctx context.Context, bucket string, o CoverOptions, emit func(*Item) error) (Coverage, error) {
	return c.list(ctx, codec.CoverKeys, bucket, o, func(it *Item) error {
		it.Value = nil // of a key with siblings it says what has been seen of it
		return emit(it)
	})
}

// Values is Keys with the values: a key of several values comes once with each, the
// newest first.
func (c *Client) Values(ctx context.Context, bucket string, o CoverOptions, emit func(*Item) error) (Coverage, error) {
	return c.list(ctx, codec.CoverValues, bucket, o, func(it *Item) error {
		values, err := codec.ListedValues(it.Value)
		for i := 0; i < len(values) && err == nil; i++ {
			it.Value = values[i].Value
			err = emit(it)
		}
		return err
	})
}

func (c *Client) list(ctx context.Context, op codec.CoverOp, bucket string, o CoverOptions, emit func(*Item) error) (Coverage, error) {
	if err := codec.CheckBucket(bucket); err != nil {
		return Coverage{}, err
	}
	return c.Cover(ctx, codec.Service, codec.AppendCover(nil, &codec.Cover{Op: op, Bucket: bucket}), o, emit)
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

// Clear deletes every key that a bucket has when it is asked, each through the
// quorum. It goes on past what cannot be reached and says what that was. The
// Timeout of o is that of each delete; the whole takes as long as ctx allows, a
// minute if it has no deadline.
func (c *Client) Clear(ctx context.Context, bucket string, o WriteOptions) (Cleared, error) {
	var (
		mu      sync.Mutex // guards out while deletes run; held for a few instructions
		out     Cleared
		workers sync.WaitGroup
		slots   = make(chan struct{}, clearWorkers)
	)
	cover, err := c.Keys(ctx, bucket, CoverOptions{}, func(it *Item) error {
		key := bytes.Clone(it.Key)
		slots <- struct{}{} // every worker ends by its deadline
		workers.Go(func() {
			_, err := c.command(ctx, bucket, key, &codec.Command{Op: codec.OpDelete}, &o)
			mu.Lock()
			out.count(key, err)
			mu.Unlock()
			<-slots
		})
		return ctx.Err()
	})
	workers.Wait()
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
