package ringcore

import (
	"context"
	"fmt"
	"time"

	"github.com/ringcore/ringcore/dataplane"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// checkSeeds refuses to start a node with the data of one cluster among the
// members of another. Seeds that do not answer say nothing.
func (n *Node) checkSeeds(ctx context.Context) error {
	var wrong error
	for _, seed := range n.cfg.Join {
		ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		i, err := introduceTo(ctx, seed, dataplane.Identity{NodeID: n.id.NodeID}, wire.Introduction{NodeID: string(n.id.NodeID), Name: n.cfg.Name})
		cancel()
		switch {
		case err != nil || i.ClusterID == "":
		case i.ClusterID == n.id.ClusterID:
			return nil
		default:
			wrong = fmt.Errorf("the data directory %s belongs to cluster %s, and %s, the node at %s, to cluster %s: start without --join and "+
				"then ask this node to join (ringcore cluster join %s --commit), or start it with an empty data directory",
				n.dir.path, n.id.ClusterID, i.Name, seed, i.ClusterID, seed)
		}
	}
	return wrong
}
