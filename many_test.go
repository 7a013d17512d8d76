package ringcore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// cable connects a client to nodes, of which some are cut off from it.
type cable struct {
	mu    sync.Mutex
	cut   map[string]bool
	conns map[string][]net.Conn
}

func (c *cable) dial(ctx context.Context, addr string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut[addr] {
		return nil, errors.New("cut off")
	}
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err == nil {
		c.conns[addr] = append(c.conns[addr], nc)
	}
	return nc, err
}

// setCut cuts the client off from just these nodes.
func (c *cable) setCut(nodes ...*Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.cut)
	for _, n := range nodes {
		addr := n.Info().Addr
		c.cut[addr] = true
		for _, nc := range c.conns[addr] {
			_ = nc.Close()
		}
		delete(c.conns, addr)
	}
}

// many is a cluster with a client for the tests of batches and sessions.
type many struct {
	t      *testing.T
	client *client.Client
	cable  *cable
	slots  []*Node // that hold key, in order
	key    []byte
	part   ring.Partition
}

func newMany(t *testing.T) *many {
	nodes := threeNodes(t, Config{Storage: "memory", Partitions: 16})
	m := &many{t: t, key: []byte("k"), cable: &cable{cut: map[string]bool{}, conns: map[string][]net.Conn{}}}
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.Info().Addr)
	}
	var err error
	if m.client, err = client.Open(t.Context(), client.Config{Addrs: addrs, Dial: m.cable.dial}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.client.Close() })
	g := nodes[0].core.Load().meta.Ring()
	m.part = ring.Locate(ring.HashKey("default", m.key), g.Q())
	for _, x := range g.Assignments[m.part].Replicas {
		m.slots = append(m.slots, nodes[slices.IndexFunc(nodes, func(n *Node) bool { return n.core.Load().self.ID == x.Node })])
	}
	return m
}

// neighbour is another key of m's partition.
func (m *many) neighbour(bucket string) []byte {
	for i := 0; ; i++ {
		key := fmt.Append(nil, i)
		if ring.Locate(ring.HashKey(bucket, key), m.slots[0].core.Load().meta.Ring().Q()) == m.part {
			return key
		}
	}
}

// dispatch has the vnode of m's partition at n run r, and returns what it says in the end.
func (m *many) dispatch(n *Node, r *wire.Request) <-chan wire.Code {
	said := make(chan wire.Code, 1)
	c := n.core.Load()
	g := c.meta.Ring()
	r.Service, r.Partition, r.Gen, r.Epoch = wire.ServiceID(codec.Service), uint16(m.part), uint64(g.Gen(m.part)), uint64(g.Epoch)
	r.Done = func(code wire.Code, _ uint64, _ []byte) { said <- code }
	c.vnodes.Dispatch(r)
	return said
}

// newest gives one node a value that no other has, as a coordinator that dies leaves it.
func (m *many) newest(n *Node, value string) {
	m.t.Helper()
	w := vnodes.Write{Key: codec.RecordKey("default", m.key), Record: vnodes.Record{
		Stamp: vnodes.Stamp{Time: uint64(time.Now().Add(10*time.Millisecond).UnixMilli()) << 16, Node: 1, ID: 1},
		Value: codec.AppendEnvelope(nil, &codec.Envelope{Value: []byte(value)}),
	}}
	if code := <-m.dispatch(n, &wire.Request{Op: wire.OpEffect, Effect: vnodes.AppendWrites(nil, []vnodes.Write{w})}); code != wire.OK {
		m.t.Fatal(code)
	}
}

// wants reads with one replica, without and within the session.
func (m *many) wants(s *client.Session, plain, session string) {
	m.t.Helper()
	o := client.ReadOptions{R: client.One}
	if got, err := m.client.Get(m.t.Context(), "default", m.key, o); err != nil || string(got.Value) != plain {
		m.t.Errorf("one replica says %q, %v; want %q", got.Value, err, plain)
	}
	if got, err := s.Get(m.t.Context(), "default", m.key, o); err != nil || string(got.Value) != session {
		m.t.Errorf("the session reads %q, %v; want %q", got.Value, err, session)
	}
}

// Batches and sessions, with real nodes.
func TestManyKeysAndSessions(t *testing.T) {
	m := newMany(t)
	ctx, c := t.Context(), m.client
	t.Run("batch", m.testBatch)
	t.Run("siblings", m.testSiblings)

	s := c.Session()
	t.Run("a replica is behind", func(t *testing.T) {
		m.t = t
		if err := s.Put(ctx, "default", m.key, []byte("old"), client.WriteOptions{PW: client.All}); err != nil {
			t.Fatal(err)
		}
		m.wants(s, "old", "old")
		stuck, release := make(chan struct{}), make(chan struct{})
		done := make(chan wire.Code, 1)
		go func() {
			done <- <-m.dispatch(m.slots[2], &wire.Request{
				Op: wire.OpCommand, OnEffect: func(_, _ []byte) { close(stuck); <-release },
				Call: wire.Call{Bucket: "other", Key: m.neighbour("other"), Flags: wire.CallBlind, ID: 1, Body: codec.AppendCommand(nil, &codec.Command{Op: codec.OpPut})},
			})
		}()
		<-stuck
		err := s.Put(ctx, "default", m.key, []byte("new"), client.WriteOptions{W: client.One})
		if err != nil {
			t.Error(err)
		}
		m.cable.setCut(m.slots[0], m.slots[1])
		m.wants(s, "old", "new")
		m.wants(s, "old", "new")
		if results, err := s.GetMany(ctx, "default", [][]byte{m.key, m.key}, client.ReadOptions{R: client.One}); err != nil || string(results[1].Value) != "new" {
			t.Errorf("%+v, %v", results, err)
		}
		close(release)
		if code := <-done; code != wire.OK {
			t.Error(code)
		}
		eventually(t, "the replica has caught up", func() error {
			got, err := c.Get(ctx, "default", m.key, client.ReadOptions{R: client.One})
			if err == nil && string(got.Value) != "new" {
				err = fmt.Errorf("%q", got.Value)
			}
			return err
		})
	})
	t.Run("only one replica has what was seen", func(t *testing.T) {
		m.t = t
		m.newest(m.slots[0], "newest")
		m.cable.setCut(m.slots[1], m.slots[2])
		m.wants(s, "newest", "newest")
		m.cable.setCut(m.slots[0])
		m.wants(s, "new", "newest")
	})
	t.Run("a node stops in a batch", func(t *testing.T) {
		m.t = t
		m.cable.setCut()
		m.key = m.neighbour("default") // no read has had it repaired
		m.newest(m.slots[0], "last")
		m.cable.setCut(m.slots[1], m.slots[2])
		m.wants(s, "last", "last")
		m.cable.setCut()
		m.testNodeStops()
		_, err := s.Get(ctx, "default", m.key, client.ReadOptions{R: client.One, Timeout: 2 * time.Second})
		if !errors.Is(err, client.ErrQuorum) {
			t.Errorf("what was seen cannot be had: %v", err)
		}
	})
}

func (m *many) testBatch(t *testing.T) {
	const n = 2000
	var keys [][]byte
	var writes []client.Write
	for i := range n {
		keys = append(keys, fmt.Appendf(nil, "key %d", i))
		writes = append(writes, client.Write{Key: keys[i], Value: keys[i]})
	}
	if err := m.client.PutMany(t.Context(), "default", writes, client.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range writes {
		writes[i].Delete = i%3 == 0
	}
	if err := m.client.PutMany(t.Context(), "default", writes, client.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	results, err := m.client.GetMany(t.Context(), "default", keys, client.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if deleted := i%3 == 0; deleted != errors.Is(r.Err, client.ErrNotFound) || !deleted && string(r.Value) != string(keys[i]) {
			t.Fatalf("%s: %q, %v", keys[i], r.Value, r.Err)
		}
	}
}

// A session sees all its writes that stand beside each other, and each write of a batch has
// a context of its own.
func (m *many) testSiblings(t *testing.T) {
	keepSiblings(t, m.slots[0], "several", true)
	s := m.client.Session()
	keys := [][]byte{[]byte("a"), []byte("b")}
	write := func(n int, contexts ...client.Context) {
		t.Helper()
		var writes []client.Write
		for i, key := range keys {
			w := client.Write{Key: key, Value: fmt.Appendf(nil, "%s%d", key, n)}
			if len(contexts) > 0 {
				w.Context = contexts[i]
			}
			writes = append(writes, w)
		}
		if err := s.PutMany(t.Context(), "several", writes, client.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(want int) (contexts []client.Context) {
		t.Helper()
		results, err := s.GetMany(t.Context(), "several", keys, client.ReadOptions{R: client.One})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if n := max(len(r.Siblings), 1); n != want {
				t.Errorf("%d values, want %d", n, want)
			}
			contexts = append(contexts, r.Context)
		}
		return contexts
	}
	write(1)
	write(2)
	seen := read(2)
	write(3)
	write(4, seen...)
	write(5, read(2)...)
	read(1)
}

// testNodeStops stops the node in slot 0 while a batch is under way.
func (m *many) testNodeStops() {
	const n = 1000
	var writes []client.Write
	var keys [][]byte
	for i := range n {
		keys = append(keys, fmt.Appendf(nil, "late %d", i))
		writes = append(writes, client.Write{Key: keys[i], Value: keys[i]})
	}
	begun := make(chan struct{})
	var stopping sync.WaitGroup
	stopping.Go(func() {
		<-begun
		if err := m.slots[0].Close(); err != nil {
			m.t.Error(err)
		}
	})
	for i := range 3 {
		if i == 1 {
			close(begun)
		}
		if err := m.client.PutMany(m.t.Context(), "default", writes, client.WriteOptions{}); err != nil {
			m.t.Errorf("batch %d: %v", i, err)
		}
		results, err := m.client.GetMany(m.t.Context(), "default", keys, client.ReadOptions{})
		if err != nil {
			m.t.Errorf("batch %d: %v", i, err)
		}
		for i, r := range results {
			if string(r.Value) != string(keys[i]) {
				m.t.Errorf("%s: %q, %v", keys[i], r.Value, r.Err)
			}
		}
	}
	stopping.Wait()
}
