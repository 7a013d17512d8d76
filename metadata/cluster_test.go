package metadata

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// patience bounds every wait of these tests; none of them sleeps.
const patience = 30 * time.Second

// cluster is several Stores in one process, joined by pipes.
type cluster struct {
	t   *testing.T
	dir string

	tune     func(*Config) // changes a node's configuration; may be nil
	patience time.Duration // of await
	sent     *counts       // of all nodes; nil: nobody counts

	mu    sync.Mutex // guards nodes
	nodes map[ring.NodeID]*node
}

// node is one Store and what stands in for the rest of a real node.
type node struct {
	c        *cluster
	id       ring.NodeID
	store    *Store
	listener *pipeListener
	stop     context.CancelFunc
	drives   sync.WaitGroup
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t, dir: t.TempDir(), patience: patience, nodes: make(map[ring.NodeID]*node)}
	t.Cleanup(c.stopAll)
	return c
}

// start opens the Store of a node and lets it drive its transfers.
func (c *cluster) start(name string, first *State) *node {
	c.t.Helper()
	n := &node{c: c, id: nodeID(name), listener: newPipeListener()}
	cfg := Config{
		Dir: filepath.Join(c.dir, name), Self: testMember(name), Listener: n.listener, Dial: c.dial,
		Caller: n, Up: c.up, Timing: Fast, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if c.tune != nil {
		c.tune(&cfg)
	}
	s, err := Open(cfg, first)
	if err != nil {
		c.t.Fatal(err)
	}
	n.store = s
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	c.mu.Lock()
	c.nodes[n.id] = n
	c.mu.Unlock()
	n.drives.Go(func() { n.drive(ctx) })
	return n
}

// birth starts the first node.
func (c *cluster) birth(name string, q int) *node {
	return c.start(name, Birth(testMember(name), q, 3))
}

// join has name admitted through another node's Serve and starts it.
func (c *cluster) join(name string, through *node) *node {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	reply, err := through.store.Admit(ctx, JoinRequest{Member: testMember(name)})
	if err != nil {
		c.t.Fatal(err)
	}
	st, err := Decode(reply.State)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.start(name, st)
}

// kill stops a node; the others see it go.
func (n *node) kill() {
	n.c.t.Helper()
	n.c.mu.Lock()
	delete(n.c.nodes, n.id)
	n.c.mu.Unlock()
	n.stop()
	if err := n.store.Close(); err != nil {
		n.c.t.Errorf("close %s: %v", n.id, err)
	}
	n.drives.Wait()
}

func (c *cluster) stopAll() {
	for _, n := range c.all() {
		n.kill()
	}
}

func (c *cluster) all() []*node {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*node
	for _, n := range c.nodes {
		all = append(all, n)
	}
	return all
}

func (c *cluster) find(id ring.NodeID) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[id]
}

func (c *cluster) up(id ring.NodeID) bool { return c.find(id) != nil }

func (c *cluster) dial(ctx context.Context, id ring.NodeID) (net.Conn, error) {
	n := c.find(id)
	if n == nil {
		return nil, errors.New("nobody there")
	}
	conn, err := n.listener.dial(ctx)
	if err != nil || c.sent == nil {
		return conn, err
	}
	return countedConn{conn, c.sent}, nil
}

// Call implements Caller: the other node's Serve, without a network.
func (n *node) Call(ctx context.Context, to ring.NodeID, op wire.Op, epoch uint64, body []byte) ([]byte, error) {
	other := n.c.find(to)
	if other == nil {
		return nil, errors.New("nobody there")
	}
	reply, err := other.store.Serve(ctx, op, n.id, epoch, body)
	if n.c.sent != nil {
		n.c.sent.messages.Add(2)
		n.c.sent.bytes.Add(int64(len(body) + len(reply)))
	}
	return reply, err
}

// drive does what vnodes would: commits this node's transfers, and exits when
// leaving with empty hands.
func (n *node) drive(ctx context.Context) {
	for ctx.Err() == nil {
		changed := n.store.Changed()
		st := n.store.State()
		var wg sync.WaitGroup
		for i := range st.Transfers {
			if t := st.Transfers[i]; t.Driver() == n.id {
				wg.Go(func() { _ = n.store.Propose(ctx, Commit(&t, n.id)) }) // refused if aborted: State tells
			}
		}
		if m, ok := st.Member(n.id); ok && m.Status == StatusLeaving && st.Holds(n.id) == 0 && len(st.Transfers) == 0 {
			_ = n.store.Propose(ctx, Exit(n.id)) // tried again on the next change
		}
		wg.Wait()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// await waits until the node's State satisfies ok.
func (n *node) await(what string, ok func(*State) bool) *State {
	n.c.t.Helper()
	deadline := time.NewTimer(n.c.patience)
	defer deadline.Stop()
	for {
		changed := n.store.Changed()
		st := n.store.State()
		if ok(st) {
			return st
		}
		select {
		case <-changed:
		case <-deadline.C:
			n.c.t.Fatalf("%s: no %s: %s", n.id, what, (&story{s: st}).describe())
		}
	}
}

// settled waits until the members valid of them are settled, with that many voters.
func (n *node) settled(valid, voters int) *State {
	n.c.t.Helper()
	return n.await("settled ring", func(s *State) bool {
		return s.Settled() && count(s, StatusValid) == valid && len(voterFlags(s)) == voters
	})
}

// status waits until a member has a status.
func (n *node) status(id ring.NodeID, want MemberStatus) {
	n.c.t.Helper()
	n.await("member "+string(want), func(s *State) bool {
		m, ok := s.Member(id)
		return ok && m.Status == want
	})
}

func count(s *State, status MemberStatus) int {
	n := 0
	for i := range s.Members {
		if s.Members[i].Status == status {
			n++
		}
	}
	return n
}

// leader waits until some node leads.
func (c *cluster) leader() *node {
	c.t.Helper()
	var found *node
	c.eventually("leader", func() bool {
		for _, n := range c.all() {
			if n.store.raft.leads() {
				found = n
				return true
			}
		}
		return false
	})
	return found
}

// eventually polls a condition that no channel announces.
func (c *cluster) eventually(what string, ok func() bool) {
	c.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			c.t.Fatalf("no %s", what)
		}
	}
}

// pipeListener is a net.Listener whose connections are pipes.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return nodeAddr("pipe") }
