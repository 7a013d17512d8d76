package dataplane

import (
	"sync/atomic"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// load counts the operations that a node has under way, from whichever door, and
// refuses those beyond its bounds. It is larger than what waits for any one vnode or
// peer may be, so that one that hangs does not take the node's whole room.
type load struct {
	operations atomic.Int64
	bytes      atomic.Int64 // of their keys and bodies
}

// take counts an operation in, or refuses it.
func (l *load) take(c *wire.Call) *wire.Error {
	size := callSize(c)
	operations, bytes := l.operations.Add(1), l.bytes.Add(size)
	switch {
	case operations > maxOperations:
		l.give(c)
		return wire.Errorf(wire.Overload, "%d requests are under way at this node", maxOperations)
	case bytes > maxOperationBytes && bytes > size: // a lone one is no load, however large
		l.give(c)
		return wire.Errorf(wire.Overload, "requests of %d bytes are under way at this node", bytes-size)
	}
	return nil
}

// give counts it out.
func (l *load) give(c *wire.Call) {
	l.operations.Add(-1)
	l.bytes.Add(-callSize(c))
}

func callSize(c *wire.Call) int64 { return int64(len(c.Bucket) + len(c.Key) + len(c.Body)) }
