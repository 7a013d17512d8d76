package kv

import (
	"context"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Cluster is what the key/value service needs of the node that it runs on. All
// methods may be called from any goroutine. Errors that are *wire.Error keep their
// code on the way to the caller.
type Cluster interface {
	// Command routes a command to the key's partition and returns the service's reply.
	// It returns an error of code Maybe if the command may have run.
	Command(ctx context.Context, service string, call wire.Call) ([]byte, error)
	// Query routes a query, which may be answered by several replicas and resolved.
	Query(ctx context.Context, service string, call wire.Call) ([]byte, error)
	// Queries runs several queries at once and waits for all, in ctx's time or the node's
	// own; then it tells each in order. The calls must not change before it returns.
	Queries(ctx context.Context, service string, calls []wire.Call, each func(i int, reply []byte, err error))
	// Cover runs a coverage query over all partitions, from r slots of each. It calls
	// emit from one goroutine at a time, with items of a partition in key order and
	// without deleted ones; the slices are valid only during the call. An error of
	// emit ends the query and is returned. complete is false if parts are missing.
	Cover(ctx context.Context, service string, body []byte, r wire.Quorum,
		emit func(p ring.Partition, node ring.NodeID, it *wire.Item) error) (complete bool, missing []ring.Partition, err error)
	// Ring is the newest ring that the node knows.
	Ring() *ring.Ring
	// NodeName is the name of a node for people; its id if it is not known.
	NodeName(ring.NodeID) string
}
