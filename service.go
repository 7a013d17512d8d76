package ringcore

import (
	"context"

	"github.com/ringcore/ringcore/dataplane"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
)

// What a service's author needs, under one roof.
type (
	// Service is a kind of vnode, registered under a name.
	Service = vnodes.Service
	// Vnode answers the commands of one partition. See package vnodes for the
	// interfaces that it may have besides.
	Vnode = vnodes.Vnode
	// Tx is a vnode's access to its records during one call.
	Tx = vnodes.Tx
	// Record is one version of what a vnode holds under a key.
	Record = vnodes.Record
	// Item is one piece of a coverage answer.
	Item = vnodes.Item

	// Call is a command or query and the key that it is addressed to.
	Call = wire.Call
	// Error is a refusal or failure with a code that a caller can act on.
	Error = wire.Error

	// Partition is one of the ring's equal parts.
	Partition = ring.Partition
	// NodeID names a node for ever.
	NodeID = ring.NodeID

	// CoverItem is one item of a coverage answer and where it was found.
	CoverItem = dataplane.CoverItem
	// CoverOptions say how a coverage query runs.
	CoverOptions = dataplane.CoverOptions
	// CoverResult says whether a coverage query has seen everything.
	CoverResult = dataplane.CoverResult
)

// Command runs a command at the vnode of its key, wherever that is, and returns
// its reply when its writes are durable on a majority of the key's replicas (or
// as many as the call asks for). ctx bounds it; 5 s if ctx has no deadline. Errors
// are *wire.Error: Maybe and Deadline mean that it may have run.
func (n *Node) Command(ctx context.Context, service string, call Call) ([]byte, error) {
	c, err := n.serving()
	if err != nil {
		return nil, err
	}
	return c.router.Command(ctx, service, call)
}

// Query runs a query at the vnode of its key and returns its reply.
func (n *Node) Query(ctx context.Context, service string, call Call) ([]byte, error) {
	c, err := n.serving()
	if err != nil {
		return nil, err
	}
	return c.router.Query(ctx, service, call)
}

// Queries runs several queries of a service at once and waits for all replies; then it
// tells each in order, with Query's errors. It costs less than as many Query calls. The
// calls must not change before it returns.
func (n *Node) Queries(ctx context.Context, service string, calls []Call, each func(i int, reply []byte, err error)) {
	c, err := n.serving()
	if err != nil {
		for i := range calls {
			each(i, nil, err)
		}
		return
	}
	c.router.Queries(ctx, service, calls, each)
}

// Cover asks all vnodes of a service for their part of the answer to body. emit is
// called from one goroutine at a time; what it gets is valid only during the call.
func (n *Node) Cover(ctx context.Context, service string, body []byte, opts CoverOptions, emit func(CoverItem) error) (CoverResult, error) {
	c, err := n.serving()
	if err != nil {
		return CoverResult{}, err
	}
	return c.router.Cover(ctx, service, body, opts, emit)
}

// serving is the node's cluster, if it serves one now.
func (n *Node) serving() (*core, error) {
	c := n.core.Load()
	if c == nil {
		return nil, wire.Errorf(wire.Unavailable, "this node belongs to no cluster yet: %s", n.waitingFor())
	}
	if why := n.away(); why != "" {
		return nil, wire.Errorf(wire.Unavailable, "%s", why)
	}
	return c, nil
}
