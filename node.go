package ringcore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/metadata"
	"github.com/ringcore/ringcore/vnodes/kv"
)

// Node is one member of a cluster, running. Its methods may be called from any
// goroutine.
type Node struct {
	cfg Config
	log *slog.Logger
	dir *dataDir

	caps     []Capability // what this node can do
	listener net.Listener
	doors    doors
	hub      admin.Hub
	tail     *admin.LogTail

	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu       sync.Mutex // held to change what the node belongs to: birth, join, leave, close
	id       *identity  // under mu, but for its NodeID, which never changes
	closed   bool
	core     atomic.Pointer[core] // nil while the node belongs to no cluster
	joining  atomic.Bool          // commands are refused: the node is on its way to another cluster
	joinErr  atomic.Pointer[error]
	outdated atomic.Bool          // commands are refused: the cluster was recovered, and this node has not followed yet
	newer    chan newerGeneration // of one: what outdated was set for
	changed  chan struct{}        // closed and replaced under mu when core or joining changes
	started  chan struct{}        // closed when Open has ended, whatever came of it
	done     chan struct{}        // closed when the node has stopped
	doneOnce sync.Once
	closeErr error
	failure  atomic.Pointer[error] // why the node stops by itself
}

// Info is what others need to reach a node.
type Info struct {
	Name       string
	ID         NodeID
	Addr       string
	GossipAddr string
	HTTPAddr   string // empty if there is none
	RESPAddr   string // empty if there is none
}

// Open starts a node in cfg.Dir: it resumes the cluster that it belongs to, or
// makes one of its own, or, with cfg.Join, begins to join another in the
// background; see Ready. Close stops it.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	caps, err := cfg.capabilities()
	if err != nil {
		return nil, err
	}
	dir, err := openDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	tail := new(admin.LogTail)
	cfg.Logger = slog.New(tail.Handler(cfg.Logger.Handler()))
	n := &Node{cfg: cfg, log: cfg.Logger.With("node", cfg.Name), tail: tail, dir: dir, caps: caps, changed: make(chan struct{}), newer: make(chan newerGeneration, 1), done: make(chan struct{}), started: make(chan struct{})}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	err = n.start(ctx)
	close(n.started)
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) start(ctx context.Context) error {
	if err := n.loadIdentity(); err != nil {
		return err
	}
	ln, err := listen(ctx, n.cfg.Addr)
	if err != nil {
		return err
	}
	n.listener = ln
	n.cfg.Addr = ln.Addr().String()
	if err := n.doors.listen(ctx, &n.cfg); err != nil {
		return err
	}
	if n.id.ClusterID != "" && n.id.Join == nil {
		if err := n.checkSeeds(ctx); err != nil {
			return err
		}
	}
	if err := n.belong(); err != nil {
		return err
	}
	n.tasks.Go(n.accept)
	n.tasks.Go(n.followGenerations)
	n.doors.serve(n)
	return nil
}

// loadIdentity reads who this node is, and counts the start.
func (n *Node) loadIdentity() error {
	id, err := n.dir.load()
	if err != nil {
		return err
	}
	if id.Left && id.Forced {
		return errExpelled(id.Name, n.dir.path)
	}
	if id.Left {
		return fmt.Errorf("node %s (%s) has left its cluster, and its id is never admitted again: start with an empty data directory "+
			"to make a new node; this one, %s, can be deleted", id.Name, id.NodeID, n.dir.path)
	}
	if id.Outlived != "" {
		return outlivedError(n.dir.path, id.Outlived)
	}
	storage := n.cfg.Storage
	if storage == "" {
		storage = "disk"
	}
	if id.Storage != "" && id.Storage != storage {
		return fmt.Errorf("this node keeps its records on %s, not %s: start it with --storage %s, or on an empty directory", id.Storage, storage, id.Storage)
	}
	id.Name, id.Storage = n.cfg.Name, storage
	id.Incarnation++
	if id.ClusterID == "" && id.Join == nil && len(n.cfg.Join) > 0 {
		id.Join = &joinIntent{Seeds: n.cfg.Join}
	}
	n.id = id
	return n.dir.save(id)
}

// belong opens the node's cluster: the one it has, the one it was about to join,
// or a new one.
func (n *Node) belong() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.id.Join != nil {
		n.joining.Store(true)
		n.tasks.Go(n.resumeJoin)
		return nil
	}
	if n.id.ClusterID != "" {
		return n.openCore(n.id.ClusterID, nil)
	}
	self := n.self()
	first := metadata.Birth(self, n.cfg.Partitions, n.cfg.Replicas)
	if err := n.openCore(first.ClusterID, first); err != nil {
		return err
	}
	n.id.ClusterID = first.ClusterID
	n.log.Info("cluster born", "cluster", first.ClusterID, "partitions", n.cfg.Partitions, "replicas", n.cfg.Replicas)
	return n.dir.save(n.id)
}

// self is this node as a member. n.mu is held, or the node is starting.
func (n *Node) self() metadata.Member {
	m := metadata.Member{
		ID: n.id.NodeID, Name: n.cfg.Name, Addr: n.cfg.advertised(n.cfg.Addr), GossipAddr: n.cfg.advertised(n.cfg.GossipAddr),
		Zone: n.cfg.Zone, Weight: n.cfg.Weight, Incarnation: n.id.Incarnation, Version: n.cfg.version(), Caps: metadata.Claims(n.caps),
	}
	if n.cfg.HTTPAddr != off {
		m.HTTPAddr = n.cfg.advertised(n.cfg.HTTPAddr)
	}
	if n.cfg.RESPAddr != off {
		m.RESPAddr = n.cfg.advertised(n.cfg.RESPAddr)
	}
	return m
}

// Info tells how to reach the node.
func (n *Node) Info() Info {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := n.self()
	return Info{Name: m.Name, ID: m.ID, Addr: m.Addr, GossipAddr: m.GossipAddr, HTTPAddr: m.HTTPAddr, RESPAddr: m.RESPAddr}
}

// Ready waits until the node serves; if it joins a cluster, until the join has
// been committed. It fails when ctx ends, the join is refused, or the node stops.
func (n *Node) Ready(ctx context.Context) error {
	for {
		n.mu.Lock()
		changed := n.changed
		n.mu.Unlock()
		c := n.core.Load()
		if err := n.joinErr.Load(); err != nil && c == nil {
			return *err
		}
		var state <-chan struct{}
		if c != nil && !n.joining.Load() {
			state = c.meta.Changed()
			if self, ok := c.meta.State().Member(n.id.NodeID); ok && self.Status != metadata.StatusJoining && !c.shrunk() {
				return nil
			}
		}
		select {
		case <-changed:
		case <-state:
		case <-n.done:
			return errors.New("the node has stopped")
		case <-ctx.Done():
			return fmt.Errorf("node %s is not ready: %w: %s", n.cfg.Name, ctx.Err(), n.waitingFor())
		}
	}
}

// waitingFor says, for people, why the node does not serve.
func (n *Node) waitingFor() string {
	switch {
	case n.core.Load() == nil && len(n.cfg.Join) > 0:
		return "it is trying to join by " + strings.Join(n.cfg.Join, ", ")
	case n.joining.Load():
		return "it is joining another cluster"
	}
	return "its membership, or that it can do less than before, is not committed yet"
}

// Done is closed when the node has stopped: by Close, or because it has left its cluster.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err says why a node has stopped by itself; nil after Close or a leave.
func (n *Node) Err() error {
	select {
	case <-n.done:
		if why := n.failure.Load(); why != nil {
			return *why
		}
		return n.closeErr
	default:
		return nil
	}
}

// fail stops the node because of err. It does not wait.
func (n *Node) fail(err error) {
	n.log.Error("node stops", "err", err)
	n.failure.CompareAndSwap(nil, &err)
	n.stop()
}

// stop closes the node as soon as it has started. It does not wait: it runs on goroutines
// that Close waits for, and maybe while Open goes on.
func (n *Node) stop() {
	go func() {
		<-n.started
		_ = n.Close() // Err tells; whoever owns the node waits for Done
	}()
}

// Close stops the node and waits for all that it runs. Its data stays.
func (n *Node) Close() error {
	n.doneOnce.Do(func() {
		n.mu.Lock()
		n.closed = true
		n.mu.Unlock()
		n.cancel()
		errs := []error{n.doors.close()}
		if n.listener != nil {
			errs = append(errs, ignoreClosed(n.listener.Close()))
		}
		n.hub.Close()
		n.tasks.Wait()
		if c := n.core.Load(); c != nil {
			errs = append(errs, c.close())
		}
		n.closeErr = errors.Join(append(errs, n.dir.close())...)
		close(n.done)
	})
	<-n.done
	return n.closeErr
}

// spawn runs fn in a goroutine that Close waits for; false if that has begun.
func (n *Node) spawn(fn func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.tasks.Go(fn)
	return true
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// accept hands each connection to the cluster that the node belongs to now.
func (n *Node) accept() {
	for n.ctx.Err() == nil {
		conn, err := n.listener.Accept()
		if err != nil {
			if n.ctx.Err() == nil {
				n.log.Warn("connection not accepted", "err", err)
				pause(n.ctx, 50*time.Millisecond) // out of files, perhaps
			}
			continue
		}
		if c := n.core.Load(); c != nil {
			c.server.ServeConn(conn)
			continue
		}
		if !n.spawn(func() { n.park(conn) }) {
			_ = conn.Close()
		}
	}
}

// park keeps a connection while the node moves from one cluster to another, so
// that those who call do not take it for down.
func (n *Node) park(conn net.Conn) {
	ctx, cancel := context.WithTimeout(n.ctx, 5*time.Second)
	defer cancel()
	for {
		n.mu.Lock()
		changed := n.changed
		n.mu.Unlock()
		if c := n.core.Load(); c != nil {
			c.server.ServeConn(conn)
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			_ = conn.Close() // there is nobody to speak for
			return
		}
	}
}

// notify wakes who waits for the node to belong somewhere else. n.mu is held.
func (n *Node) notify() {
	close(n.changed)
	n.changed = make(chan struct{})
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// listen is net.Listen with an error that says what to do.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("address %s: another node or program listens there; stop it or choose another port (%w)", addr, syscall.EADDRINUSE)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("address %s: ports below 1024 need privileges (%w)", addr, os.ErrPermission)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return ln, nil
}

// KV is the key/value service as this node offers it; nil without it.
func (n *Node) KV() *kv.KV {
	if n.cfg.WithoutKV {
		return nil
	}
	return kv.New(kvCluster{n}, n.replicas, n.siblings)
}

// replicas is how many replicas the cluster keeps.
func (n *Node) replicas() int {
	if c := n.core.Load(); c != nil {
		return c.meta.Ring().N
	}
	return n.cfg.Replicas
}
