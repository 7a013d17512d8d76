package dataplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Profile is a choice of timing.
type Profile uint8

// The profiles. A node that dies is noticed after about 3 s with ProfileLocal,
// after 5 to 8 s with ProfileLAN.
const (
	ProfileLAN   Profile = iota // nodes on machines of their own
	ProfileLocal                // nodes on one machine
)

// Times of gossip.
const (
	rejoinEvery   = 15 * time.Second // how often seeds that are not alive are tried
	updateTimeout = 2 * time.Second
)

// GossipConfig says who gossips, and with whom. Identity, Bind and Key are required.
type GossipConfig struct {
	Identity  Identity
	Bind      string            // host:port to listen on, TCP and UDP; port 0 takes a free one
	Advertise string            // host or host:port that the others use; where it listens if ""
	Key       []byte            // the cluster's, of 32 bytes
	Self      wire.Introduction // what the others are told of this node
	Profile   Profile
	Logger    *slog.Logger // slog.Default() if nil

	// Known reports whether node is a member; others are ignored. It must neither block
	// nor call the Gossip. Everybody is known if nil.
	Known func(ring.NodeID) bool
	// Seeds lists where members gossip, "node id/host:port". Those that are not
	// alive are tried again every 15 s: gossip gives up on the dead, and after a mass
	// restart may not notice that a node is back. May be nil.
	Seeds func() []string
	// OnNode is told that a node came, changed or went; its Introduction has no
	// cluster and no epoch. OnEpoch is told of a higher epoch than any before, and
	// who has it. Both run on one goroutine of the Gossip, in order; changes that
	// follow one another quickly may be told as one.
	OnNode  func(n wire.Introduction, alive bool)
	OnEpoch func(from ring.NodeID, epoch uint64)
}

func (c GossipConfig) withDefaults() (GossipConfig, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Known == nil {
		c.Known = func(ring.NodeID) bool { return true }
	}
	if c.Seeds == nil {
		c.Seeds = func() []string { return nil }
	}
	if c.OnNode == nil {
		c.OnNode = func(wire.Introduction, bool) {}
	}
	if c.OnEpoch == nil {
		c.OnEpoch = func(ring.NodeID, uint64) {}
	}
	if len(c.Key) != 32 {
		return c, fmt.Errorf("gossip key of %d bytes, 32 are needed", len(c.Key))
	}
	if c.Identity.NodeID == "" || c.Identity.ClusterID == "" {
		return c, errors.New("gossip needs a node id and a cluster id")
	}
	return c, nil
}

// Gossip hears which members are probably alive and where they are, and spreads
// the epoch of the ring. It is a hint: it never decides who owns what.
type Gossip struct {
	cfg      GossipConfig
	log      *slog.Logger
	list     *memberlist.Memberlist
	delegate *delegate
	addr     string

	cancel     context.CancelFunc
	goroutines sync.WaitGroup // tell and rejoin

	mu     sync.Mutex // held while leaving or closing: memberlist forbids one after the other
	closed bool
}

// OpenGossip listens and speaks to nobody yet; see Join.
func OpenGossip(cfg GossipConfig) (*Gossip, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	d, err := newDelegate(&cfg)
	if err != nil {
		return nil, err
	}
	mc, err := memberlistConfig(&cfg, d)
	if err != nil {
		return nil, err
	}
	transport, err := listenGossip(mc, &d.tally)
	if err != nil {
		return nil, fmt.Errorf("open gossip on %s: %w", cfg.Bind, err)
	}
	mc.Transport = transport
	list, err := memberlist.Create(mc)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open gossip on %s: %w", cfg.Bind, err), transport.Shutdown())
	}
	host, _, _ := net.SplitHostPort(cfg.Bind) // it has just been listened on
	g := &Gossip{
		cfg: cfg, log: cfg.Logger, list: list, delegate: d,
		addr: net.JoinHostPort(host, strconv.Itoa(mc.BindPort)), // listenGossip notes the free port it took
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	g.goroutines.Go(func() { d.tell(ctx) })
	g.goroutines.Go(func() { g.rejoin(ctx) })
	return g, nil
}

// memberlistConfig is cfg in memberlist's terms.
func memberlistConfig(cfg *GossipConfig, d *delegate) (*memberlist.Config, error) {
	c := memberlist.DefaultLANConfig()
	c.TCPTimeout = 3 * time.Second // bounds Close
	if cfg.Profile == ProfileLocal {
		c = memberlist.DefaultLocalConfig()
		c.ProbeInterval = 500 * time.Millisecond
		c.SuspicionMaxTimeoutMult = 2 // of three nodes, one may be left that cannot be confirmed
	}
	host, port, err := resolveHostPort(cfg.Bind)
	if err != nil {
		return nil, fmt.Errorf("gossip address %q: %w", cfg.Bind, err)
	}
	c.BindAddr, c.BindPort, c.AdvertisePort = host, port, port
	if cfg.Advertise != "" {
		at := cfg.Advertise
		if _, _, err := net.SplitHostPort(at); err != nil {
			at = net.JoinHostPort(at, strconv.Itoa(port))
		}
		if c.AdvertiseAddr, c.AdvertisePort, err = resolveHostPort(at); err != nil {
			return nil, fmt.Errorf("advertised gossip address %q: %w", cfg.Advertise, err)
		}
	}
	c.Name = string(cfg.Identity.NodeID)
	c.Label = cfg.Identity.ClusterID
	c.SecretKey = cfg.Key
	c.GossipVerifyIncoming, c.GossipVerifyOutgoing = true, true
	c.RequireNodeNames = true // a packet that reaches another node, on a port used before, is dropped
	c.PushPullInterval = 15 * time.Second
	c.DeadNodeReclaimTime = 30 * time.Second
	c.MsgpackUseNewTimeFormat = true
	c.Logger = memberlistLogger(cfg.Logger, d.tally.told)
	// There is no merge delegate: it could only refuse a whole exchange, with all
	// the members in it, for one node that is unknown here, perhaps not for long.
	c.Delegate, c.Events, c.Alive, c.Ping = d, d, d, d
	return c, nil
}

// resolveHostPort makes of host:port what memberlist wants: an IP address.
func resolveHostPort(addr string) (host string, port int, err error) {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return "", 0, err
	}
	if a.IP == nil {
		return "0.0.0.0", a.Port, nil
	}
	return a.IP.String(), a.Port, nil
}

// Join exchanges what is known with the nodes at addrs, "node id/host:port" or
// host:port, and returns how many answered. It blocks. That nobody answers does
// not mean that there is nobody.
func (g *Gossip) Join(addrs []string) (int, error) {
	named := make([]string, len(addrs))
	for i, a := range addrs {
		if named[i] = a; !strings.Contains(a, "/") {
			named[i] = "seed/" + a // memberlist wants a name, and checks it only for packets
		}
	}
	n, err := g.list.Join(named)
	if err != nil {
		return n, fmt.Errorf("join gossip: %w", err)
	}
	return n, nil
}

// rejoin tries the seeds that are not alive, until ctx ends.
func (g *Gossip) rejoin(ctx context.Context) {
	ticker := time.NewTicker(rejoinEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		alive := make(map[string]bool)
		for _, n := range g.list.Members() {
			alive[n.Name] = true
		}
		for _, seed := range g.cfg.Seeds() {
			node, _, named := strings.Cut(seed, "/")
			if ctx.Err() != nil || named && alive[node] {
				continue
			}
			if _, err := g.Join([]string{seed}); err != nil {
				g.log.Debug("gossip seed does not answer", "peer", node, "err", err)
			}
		}
	}
}

// AnnounceEpoch tells the others that this node is at epoch. It does not block,
// and does nothing if a higher epoch has been heard of.
func (g *Gossip) AnnounceEpoch(epoch uint64) { g.delegate.announce(g.cfg.Identity.NodeID, epoch) }

// Update tells the others what is new of this node. It blocks until they are
// being told, 2 s at most.
func (g *Gossip) Update(self wire.Introduction) error {
	if err := g.delegate.setSelf(self); err != nil {
		return err
	}
	if err := g.list.UpdateNode(updateTimeout); err != nil {
		return fmt.Errorf("update gossip: %w", err)
	}
	return nil
}

// Addr is where it listens, with the port that it really took.
func (g *Gossip) Addr() string { return g.addr }

// Leave tells the others that this node goes, so that they need not find out;
// it waits for that at most for timeout. Close must follow.
func (g *Gossip) Leave(timeout time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	if err := g.list.Leave(timeout); err != nil {
		return fmt.Errorf("leave gossip: %w", err)
	}
	return nil
}

// Close stops listening and waits until no callback runs any more. It may be
// called again.
func (g *Gossip) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	g.cancel()
	err := g.list.Shutdown()
	g.goroutines.Wait()
	return err
}

// gossipMeta is what travels of an Introduction: neither the cluster nor the
// address of gossip, which memberlist knows, nor the epoch, which changes too often and
// has the generation in it.
func gossipMeta(n wire.Introduction) ([]byte, error) {
	n.ClusterID, n.GossipAddr, n.Epoch, n.Generation = "", "", 0, wire.Generation{}
	meta, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("encode introduction: %w", err)
	}
	if len(meta) >= memberlist.MetaMaxSize { // memberlist panics
		return nil, fmt.Errorf("this node's name and addresses take %d bytes in gossip, less than %d are allowed", len(meta), memberlist.MetaMaxSize)
	}
	return meta, nil
}
