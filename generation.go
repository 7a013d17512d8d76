package ringcore

import (
	"errors"
	"fmt"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata"
	"github.com/ringcore/ringcore/metadata/ring"
)

// outdated is told that a member is of another generation of the cluster. If it is a
// later one this node serves nothing from now on, until it has taken over the newer
// metadata. It does not block: readers of connections call it.
func (c *core) outdated(from ring.NodeID, generation uint64) {
	if generation <= c.generation.N || !c.hasMeta.Load() || !c.isCurrent(from) || c.n.outdated.Swap(true) {
		return
	}
	c.n.log.Warn("the cluster was recovered: this node serves nothing until it has followed", "peer", from, "generation", generation)
	c.n.newer <- newerGeneration{c, from} // of one, and empty: outdated was false
}

// otherGeneration is outdated for a hello, which tells two recoveries of one number apart.
func (c *core) otherGeneration(from ring.NodeID, g wire.Generation) {
	if g.N == c.generation.N && g != c.generation && c.hasMeta.Load() && c.isCurrent(from) {
		c.n.log.Error("the cluster was recovered twice, on two nodes: stop the nodes of one side, and recover on the other once more",
			"peer", from, "generation", g.String(), "own", c.generation.String())
	}
	c.outdated(from, g.N)
}

// newerGeneration says which core has met its successor, and where.
type newerGeneration struct {
	core *core
	from ring.NodeID
}

// followGenerations takes over the metadata of later generations, until the node closes.
func (n *Node) followGenerations() {
	for {
		select {
		case g := <-n.newer:
			n.followGeneration(g.core, g.from)
		case <-n.ctx.Done():
			return
		}
	}
}

// followGeneration asks the members of the later generation for its State until one
// answers, and moves over to it. A node that was removed, or whose own history is not
// part of it, stops for good.
func (n *Node) followGeneration(c *core, from ring.NodeID) {
	n.mu.Lock() // while the core opens
	open := n.core.Load() == c
	n.mu.Unlock()
	if !open {
		n.outdated.Store(false)
		return
	}
	c.vnodes.Freeze(true)
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := n.askGeneration(c, from)
		if err == nil || n.ctx.Err() != nil {
			return
		}
		n.log.Info("newer generation not followed yet", "peer", from, "err", err)
		if !pause(n.ctx, wait) {
			return
		}
	}
}

// askGeneration asks who is of a later generation, and those that the node knows besides.
func (n *Node) askGeneration(c *core, from ring.NodeID) error {
	addrs := append([]string(nil), n.cfg.Join...)
	for _, id := range append([]ring.NodeID{from}, c.others()...) {
		if addr, ok := c.resolve(id); ok {
			addrs = append([]string{addr}, addrs...)
		}
	}
	own := c.meta.State()
	var errs []error
	older := 0
	for _, addr := range addrs {
		i, err := c.introduce(addr)
		switch {
		case err == nil && i.ClusterID == c.clusterID && i.Generation.N <= c.generation.N:
			older++
			continue
		case err != nil || i.ClusterID != c.clusterID:
			errs = append(errs, fmt.Errorf("%s: %w", addr, errors.Join(err)))
			continue
		}
		reply, err := askToJoin(n.ctx, addr, metadata.JoinRequest{Member: c.self, Follow: true})
		if e, ok := errors.AsType[*wire.Error](err); ok && e.Code == wire.Refused {
			n.fail(fmt.Errorf("the cluster was recovered, and does not take this node back: %w", err))
			return nil
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", addr, err))
			continue
		}
		return n.moveGeneration(c, own, reply)
	}
	if older == len(addrs) { // all have answered, and none is of a later one
		n.log.Warn("no member is of a later generation after all: this node goes on")
		c.vnodes.Freeze(false)
		n.outdated.Store(false)
		return nil
	}
	return errors.Join(errs...)
}

// moveGeneration closes the core and opens the same cluster with its newer State, which
// is on disk before anything is served from it.
func (n *Node) moveGeneration(c *core, own *metadata.State, reply metadata.JoinReply) error {
	next, err := metadata.Decode(reply.State)
	if err != nil {
		return fmt.Errorf("the cluster's answer: %w", err)
	}
	if err := own.Follows(next); err != nil {
		return n.outlive(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.core.Load() != c {
		return nil
	}
	n.core.Store(nil)
	if err := c.close(); err != nil {
		n.log.Warn("former generation not closed cleanly", "err", err)
	}
	if err := n.openCore(c.clusterID, next); err != nil {
		n.fail(fmt.Errorf("open generation %v of the cluster: %w", next.Generation(), err))
		return nil
	}
	n.outdated.Store(false)
	n.notify()
	n.log.Info("following the recovered cluster", "generation", next.Generation().String(), "epoch", next.Epoch)
	return nil
}

// outlive stops a node whose records belong to a history that the cluster has gone on
// without, and notes it, so that it is not started again.
func (n *Node) outlive(why error) error {
	n.mu.Lock()
	n.id.Outlived = why.Error()
	err := n.dir.save(n.id)
	n.mu.Unlock()
	if err != nil {
		n.log.Error("not noted on disk", "err", err)
	}
	n.fail(outlivedError(n.dir.path, why.Error()))
	return nil
}

func outlivedError(dir, why string) error {
	return fmt.Errorf("the cluster was recovered without this node, and its records do not fit any more: %s. Start a new node on an empty "+
		"directory, and let it replace this one; %s can be deleted when nothing is missing", why, dir)
}

// away says why the node serves nothing although it runs; empty if it serves.
func (n *Node) away() string {
	switch {
	case n.joining.Load():
		return "this node is joining another cluster and serves nothing until it has"
	case n.outdated.Load():
		return "the cluster was recovered without this node, which serves nothing until it has followed"
	}
	return ""
}
