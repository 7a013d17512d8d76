package admin

import (
	"context"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Node is what the API needs of the node that it speaks for. All methods may be
// called from any goroutine. Errors that are *wire.Error keep their code on the
// way to the caller; any other is answered as an internal one.
type Node interface {
	Views
	Changes
	Plans
	Buckets
	Transferring
	Insights
	Signals
	Logs
	Backups
}

// Views read. They answer from what this node knows, without asking raft.
type Views interface {
	Ring(ctx context.Context) (RingView, error)
	Members(ctx context.Context) ([]MemberView, error) // ordered by name
	Transfers(ctx context.Context) (TransfersView, error)
	// Status is one look at the whole, not yet assessed.
	Status(ctx context.Context) (StatusView, error)
	// Preflist is the preference list of a key: n places, primaries in slot order, then
	// fallbacks. It is shorter than n if there are not so many nodes. n = 0 means
	// as many as the cluster has replicas.
	Preflist(ctx context.Context, bucket string, key []byte, n int) ([]PreflistEntry, error)
	// Capabilities are what members of different versions differ in, ordered by name.
	Capabilities(ctx context.Context) ([]CapabilityView, error)
	// Repairs is the history of repairs on the members that are up.
	Repairs(ctx context.Context) (RepairsView, error)
}

// Changes act on the cluster. They return when the change is committed, or with
// wire.Maybe or wire.Deadline if ctx ends while it may still happen.
type Changes interface {
	// Join makes this node a member of the cluster that the seed belongs to, at once or,
	// if the request says so, with that cluster's plan.
	Join(ctx context.Context, req JoinRequest) error
	// Drain makes this node one that is about to stop, or, with on false, ends that. It
	// returns when the cluster knows it and another voter leads, if there is one.
	Drain(ctx context.Context, on bool) error
	// Repair begins to compare every record of the partitions asked for on all their
	// replicas, and returns at once.
	Repair(ctx context.Context, req RepairRequest) (RepairStarted, error)
}

// Buckets tell the properties of buckets and change them.
type Buckets interface {
	// Buckets are those with properties of their own, ordered by name.
	Buckets(ctx context.Context) ([]BucketView, error)
	Bucket(ctx context.Context, name string) (wire.BucketProps, error)
	// SetBucket changes what change names, and returns all properties.
	SetBucket(ctx context.Context, name string, change wire.BucketChange) (wire.BucketProps, error)
}

// Signals tell how this node fares.
type Signals interface {
	Name() string
	// Ready reports whether this node serves, and what it looked at.
	Ready() (bool, []Check)
	// Events subscribes to what happens from now on. The channel is closed when ctx
	// ends, when the node closes, or when the subscriber has fallen behind; see Hub.
	Events(ctx context.Context) <-chan Event
	// Metrics is a snapshot of the node's counters and gauges.
	Metrics() []Metric
}
