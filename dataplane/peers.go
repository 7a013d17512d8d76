package dataplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// PeersConfig says who connects to whom. Identity and Resolve are required.
type PeersConfig struct {
	Identity Identity
	// Resolve tells where a node listens now; false if it is not known.
	Resolve  func(ring.NodeID) (addr string, ok bool)
	Liveness *Liveness // told what works and what fails; a new one if nil
	// Members lists the nodes that are to be tried again and again while they are not
	// up; those that Liveness has heard of if nil. Called on the tending goroutine.
	// It is nil, not empty, while they are not known.
	Members func() []ring.NodeID
	Clocks  *Clocks       // told what the members' clocks say, if not nil: then each of them is asked, twice a second
	Epoch   func() uint64 // of this node's ring, for headers that bring none
	// SawEpoch is told the epoch of every answer, on the connection's reader: it must be cheap.
	SawEpoch func(from ring.NodeID, epoch uint64)
	Cork     *Cork        // that of the node's Server; one of its own if nil
	Logger   *slog.Logger // slog.Default() if nil

	DialTimeout time.Duration // for connecting and the hello together; 1s if 0
	MaxInFlight int           // requests under way to one peer; 16384 if 0
	// Connect opens a connection; TCP if nil.
	Connect func(ctx context.Context, addr string) (net.Conn, error)
}

func (c PeersConfig) withDefaults() PeersConfig {
	if c.Liveness == nil {
		c.Liveness = NewLiveness(c.Identity.NodeID)
	}
	if c.Members == nil {
		c.Members = c.Liveness.Down
	}
	if c.Epoch == nil {
		c.Epoch = func() uint64 { return 0 }
	}
	if c.SawEpoch == nil {
		c.SawEpoch = func(ring.NodeID, uint64) {}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Cork == nil {
		c.Cork = NewCork()
	}
	if c.Connect == nil {
		c.Connect = dialTCP
	}
	c.DialTimeout = orDefault(c.DialTimeout, defaultDialTimeout)
	c.MaxInFlight = orDefault(c.MaxInFlight, defaultMaxPeerInFlight)
	return c
}

// Peers are the other nodes of the cluster as this node reaches them.
type Peers struct {
	cfg      PeersConfig
	log      *slog.Logger
	liveness *Liveness
	check    uint32
	born     time.Time // now counts from here
	ctx      context.Context
	cancel   context.CancelFunc
	conns    connSet   // streams and raft connections; links close themselves
	waiters  sync.Pool // of *waiter; spares each Call a channel and a closure

	mu     sync.RWMutex // held to find or add a peer, and to begin a goroutine
	peers  map[ring.NodeID]*peer
	closed bool

	goroutines sync.WaitGroup // the tending one, and one for each link or dial
}

// NewPeers returns Peers without connections, and begins to tend them.
func NewPeers(cfg PeersConfig) *Peers {
	cfg = cfg.withDefaults()
	p := &Peers{
		cfg: cfg, log: cfg.Logger, liveness: cfg.Liveness,
		check: wire.ClusterCheck(cfg.Identity.ClusterID), born: time.Now(),
		peers: make(map[ring.NodeID]*peer),
	}
	p.waiters.New = func() any { return newWaiter() }
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.start(p.tend)
	return p
}

// now is the Peers' clock, a monotonic one.
func (p *Peers) now() time.Duration { return time.Since(p.born) }

// Send queues a request for node. done is called exactly once, from any
// goroutine, perhaps before Send returns; it must not block. It gets the answer,
// whatever its code, or a *wire.Error of this node's own: Unavailable or Overload
// if the request surely did not run, Maybe if it may have, Deadline if the
// deadline passed first, which says nothing of whether it ran, TooLarge.
//
// The header's kind, id, cluster and timeout are filled in, its epoch if 0. A
// zero deadline means none. body must not be changed before done is called.
func (p *Peers) Send(node ring.NodeID, h wire.Header, body []byte, deadline time.Time, done func(wire.Frame, error)) {
	if err := p.send(node, &h, body, deadline, done); err != nil {
		done(wire.Frame{}, err)
	}
}

func (p *Peers) send(node ring.NodeID, h *wire.Header, body []byte, deadline time.Time, done func(wire.Frame, error)) *wire.Error {
	if len(body) > wire.MaxBody {
		return wire.Errorf(wire.TooLarge, "the request is %d bytes long, %d are allowed", len(body), wire.MaxBody)
	}
	c := call{done: done}
	now := time.Now()
	if !deadline.IsZero() {
		left := deadline.Sub(now)
		if left <= 0 {
			return wire.Errorf(wire.Deadline, "the deadline passed before the request to node %s was sent", node)
		}
		h.SetTimeout(left)
		c.deadline = max(deadline.Sub(p.born), 1)
	}
	h.Kind, h.Cluster, h.Sent = wire.KindRequest, p.check, wire.SentAt(now.Sub(p.born))
	if h.Epoch == 0 {
		h.Epoch = p.cfg.Epoch()
	}
	return p.peer(node).send(h, body, c)
}

// Saw notes that node has connected to this one. If it was not up it is dialled at once: a
// node that starts does so before it serves, and another may stop as soon as it does. Any
// goroutine may call it; it does not block.
func (p *Peers) Saw(node ring.NodeID) {
	if !p.liveness.Up(node) {
		p.peer(node).seen()
	}
}

// peer finds or adds the peer of that id.
func (p *Peers) peer(node ring.NodeID) *peer {
	p.mu.RLock()
	found := p.peers[node]
	p.mu.RUnlock()
	if found != nil {
		return found
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.peers[node] == nil {
		p.peers[node] = &peer{node: node, own: p}
	}
	return p.peers[node]
}

// Call sends a request and waits for its answer. An answer whose code is not OK
// comes back as *wire.Error, with the frame besides; else the errors are Send's,
// or ctx's if it ended first, when the request may still run.
func (p *Peers) Call(ctx context.Context, node ring.NodeID, h wire.Header, body []byte) (wire.Frame, error) {
	w := p.waiters.Get().(*waiter)
	deadline, _ := ctx.Deadline()
	p.Send(node, h, body, deadline, w.done)
	select {
	case a := <-w.answer:
		p.waiters.Put(w)
		if a.err == nil {
			a.err = answerError(&a.frame)
		}
		return a.frame, a.err
	case <-ctx.Done():
		return wire.Frame{}, context.Cause(ctx) // w is still to be told: not to be used again
	}
}

// answerError is the error that an answer stands for; nil if it is OK.
func answerError(f *wire.Frame) error {
	if f.Code == wire.OK {
		return nil
	}
	return &wire.Error{Code: f.Code, Message: string(f.Body), Epoch: f.Epoch}
}

// waiter is where a Call waits for its answer.
type waiter struct {
	answer chan answer // of one
	done   func(wire.Frame, error)
}

type answer struct {
	frame wire.Frame
	err   error
}

func newWaiter() *waiter {
	w := &waiter{answer: make(chan answer, 1)}
	w.done = func(f wire.Frame, err error) { w.answer <- answer{f, err} }
	return w
}

// Stream opens a connection of its own to node for a bulk conversation. ctx
// bounds the opening only. The caller closes the stream; Close does too.
func (p *Peers) Stream(ctx context.Context, node ring.NodeID) (*Stream, error) {
	c, err := p.Dial(ctx, node, wire.ConnStream)
	if err != nil {
		return nil, err
	}
	return newStream(c, node, p.cfg.Identity.ClusterID, wire.MaxBody), nil
}

// Dial opens a bare connection to node, after the hello, for the purpose conn:
// wire.ConnRaft. ctx bounds the opening only. The caller closes it; Close does too.
func (p *Peers) Dial(ctx context.Context, node ring.NodeID, conn byte) (net.Conn, error) {
	c, _, err := p.dial(ctx, node, conn, nil)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("reach node %s: %w", node, errors.Join(context.Cause(ctx), err))
	}
	if err != nil {
		p.broke(node, err)
		return nil, wire.Errorf(wire.Unavailable, "node %s cannot be reached: %v", node, err)
	}
	t, ok := p.conns.add(c)
	if !ok {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	return t, nil
}

// Close breaks all connections, also those that Stream and Dial gave out, and
// waits until done was called for all requests. Later ones are Unavailable.
func (p *Peers) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.conns.close()
	for _, x := range p.list() {
		x.stop()
	}
	p.goroutines.Wait()
	return nil
}

// start runs f on a goroutine that Close waits for; false if closed.
func (p *Peers) start(f func()) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return false
	}
	p.goroutines.Go(f)
	return true
}

func (p *Peers) list() []*peer {
	p.mu.RLock()
	defer p.mu.RUnlock()
	list := make([]*peer, 0, len(p.peers))
	for _, x := range p.peers {
		list = append(list, x)
	}
	return list
}

func (p *Peers) newLink(node ring.NodeID, c net.Conn, theirs *wire.Hello) *link {
	return &link{
		node: node, c: c, out: newOutbox(c, p.cfg.Cork, maxPeerQueued), saw: p.cfg.SawEpoch, max: p.cfg.MaxInFlight,
		pending: make(map[uint64]call), traces: slices.Contains(theirs.Caps, wire.CapTrace),
	}
}

// broke notes that the connection to node broke or could not be made.
func (p *Peers) broke(node ring.NodeID, err error) {
	if p.ctx.Err() != nil {
		return
	}
	if p.liveness.Up(node) {
		p.log.Info("peer lost", "peer", node, "err", err)
	}
	p.liveness.Failed(node)
}

func (p *Peers) pingHeader() wire.Header {
	return wire.Header{Kind: wire.KindRequest, Op: wire.OpPing, Cluster: p.check, Epoch: p.cfg.Epoch(), Sent: wire.SentAt(p.now())}
}
