package dataplane

import (
	"context"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Local is this node's own vnodes. All methods may be called from any goroutine.
type Local interface {
	// Dispatch hands r to a vnode and calls r.Done once, by r.Deadline if the vnode can
	// keep it. It does not block for the work. Moved, Stale, Behind, NotReadable,
	// Unavailable, OwnerUp, Overload and DiskFull say that a command surely did not run.
	Dispatch(r *wire.Request)
	// Cover emits this node's part of c in key order, tombstones included. The item is
	// valid only during the call. An error of emit stops it and is returned.
	Cover(ctx context.Context, c *wire.CoverCall, emit func(*wire.Item) error) error
	// Service describes a registered service; false if there is none of that id.
	Service(id uint32) (wire.ServiceInfo, bool)
	// Resolve makes one reply of those that several replicas gave to q.
	Resolve(service uint32, p ring.Partition, q []byte, replies [][]byte) ([]byte, error)
	// Observe moves this node's clock past stamp, unless that is further ahead than the
	// clock may go.
	Observe(stamp wire.Stamp)
	// Suspect has the replicas of p compared soon: one of them has missed a write, and
	// nobody keeps it.
	Suspect(p ring.Partition)
}

// Rings knows the newest ring that this node has seen. Both methods may be
// called from any goroutine.
type Rings interface {
	Ring() *ring.Ring
	// Fetch returns when this node's ring is at epoch or newer; from is a node that has it.
	Fetch(ctx context.Context, epoch ring.Epoch, from ring.NodeID) error
}

// Sender sends requests to peers.
type Sender interface {
	// Send does not block and keeps body until done has been called. done is called
	// once, from any goroutine, possibly before Send returns, and at the latest at the
	// deadline: with the reply, whatever its code, or with an error. Only an error of
	// code Unavailable promises that the node did not get the request.
	Send(node ring.NodeID, h wire.Header, body []byte, deadline time.Time, done func(wire.Frame, error))
}

// FrameStream is one bulk conversation with a peer. It belongs to one goroutine,
// but for Close, which may come from any and makes the other calls fail.
type FrameStream interface {
	ReadFrame() (wire.Frame, error)
	WriteFrame(h *wire.Header, body []byte) error
	Flush() error
	Close() error
}
