package ringcore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
	"github.com/ringcore/ringcore/vnodes/kv"
)

// core is a node's life in one cluster: metadata, data plane and vnodes, wired.
// A node that joins another cluster closes its core and opens another.
type core struct {
	n         *Node
	clusterID string
	self      metadata.Member
	staged    bool // this node's join was only staged when it was last heard of
	caps      capabilities
	// generation is that of the metadata, which never changes while the core is open. Set
	// before anything listens.
	generation wire.Generation

	live      *dataplane.Liveness
	server    *dataplane.Server
	peers     *dataplane.Peers
	clocks    *dataplane.Clocks
	cork      *dataplane.Cork
	gossip    *dataplane.Gossip
	router    *dataplane.Router
	meta      *metadata.Store
	hasMeta   atomic.Bool // meta is set: for those that may come before
	vnodes    *vnodes.Manager
	hasVnodes atomic.Bool // the same of vnodes
	book      *addressBook

	fetching atomic.Bool // newer metadata is being fetched

	ctx    context.Context // ends when the core closes
	cancel context.CancelFunc
	taskMu sync.RWMutex // held to add a task, so that none begins after close has
	closed bool
	tasks  sync.WaitGroup
}

// openCore opens a cluster: with first, its first State here; with nil, from the
// files. n.mu is held.
func (n *Node) openCore(clusterID string, first *metadata.State) error {
	c := &core{n: n, clusterID: clusterID, self: n.self(), staged: n.id.Home != "", caps: capabilities{own: n.caps}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if err := c.open(first); err != nil {
		return errors.Join(err, c.close())
	}
	n.core.Store(c)
	n.notify()
	return nil
}

func (c *core) open(first *metadata.State) error {
	dir := c.n.dir.cluster(c.clusterID)
	who := dataplane.Identity{ClusterID: c.clusterID, NodeID: c.self.ID, Addr: c.self.Addr}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the cluster's folder: %w", err)
	}
	st, err := newestState(dir, first)
	if err != nil {
		return err
	}
	if st != nil {
		c.generation = st.Generation()
		who.Generation = c.generation
	}
	c.book = openBook(filepath.Join(dir, "peers.json"), c.n.log)
	c.live = dataplane.NewLiveness(c.self.ID)
	c.clocks = dataplane.NewClocks(c.n.cfg.Now)
	c.cork = dataplane.NewCork()
	c.peers = dataplane.NewPeers(dataplane.PeersConfig{
		Identity: who, Resolve: c.resolve, Liveness: c.live, Members: c.others, Epoch: c.epoch,
		SawEpoch: c.sawEpoch, Clocks: c.clocks, Cork: c.cork, Logger: c.n.log,
	})
	c.server = dataplane.NewServer(dataplane.ServerConfig{
		Identity: who, Requests: requests{c}, Streams: streams{c}, Strangers: strangers{c},
		Member: c.isMember, Epoch: c.epoch, OtherGeneration: c.otherGeneration, SawPeer: c.peers.Saw, Clocks: c.clocks, Cork: c.cork, Logger: c.n.log,
	})
	timing := metadata.LAN
	if c.n.cfg.OneMachine {
		timing = metadata.Fast
	}
	meta, err := metadata.Open(metadata.Config{
		Dir: dir, ClusterID: who.ClusterID, Self: c.self, Listener: c.server.RaftListener(),
		Dial: func(ctx context.Context, node ring.NodeID) (net.Conn, error) {
			return c.peers.Dial(ctx, node, wire.ConnRaft)
		},
		Caller: caller{c}, Up: c.live.Up, Timing: timing, VoterPatience: c.n.cfg.VoterPatience, Logger: c.n.log, Capabilities: c.caps.own,
		Failpoint: c.n.cfg.Failpoint,
	}, first)
	if err != nil {
		return fmt.Errorf("open the cluster's metadata: %w", err)
	}
	c.meta = meta
	c.hasMeta.Store(true)
	if err := c.openGossip(who); err != nil {
		return err
	}
	fresh := first != nil && c.n.id.ClusterID != c.clusterID // else only the metadata is new
	c.peers.AwaitTime(c.ctx)                                 // before anything is stamped
	if err := c.openVnodes(filepath.Join(dir, "vnodes"), fresh); err != nil {
		return err
	}
	c.router = dataplane.NewRouter(dataplane.RouterConfig{
		Self: c.self.ID, Rings: rings{c}, Local: c.vnodes, Peers: c.peers, Up: c.live.MaybeUp, Held: c.vnodes.Held, Buckets: c.bucket, Logger: c.n.log,
		Members: func() []ring.NodeID { return append(c.others(), c.self.ID) },
		Repairs: c.vnodes, Draining: c.isDraining, Cork: c.cork, Tracer: c.n.cfg.Tracer,
	})
	c.tasks.Go(c.keepInTouch)
	c.tasks.Go(c.watchState)
	c.tasks.Go(c.watchStorage)
	c.tasks.Go(c.watchTransfers)
	return nil
}

// newestState is the State that metadata will open with; nil if there is none.
func newestState(dir string, first *metadata.State) (*metadata.State, error) {
	st, err := metadata.Load(dir)
	if err != nil {
		return nil, fmt.Errorf("open the cluster's metadata: %w", err)
	}
	if st == nil || first != nil && first.Epoch > st.Epoch {
		st = first
	}
	return st, nil
}

// watchStorage stops the node when its commit log or its journal is lost: what it would say of
// its records from then on, it could not keep. The same when its metadata cannot follow the cluster's.
func (c *core) watchStorage() {
	select {
	case <-c.vnodes.StorageFailed():
		c.n.fail(fmt.Errorf("the commit log failed, so this node stops; see to its disk and start it again: %w", c.vnodes.StorageErr()))
	case <-c.vnodes.JournalFailed():
		c.n.fail(fmt.Errorf("the vnodes' journal failed, so this node stops; see to its disk and start it again: %w", c.vnodes.JournalErr()))
	case <-c.meta.Failed():
		c.n.fail(fmt.Errorf("this node cannot be a member of its cluster as it is: %w", c.meta.Err()))
	case <-c.ctx.Done():
	}
}

func (c *core) openVnodes(dir string, fresh bool) error {
	services := c.n.cfg.Services
	if !c.n.cfg.WithoutKV {
		services = append([]Service{kv.Service(0, c.self.ID, c.siblings)}, services...)
	}
	low, critical, err := c.n.cfg.marks()
	if err != nil {
		return err
	}
	m, err := vnodes.Open(vnodes.Config{
		ClusterID: c.clusterID, Node: c.self.ID, Dir: dir, Memory: c.n.cfg.Storage == "memory", Fresh: fresh,
		Services: services, Rings: rings{c}, Transfers: transfers{c}, Dialer: dialer{c}, Up: c.live.MaybeUp, UpChanged: c.live.Changed,
		Logger: c.n.log, AcceptLoss: c.n.cfg.AcceptLoss, HintBytes: c.n.cfg.HintBytes,
		Now: c.clocks.Now, DiskLow: low, DiskCritical: critical, Floors: floors{c}, Capability: c.capability, CompareEvery: c.n.cfg.CompareEvery, FloorAge: c.n.cfg.floorAge,
		Failpoint: c.n.cfg.Failpoint, Rates: c.rates, Cork: c.cork, Tracer: c.n.cfg.Tracer,
	})
	if err != nil {
		return fmt.Errorf("open the vnodes: %w", err)
	}
	c.vnodes = m
	c.hasVnodes.Store(true)
	return nil
}

func (c *core) openGossip(who dataplane.Identity) error {
	profile := dataplane.ProfileLAN
	if c.n.cfg.OneMachine {
		profile = dataplane.ProfileLocal
	}
	g, err := dataplane.OpenGossip(dataplane.GossipConfig{
		Identity: who, Bind: c.n.cfg.GossipAddr, Advertise: c.n.cfg.Advertise, Key: c.meta.State().GossipKey,
		Self: c.introduction(), Known: c.isCurrent, OnNode: c.heardOf, OnEpoch: c.sawEpoch, Profile: profile, Logger: c.n.log,
	})
	if err != nil {
		return fmt.Errorf("open gossip on %s: %w", c.n.cfg.GossipAddr, err)
	}
	c.gossip = g
	return nil
}

// close stops everything, the users of a part before the part.
func (c *core) close() error {
	c.taskMu.Lock()
	c.closed = true
	c.taskMu.Unlock()
	c.cancel()
	var errs []error
	if c.gossip != nil {
		if err := c.gossip.Leave(200 * time.Millisecond); err != nil { // the others will find out
			c.n.log.Debug("gossip not left", "err", err)
		}
	}
	if c.router != nil {
		c.router.LastCalls()
	}
	if c.vnodes != nil {
		c.vnodes.LastCommands()
	}
	if c.router != nil {
		c.router.Idle(time.Second) // so that nobody has to guess whether his write took place
	}
	if c.server != nil {
		errs = append(errs, c.server.Close())
	}
	if c.router != nil {
		c.router.Close()
	}
	if c.vnodes != nil {
		errs = append(errs, c.vnodes.Close())
	}
	if c.gossip != nil {
		errs = append(errs, c.gossip.Close())
	}
	c.tasks.Wait()
	if c.meta != nil {
		errs = append(errs, c.meta.Close())
	}
	if c.peers != nil {
		errs = append(errs, c.peers.Close())
	}
	return errors.Join(errs...)
}

func (c *core) epoch() uint64 {
	if !c.hasMeta.Load() {
		return 0
	}
	return uint64(c.meta.Ring().Epoch)
}

// spawn runs fn in a goroutine that close waits for; false if that has begun.
func (c *core) spawn(fn func()) bool {
	c.taskMu.RLock()
	defer c.taskMu.RUnlock()
	if c.closed {
		return false
	}
	c.tasks.Go(fn)
	return true
}

// isMember admits connections: of members, and of those that have just left and
// must hear of it.
func (c *core) isMember(id ring.NodeID) bool {
	m, ok := c.meta.State().Member(id)
	if ok && !m.Gone() {
		c.live.Worked(id) // who connects is up, whatever was seen of it before
	}
	return ok
}

// isCurrent tells whose gossip counts.
func (c *core) isCurrent(id ring.NodeID) bool {
	m, ok := c.meta.State().Member(id)
	return ok && !m.Gone()
}

// others are the members besides this node that have not left; nil while they are not
// known.
func (c *core) others() []ring.NodeID {
	if !c.hasMeta.Load() {
		return nil
	}
	ids := []ring.NodeID{}
	for _, m := range c.meta.State().Members {
		if m.ID != c.self.ID && !m.Gone() {
			ids = append(ids, m.ID)
		}
	}
	return ids
}
