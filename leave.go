package ringcore

import (
	"context"
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/metadata"
)

// Leave asks a member, by name or id, to hand over what it owns and go. It returns
// when that is committed; the member's process stops when it has nothing left.
func (n *Node) Leave(ctx context.Context, node string) error {
	c, err := n.serving()
	if err != nil {
		return err
	}
	m, err := c.member(node)
	if err != nil {
		return err
	}
	return c.meta.Propose(ctx, metadata.Leave(m.ID))
}

// watchState follows the cluster's state: it tells subscribers what has changed,
// and takes this node out when it leaves.
func (c *core) watchState() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var seen *metadata.State
	staged := c.staged
	for {
		changed := c.meta.Changed()
		st := c.meta.State()
		if seen == nil || st.Epoch != seen.Epoch {
			c.gossip.AnnounceEpoch(uint64(st.Epoch))
			publish(&c.n.hub, seen, st)
			seen = st
		}
		me, ok := st.Member(c.self.ID)
		if ok && me.Status == metadata.StatusLeft {
			c.depart(&me)
			return
		}
		switch {
		case ok && me.Staged:
			staged = true
		case ok && staged: // not otherwise: whoever closes this core may hold the node's lock
			c.n.stay()
			staged = false
		}
		var again <-chan time.Time
		if ok && me.Status == metadata.StatusLeaving {
			c.tryExit(st)
			again = tick.C
		}
		select {
		case <-changed:
		case <-again:
		case <-c.ctx.Done():
			return
		}
	}
}

// tryExit says that this node has nothing left, if so.
func (c *core) tryExit(st *metadata.State) {
	if st.Holds(c.self.ID) > 0 {
		return
	}
	if c.vnodes.Retire(); !c.vnodes.Vacant() { // in this order: nothing comes in behind the look
		return
	}
	for _, t := range st.Transfers {
		if t.From == c.self.ID || t.To == c.self.ID {
			return
		}
	}
	ctx, cancel := context.WithTimeout(c.ctx, 5*time.Second)
	defer cancel()
	if err := c.meta.Propose(ctx, metadata.Exit(c.self.ID)); err != nil {
		c.n.log.Info("exit not accepted yet", "err", err)
	}
}

// left stops a node that its cluster has let go. It runs on a goroutine of the
// core, which Close waits for, so another one closes.
func (n *Node) left() {
	n.log.Info("this node has left the cluster")
	n.mu.Lock()
	n.id.Left = true
	err := n.dir.save(n.id)
	n.mu.Unlock()
	if err != nil {
		n.log.Error("the leave is not noted on disk", "err", err)
	}
	n.stop()
}

// publish tells subscribers what is new in st.
func publish(hub *admin.Hub, old, st *metadata.State) {
	if old == nil {
		return
	}
	hub.Publish(admin.Event{Type: admin.EventRing, Data: map[string]any{"epoch": st.Epoch}})
	for _, m := range st.Members {
		if before, known := old.Member(m.ID); !known || before.Status != m.Status {
			hub.Publish(admin.Event{Type: admin.EventMember, Data: map[string]any{"name": m.Name, "id": m.ID, "status": m.Status}})
		}
	}
	for _, t := range st.Transfers {
		if before, open := old.Transfer(t.Partition); !open || before.ID != t.ID {
			hub.Publish(admin.Event{Type: admin.EventTransfer, Data: map[string]any{"session": t.ID, "phase": "begun", "partition": t.Partition, "kind": t.Kind}})
		}
	}
	for _, t := range old.Transfers {
		if committed, ended := st.Outcome(t.ID); ended {
			phase := "aborted"
			if committed {
				phase = "committed"
			}
			hub.Publish(admin.Event{Type: admin.EventTransfer, Data: map[string]any{"session": t.ID, "phase": phase, "partition": t.Partition, "kind": t.Kind}})
		}
	}
}
