package ringcore

import (
	"fmt"
	"os"

	"github.com/ringcore/ringcore/metadata"
)

// depart takes this node out of the cluster that it is no member of any more: it stops,
// or goes back to where it came from if all that it was is staged. It runs on a goroutine of
// the core, which is the last thing that it does.
func (c *core) depart(me *metadata.Member) {
	n := c.n
	n.mu.Lock()
	home := n.id.Home
	n.mu.Unlock()
	switch {
	case me.Home && home != "":
		n.spawn(func() { n.goHome(c) })
	case me.Forced:
		n.expelled(me.Name)
	default:
		n.left()
	}
}

// goHome makes the node a member of its own cluster again, whose folder has stayed as it was.
func (n *Node) goHome(c *core) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.core.Load() != c {
		return
	}
	n.core.Store(nil)
	if err := c.close(); err != nil {
		n.log.Warn("staged cluster not closed cleanly", "err", err)
	}
	next := *n.id
	next.ClusterID, next.Home, next.Join = n.id.Home, "", nil
	err := n.dir.save(&next)
	if err == nil {
		n.id = &next
		err = n.openCore(next.ClusterID, nil)
	}
	if err != nil {
		n.fail(fmt.Errorf("go back to the cluster that this node came from: %w", err))
		return
	}
	n.log.Info("the staged join was cleared, this node is back in its own cluster", "cluster", next.ClusterID)
	if err := os.RemoveAll(n.dir.cluster(c.clusterID)); err != nil {
		n.log.Warn("folder of the cluster not joined not removed", "err", err)
	}
}

// stay gives up what a node whose staged join is committed now could have gone back to.
func (n *Node) stay() {
	n.mu.Lock()
	defer n.mu.Unlock()
	home := n.id.Home
	if home == "" {
		return
	}
	next := *n.id
	next.Home = ""
	if err := n.dir.save(&next); err != nil {
		n.log.Warn("the committed join is not noted on disk", "err", err) // the next start does it
		return
	}
	n.id = &next
	if err := os.RemoveAll(n.dir.cluster(home)); err != nil {
		n.log.Warn("former cluster's folder not removed", "err", err)
	}
}

// expelled stops a node that an operator has forced out: what it has is out of date.
func (n *Node) expelled(name string) {
	n.mu.Lock()
	n.id.Left, n.id.Forced = true, true
	err := n.dir.save(n.id)
	n.mu.Unlock()
	if err != nil {
		n.log.Error("the removal is not noted on disk", "err", err)
	}
	n.fail(errExpelled(name, n.dir.path))
}

func errExpelled(name, dir string) error {
	return fmt.Errorf("node %s was removed from its cluster by force, because it was taken for lost: others have its places, "+
		"what it holds is out of date, and its id is never admitted again: start with an empty data directory to make a new node; "+
		"this one, %s, can be deleted", name, dir)
}
