package ringcore

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata"
	"github.com/ringcore/ringcore/metadata/ring"
)

// bucket tells the properties of a bucket, as this node knows them.
func (c *core) bucket(name string) wire.BucketProps { return c.meta.State().Bucket(name) }

// siblings tells whether a bucket keeps concurrent values.
func (c *core) siblings(bucket string) bool { return c.bucket(bucket).Siblings }

func (n *Node) siblings(bucket string) bool {
	c := n.core.Load()
	return c != nil && c.siblings(bucket)
}

// Buckets are those with properties of their own.
func (v view) Buckets(context.Context) ([]admin.BucketView, error) {
	c, err := v.core()
	if err != nil {
		return nil, err
	}
	buckets := c.meta.State().Buckets
	var list []admin.BucketView
	for _, name := range slices.Sorted(maps.Keys(buckets)) {
		list = append(list, admin.BucketView{Bucket: name, BucketProps: buckets[name]})
	}
	return list, nil
}

// Bucket tells the properties of a bucket.
func (v view) Bucket(_ context.Context, name string) (wire.BucketProps, error) {
	c, err := v.core()
	if err != nil {
		return wire.BucketProps{}, err
	}
	return c.bucket(name), nil
}

// SetBucket changes properties of a bucket, and returns when they hold at every
// member that is up, or two seconds later.
func (v view) SetBucket(ctx context.Context, name string, change wire.BucketChange) (wire.BucketProps, error) {
	c, err := v.core()
	if err != nil {
		return wire.BucketProps{}, err
	}
	if err := c.meta.Propose(ctx, metadata.Bucket(name, change)); err != nil {
		return wire.BucketProps{}, err
	}
	c.everywhere(ctx, c.epoch())
	return c.bucket(name), nil
}

// everywhere waits until the other members that are up know of epoch; not long, for
// one that has gone will ask for it when it returns.
func (c *core) everywhere(ctx context.Context, epoch uint64) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, id := range c.others() {
		for c.live.Up(id) && c.epochOf(ctx, id) < epoch && pause(ctx, 5*time.Millisecond) {
		}
	}
}

// epochOf asks a member how new its metadata is; 0 if it does not say.
func (c *core) epochOf(ctx context.Context, id ring.NodeID) uint64 {
	f, err := c.peers.Call(ctx, id, wire.Header{Op: wire.OpRing, Epoch: c.epoch()}, nil)
	if err != nil {
		return 0
	}
	return f.Epoch
}
