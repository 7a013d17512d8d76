package ringcore

import (
	"context"
	"strings"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata"
)

// lacking asks the members which of their copies are not whole: those that take records
// from others, and those that are lost. One that is down, or does not answer in a second,
// has what the ring says.
func (c *core) lacking(ctx context.Context) func(metadata.Copy) bool {
	nodes := askOthers[nodeStatus](ctx, c, wire.OpStatus)
	nodes[c.self.ID] = nodeStatus{Condition: c.vnodes.Condition()}
	lacks := make(map[metadata.Copy]bool)
	for id, status := range nodes {
		for _, x := range status.Slots {
			if !x.Lacks() {
				continue
			}
			for _, p := range x.Partitions {
				lacks[metadata.Copy{Service: x.Service, Partition: p, Node: id}] = true
			}
		}
	}
	return func(x metadata.Copy) bool { return lacks[x] }
}

// refuseLoss refuses a change that is to be made at once if it loses data: nobody has
// read a plan that would have said so.
func (c *core) refuseLoss(ctx context.Context, change metadata.Change) error {
	if !change.Forces() {
		return nil
	}
	lost, _ := metadata.Losses(c.meta.State(), []metadata.Change{change}, metadata.Facts{Services: c.vnodes.Replicas(), Lacks: c.lacking(ctx)})
	if len(lost) == 0 {
		return nil
	}
	return wire.Errorf(wire.DataLoss, "%s: %s", change.Words(c.name), strings.Join(lost, "; "))
}
