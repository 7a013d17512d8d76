package ringcore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/ringcore/ringcore/dataplane"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata"
)

// Join makes the node a member of the cluster that the node at seed belongs to,
// and returns when that is committed; its share of the data arrives afterwards.
// The node must be alone in its cluster and hold no data, unless discard says that
// its data may be lost.
//
// From the moment that the other cluster is asked, the node serves nothing until
// it knows the answer, and goes on asking after a crash: it comes up as a member
// or as itself, never between.
func (n *Node) Join(ctx context.Context, seed string, discard bool) error {
	return n.joinBy(ctx, &joinIntent{Seeds: []string{seed}, Discard: discard})
}

// StageJoin is Join, but for getting no share of the data before the other cluster's
// plan is committed. When that is cleared instead, the node goes back to the cluster
// that it was before, with its data.
func (n *Node) StageJoin(ctx context.Context, seed string, discard bool) error {
	return n.joinBy(ctx, &joinIntent{Seeds: []string{seed}, Discard: discard, Staged: true})
}

func (n *Node) joinBy(ctx context.Context, intent *joinIntent) error {
	if err := n.mayJoin(ctx, intent.Seeds[0]); err != nil {
		return err
	}
	if err := n.intendJoin(intent); err != nil {
		return err
	}
	err := n.join(ctx)
	if err == nil || definitive(err, true) {
		return err
	}
	if !n.spawn(n.resumeJoin) {
		return wire.Errorf(wire.ShuttingDown, "the node is stopping; it resumes the join when it is started again")
	}
	return wire.Errorf(wire.Maybe, "the cluster has not answered (%v): this node serves nothing and goes on asking until it has; see its members", err)
}

// reached reports whether something listens where err comes from.
func reached(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return !ok || op.Op != "dial"
}

// mayJoin checks what can be checked before anything changes.
func (n *Node) mayJoin(ctx context.Context, seed string) error {
	if _, _, err := net.SplitHostPort(seed); err != nil {
		return wire.Errorf(wire.BadRequest, "seed %q: must be host:port, the --addr of a member of the cluster to join", seed)
	}
	c := n.core.Load()
	if c == nil || n.joining.Load() {
		return wire.Errorf(wire.Refused, "this node is already joining a cluster")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	i, err := introduceTo(ctx, seed, dataplane.Identity{NodeID: c.self.ID, Addr: c.self.Addr}, c.introduction())
	switch {
	case err != nil && !reached(err):
		return wire.Errorf(wire.Unavailable, "no node answers at %s (%v): give the --addr of a running member", seed, err)
	case err != nil:
		return wire.Errorf(wire.Unavailable, "what listens at %s is not the --addr of a node that runs (%v): give that of a member, not its HTTP, RESP or gossip address", seed, err)
	case i.NodeID == string(c.self.ID):
		return wire.Errorf(wire.Refused, "%s is this node itself: ask it to join by the address of another node", seed)
	case i.ClusterID == c.clusterID:
		return wire.Errorf(wire.Refused, "this node and %s are members of the same cluster already", i.Name)
	case len(c.others()) > 0:
		return wire.Errorf(wire.Refused, "this node is a member of a cluster with %d others: let it leave that one first, "+
			"then start it with an empty data directory", len(c.others()))
	}
	return nil
}

// intendJoin stops the service and notes durably what is about to happen. It
// refuses if the node holds data.
func (n *Node) intendJoin(intent *joinIntent) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.core.Load()
	if c == nil || n.closed || n.joining.Swap(true) {
		return wire.Errorf(wire.Refused, "this node is already joining a cluster")
	}
	c.vnodes.Freeze(true)
	held, err := c.vnodes.Records()
	switch {
	case len(c.others()) > 0:
		err = wire.Errorf(wire.Refused, "another node has just joined this one's cluster")
	case err != nil:
		err = wire.Errorf(wire.Refused, "this node cannot tell whether it holds data: %v", err)
	case held > 0 && !intent.Discard:
		err = wire.Errorf(wire.Refused, "this node holds %d records, which would be lost: join with an empty node, "+
			"or say that they may be discarded (--discard)", held)
	default:
		n.id.Join = intent
		if err = n.dir.save(n.id); err != nil {
			n.id.Join = nil
		}
	}
	if err != nil {
		c.vnodes.Freeze(false)
		n.joining.Store(false)
	}
	return err
}

// resumeJoin goes on with a join that was begun, or that --join asks for, until
// it succeeds or is refused.
func (n *Node) resumeJoin() {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := n.join(n.ctx)
		if err == nil || n.ctx.Err() != nil {
			return
		}
		if definitive(err, n.hasCluster()) {
			n.joinErr.Store(&err)
			n.log.Error("join refused", "err", err)
			n.mu.Lock()
			n.notify()
			n.mu.Unlock()
			return
		}
		n.log.Info("not joined yet", "err", err)
		if !pause(n.ctx, wait) {
			return
		}
	}
}

// definitive tells a refusal from a failure to get an answer. A seed that is
// joining another cluster itself is refusal enough for a node that has one of its
// own, else two that join each other would wait for ever; a node that has none
// has nothing better to do than to ask again.
func definitive(err error, hasCluster bool) bool {
	e, ok := errors.AsType[*wire.Error](err)
	return ok && (e.Code == wire.Refused || e.Code == wire.BadRequest || e.Code == wire.NotMember || e.Code == wire.Conflict && hasCluster)
}

// hasCluster reports whether the node has a cluster of its own to go back to.
func (n *Node) hasCluster() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.id.ClusterID != ""
}

// join asks the seeds to be admitted and moves over. A refusal ends the intent:
// the node is itself again. Without an answer the intent stays.
func (n *Node) join(ctx context.Context) error {
	n.mu.Lock()
	intent, self := n.id.Join, n.self()
	n.mu.Unlock()
	if intent == nil {
		return wire.Errorf(wire.Refused, "the join was given up")
	}
	seeds := slices.Concat(intent.Seeds, n.cfg.Join)
	slices.Sort(seeds)
	var errs []error
	for _, seed := range slices.Compact(seeds) {
		reply, err := askToJoin(ctx, seed, metadata.JoinRequest{Member: self, Staged: intent.Staged})
		if err == nil {
			return n.moveOver(reply, intent.Staged)
		}
		if definitive(err, n.hasCluster()) {
			return errors.Join(err, n.giveUpJoin())
		}
		errs = append(errs, fmt.Errorf("%s: %w", seed, err))
	}
	return errors.Join(errs...)
}

func askToJoin(ctx context.Context, seed string, req metadata.JoinRequest) (metadata.JoinReply, error) {
	var reply metadata.JoinReply
	body, err := json.Marshal(req)
	if err != nil {
		return reply, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	f, err := dataplane.CallStranger(ctx, seed, dataplane.Identity{NodeID: req.Member.ID, Addr: req.Member.Addr}, wire.OpJoin, body)
	if err != nil {
		return reply, err
	}
	return reply, json.Unmarshal(f.Body, &reply)
}

// moveOver makes the node a member of the cluster that has admitted it. The
// cluster's state is on disk before node.json says so, and that before the old
// cluster's folder goes; while the join is only staged, that stays.
func (n *Node) moveOver(reply metadata.JoinReply, staged bool) error {
	first, err := metadata.Decode(reply.State)
	if err != nil {
		return fmt.Errorf("the cluster's answer: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return wire.Errorf(wire.ShuttingDown, "the node is stopping")
	}
	next := *n.id
	next.ClusterID, next.Join = reply.ClusterID, nil
	if staged && n.id.ClusterID != reply.ClusterID {
		next.Home = n.id.ClusterID
	}
	if c := n.core.Load(); c == nil || c.clusterID != reply.ClusterID {
		n.core.Store(nil)
		if c != nil {
			if err := c.close(); err != nil {
				n.log.Warn("former cluster not closed cleanly", "err", err)
			}
		}
		if err := n.openCore(reply.ClusterID, first); err != nil {
			return err
		}
	}
	if err := n.dir.save(&next); err != nil {
		return err
	}
	old := n.id.ClusterID
	n.id = &next
	n.joining.Store(false)
	n.notify()
	n.log.Info("admitted to a cluster", "cluster", reply.ClusterID)
	if old == "" || old == reply.ClusterID || next.Home != "" {
		return nil
	}
	if err := os.RemoveAll(n.dir.cluster(old)); err != nil {
		n.log.Warn("former cluster's folder not removed", "err", err)
	}
	return nil
}

// giveUpJoin makes the node itself again after a refusal. One that has never had
// a cluster stays without and tells whoever waits for it why.
func (n *Node) giveUpJoin() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.id.Join = nil
	if err := n.dir.save(n.id); err != nil {
		return err
	}
	if n.id.ClusterID == "" {
		return nil
	}
	if n.core.Load() == nil {
		if err := n.openCore(n.id.ClusterID, nil); err != nil {
			return err
		}
	}
	n.core.Load().vnodes.Freeze(false)
	n.joining.Store(false)
	n.notify()
	return nil
}
