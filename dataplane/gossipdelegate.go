package dataplane

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/memberlist"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// delegate is what memberlist calls, on goroutines and under locks of its own:
// nothing here blocks or calls memberlist back. What the Gossip's owner must hear
// waits as one value for each node, the latest, so that nothing is lost and nothing piles up.
type delegate struct {
	cfg        *GossipConfig
	meta       atomic.Pointer[[]byte]
	alive      atomic.Int64 // nodes, this one included
	broadcasts memberlist.TransmitLimitedQueue
	more       chan struct{} // of one: there is something to tell
	tally      gossipTally

	mu    sync.Mutex // held for a few instructions
	nodes map[ring.NodeID]nodeNews
	epoch epochNews // the highest heard of or announced
	told  uint64    // the last one that OnEpoch was told
}

// nodeNews is the latest that is known of a node.
type nodeNews struct {
	intro wire.Introduction
	alive bool
}

// epochNews says that node has a ring of that epoch.
//
//	kind u8 = 1 | epoch u64 | rest: node id
type epochNews struct {
	node  ring.NodeID
	epoch uint64
}

const epochKind = 1

func newDelegate(cfg *GossipConfig) (*delegate, error) {
	d := &delegate{cfg: cfg, more: make(chan struct{}, 1), nodes: make(map[ring.NodeID]nodeNews)}
	d.broadcasts.RetransmitMult = 3
	d.broadcasts.NumNodes = func() int { return int(d.alive.Load()) }
	return d, d.setSelf(cfg.Self)
}

func (d *delegate) setSelf(self wire.Introduction) error {
	self.NodeID = string(d.cfg.Identity.NodeID)
	meta, err := gossipMeta(self)
	if err != nil {
		return err
	}
	d.meta.Store(&meta)
	return nil
}

// NodeMeta implements memberlist.Delegate.
func (d *delegate) NodeMeta(int) []byte { return *d.meta.Load() }

// GetBroadcasts implements memberlist.Delegate.
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.broadcasts.GetBroadcasts(overhead, limit)
}

// NotifyMsg implements memberlist.Delegate: an epoch has come.
func (d *delegate) NotifyMsg(b []byte) { d.heardEpoch(b) }

// LocalState implements memberlist.Delegate: the highest epoch goes with each
// full exchange, so that who was cut off learns it.
func (d *delegate) LocalState(bool) []byte {
	d.tally.exchanges.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.epoch.encode()
}

// MergeRemoteState implements memberlist.Delegate.
func (d *delegate) MergeRemoteState(b []byte, _ bool) { d.heardEpoch(b) }

// NotifyAlive implements memberlist.AliveDelegate: an error makes memberlist ignore
// what it has heard of the node.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	if node := ring.NodeID(n.Name); node != d.cfg.Identity.NodeID && !d.cfg.Known(node) {
		return fmt.Errorf("no member of cluster %s", d.cfg.Identity.ClusterID)
	}
	_, err := introduction(n)
	return err
}

// NotifyJoin implements memberlist.EventDelegate.
func (d *delegate) NotifyJoin(n *memberlist.Node) {
	d.alive.Add(1)
	d.heardNode(n, true)
}

// NotifyLeave implements memberlist.EventDelegate.
func (d *delegate) NotifyLeave(n *memberlist.Node) {
	d.alive.Add(-1)
	d.tally.gone.Add(1)
	d.heardNode(n, false)
}

// NotifyUpdate implements memberlist.EventDelegate.
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.heardNode(n, true) }

// introduction reads a node's meta data, which must be about itself.
func introduction(n *memberlist.Node) (wire.Introduction, error) {
	var in wire.Introduction
	if err := json.Unmarshal(n.Meta, &in); err != nil {
		return in, fmt.Errorf("read introduction: %w", err)
	}
	if in.NodeID != n.Name {
		return in, fmt.Errorf("introduction of node %q under the name %q", in.NodeID, n.Name)
	}
	in.GossipAddr = n.Address()
	return in, nil
}

func (d *delegate) heardNode(n *memberlist.Node, alive bool) {
	in, err := introduction(n)
	if err != nil || n.Name == string(d.cfg.Identity.NodeID) {
		return
	}
	d.mu.Lock()
	d.nodes[ring.NodeID(n.Name)] = nodeNews{in, alive}
	d.mu.Unlock()
	d.wake()
}

// heardEpoch passes on, and tells, a higher epoch that a member has.
func (d *delegate) heardEpoch(b []byte) {
	if e, ok := parseEpoch(b); ok && d.cfg.Known(e.node) {
		d.announce(e.node, e.epoch)
	}
}

// announce spreads that node has epoch, if that is news.
func (d *delegate) announce(node ring.NodeID, epoch uint64) {
	d.mu.Lock()
	if epoch <= d.epoch.epoch {
		d.mu.Unlock()
		return
	}
	d.epoch = epochNews{node, epoch}
	message := d.epoch.encode()
	d.mu.Unlock()
	d.broadcasts.QueueBroadcast(epochBroadcast(message))
	d.wake()
}

func (d *delegate) wake() {
	select {
	case d.more <- struct{}{}:
	default:
	}
}

// tell calls the owner's callbacks until ctx ends, on a goroutine of the Gossip.
func (d *delegate) tell(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.more:
		}
		d.mu.Lock()
		nodes, epoch := d.nodes, d.epoch
		d.nodes = make(map[ring.NodeID]nodeNews)
		news := epoch.epoch > d.told && epoch.node != d.cfg.Identity.NodeID
		d.told = epoch.epoch
		d.mu.Unlock()
		for _, n := range nodes {
			d.cfg.OnNode(n.intro, n.alive)
		}
		if news {
			d.cfg.OnEpoch(epoch.node, epoch.epoch)
		}
	}
}

func (e epochNews) encode() []byte {
	if e.epoch == 0 {
		return nil
	}
	b := binary.BigEndian.AppendUint64([]byte{epochKind}, e.epoch)
	return append(b, e.node...)
}

func parseEpoch(b []byte) (epochNews, bool) {
	if len(b) < 10 || b[0] != epochKind {
		return epochNews{}, false
	}
	return epochNews{ring.NodeID(b[9:]), binary.BigEndian.Uint64(b[1:])}, true
}

// epochBroadcast is an encoded epochNews on its way; the newest replaces the others.
type epochBroadcast []byte

// Name, Invalidates, Message and Finished implement memberlist.NamedBroadcast.
func (b epochBroadcast) Name() string { return "epoch" }

// Invalidates is not asked for a named broadcast: one of the same name gives way.
func (b epochBroadcast) Invalidates(memberlist.Broadcast) bool { return true }

// Message is what travels.
func (b epochBroadcast) Message() []byte { return b }

// Finished is of no interest.
func (b epochBroadcast) Finished() {}
