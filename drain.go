package ringcore

import (
	"context"

	"github.com/ringcore/ringcore/admin"
)

// Drain tells the cluster that this node is about to stop, or, with on false, that it
// is not: others then lead and coordinate in its place, as far as they can, and it is
// not ready. Its data stays, and it serves as a replica. The next start ends it.
func (n *Node) Drain(ctx context.Context, on bool) error {
	c, err := n.serving()
	if err != nil {
		return err
	}
	return c.meta.Drain(ctx, on)
}

// isDraining reports whether a member is about to stop, this one if it has said so
// since it was started.
func (c *core) isDraining(id NodeID) bool {
	if id == c.self.ID {
		return c.meta.Draining()
	}
	return c.meta.State().Draining(id)
}

// drainCheck is not OK while the node is about to stop.
func (n *Node) drainCheck() admin.Check {
	check := admin.Check{Name: "draining", OK: true}
	if c := n.core.Load(); c != nil && c.meta.Draining() {
		check.OK, check.Detail = false, "this node is draining: others lead and coordinate in its place (ringcore node resume ends it)"
	}
	return check
}

// Drain drains this node, or ends that.
func (v view) Drain(ctx context.Context, on bool) error { return v.n.Drain(ctx, on) }
