package ringcore

import (
	"context"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Admin is all that the HTTP API and the command line ask of a node, for programs that
// run their cluster themselves: members, ring, transfers and status; staged changes,
// plan and commit; properties of buckets; readiness, events and metrics.
func (n *Node) Admin() admin.Node { return view{n} }

// Bucket tells the properties of a bucket, as this node knows them.
func (n *Node) Bucket(ctx context.Context, name string) (BucketProps, error) {
	return view{n}.Bucket(ctx, name)
}

// SetBucket changes what change names of a bucket's properties, for the whole cluster, and
// returns all of them. They hold at every member that is up when it returns, or two
// seconds later.
func (n *Node) SetBucket(ctx context.Context, name string, change BucketChange) (BucketProps, error) {
	return view{n}.SetBucket(ctx, name, change)
}

// Locate tells the partition of a key: where a Call with that bucket and key goes. It is
// the same on every node, for ever; 0 while the node belongs to no cluster.
func (n *Node) Locate(bucket string, key []byte) Partition {
	c := n.core.Load()
	if c == nil {
		return 0
	}
	return ring.Locate(ring.HashKey(bucket, key), c.meta.Ring().Q())
}
