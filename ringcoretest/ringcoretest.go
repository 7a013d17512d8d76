// Package ringcoretest runs clusters of several nodes in the process of a test: real nodes
// with real sockets on free ports of 127.0.0.1, their data in the test's own folders.
//
//	func TestMine(t *testing.T) {
//		c := ringcoretest.Start(t, 3, ringcore.Config{Services: []ringcore.Service{mine}})
//		reply, err := c.Node(0).Command(t.Context(), "mine", ringcore.Call{Key: []byte("k")})
//		…
//		c.Stop(c.Node(2)) // a node is down
//		c.Join()          // another one comes
//		c.Settle()        // what has to move has moved
//	}
//
// A node that is stopped here has closed; to see one die of kill -9 a test must run nodes
// as processes of their own. Package vnodetest checks a vnode without any cluster.
//
// The nodes' goroutines end when the test does, and every helper fails the test itself.
package ringcoretest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ringcore/ringcore"
)

// patience is how long a helper waits for what it waits for.
const patience = time.Minute

// Cluster is some nodes in one process. Its methods may be called from any goroutine in
// which the test may fail.
type Cluster struct {
	t   testing.TB
	cfg ringcore.Config

	mu    sync.Mutex // of what follows; held for no longer than that
	nodes []*ringcore.Node
	dirs  map[string]string // by name, also of nodes that are down
	made  int               // nodes so far, for names
}

// Start opens n nodes as one cluster and returns when it is at rest. cfg is that of every
// node: its Name, Dir, Join and addresses are chosen here, and it logs nothing unless it
// has a Logger. Without Partitions there are 16.
func Start(t testing.TB, n int, cfg ringcore.Config) *Cluster {
	t.Helper()
	if cfg.Partitions == 0 {
		cfg.Partitions = 16
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Addr, cfg.GossipAddr, cfg.HTTPAddr, cfg.RESPAddr = "127.0.0.1:0", "", "off", "off"
	cfg.OneMachine = true
	c := &Cluster{t: t, cfg: cfg, dirs: make(map[string]string)}
	for range n {
		c.Join()
	}
	c.Settle()
	return c
}

// Nodes are those that run, the oldest first.
func (c *Cluster) Nodes() []*ringcore.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

// Node is the i-th of Nodes.
func (c *Cluster) Node(i int) *ringcore.Node { return c.Nodes()[i] }

// Join opens one node more and returns when it is a member; its share of the data
// arrives meanwhile, see Settle.
func (c *Cluster) Join() *ringcore.Node {
	c.t.Helper()
	dir := c.t.TempDir()
	c.mu.Lock()
	c.made++
	name := fmt.Sprint("n", c.made)
	c.dirs[name] = dir
	c.mu.Unlock()
	return c.open(name)
}

// Stop closes a node, which stays a member and keeps its data; see Restart.
func (c *Cluster) Stop(n *ringcore.Node) {
	c.t.Helper()
	c.forget(n)
	if err := n.Close(); err != nil {
		c.t.Fatalf("stop %s: %v", n.Info().Name, err)
	}
}

// Restart opens a node that was stopped again, with its data, on other ports.
func (c *Cluster) Restart(n *ringcore.Node) *ringcore.Node {
	c.t.Helper()
	return c.open(n.Info().Name)
}

// Leave has a node hand over what it holds and go for good, and returns when it has.
func (c *Cluster) Leave(n *ringcore.Node) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	name := n.Info().Name
	if err := n.Leave(ctx, name); err != nil {
		c.t.Fatalf("leave %s: %v", name, err)
	}
	select {
	case <-n.Done():
	case <-ctx.Done():
		c.t.Fatalf("%s has not left in %v", name, patience)
	}
	c.forget(n)
}

func (c *Cluster) forget(n *ringcore.Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes = slices.DeleteFunc(c.nodes, func(o *ringcore.Node) bool { return o == n })
}

// open opens the node of a name, as one of the cluster, and waits until it serves.
func (c *Cluster) open(name string) *ringcore.Node {
	c.t.Helper()
	cfg := c.cfg
	cfg.Name = name
	for _, n := range c.Nodes() {
		cfg.Join = append(cfg.Join, n.Info().Addr)
	}
	c.mu.Lock()
	cfg.Dir = c.dirs[name]
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	n, err := ringcore.Open(ctx, cfg)
	if err != nil {
		c.t.Fatalf("open %s: %v", name, err)
	}
	c.t.Cleanup(func() {
		if err := n.Close(); err != nil {
			c.t.Errorf("close %s: %v", name, err)
		}
	})
	if err := n.Ready(ctx); err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	c.mu.Lock()
	c.nodes = append(c.nodes, n)
	c.mu.Unlock()
	return n
}

// Settle waits until all nodes that run know of the same members and ring, reach each
// other, and nothing moves any more that could: what needs a node that is down waits.
func (c *Cluster) Settle() {
	c.t.Helper()
	nodes := c.Nodes()
	for _, n := range nodes {
		Eventually(c.t, n.Info().Name+" is at rest", func() error { return atRest(c.t.Context(), n, len(nodes)) })
	}
}

// atRest says what is still going on, as n sees it.
func atRest(ctx context.Context, n *ringcore.Node, running int) error {
	view := n.Admin()
	members, err := view.Members(ctx)
	if err != nil {
		return err
	}
	up := 0
	for _, m := range members {
		if m.Up {
			up++
		}
		if m.Status != "valid" {
			return fmt.Errorf("%s is %s", m.Name, m.Status)
		}
	}
	if up != running {
		return fmt.Errorf("%d of %d nodes are seen", up, running)
	}
	moving, err := view.Transfers(ctx)
	switch {
	case err != nil:
		return err
	case up < len(members):
		return nil // what needs those that are down cannot move
	case len(moving.Active)+moving.Waiting > 0:
		return fmt.Errorf("%d transfers are under way, %d wait", len(moving.Active), moving.Waiting)
	}
	return nil
}

// Eventually waits until ok returns nil, and fails the test after a minute with what ok
// said last.
func Eventually(t testing.TB, what string, ok func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not yet: %v", what, errors.Join(err, ctx.Err()))
		}
	}
}
