package client

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	fakeQ       = 8
	fakeCluster = "00112233445566778899aabbccddeeff"
)

// cluster is some fake nodes over one map.
type cluster struct {
	t     *testing.T
	nodes []*node

	mu    sync.Mutex
	ring  *ring.Ring
	data  map[string]codec.Result
	clock uint64
	ids   map[uint64]int // how often the write id ran
	// refuse answers a request instead of the node, if its code is not OK.
	refuse func(n *node, f *wire.Frame) (wire.Code, string)
}

// node is a fake node: the wire's frames, and the key/value service on the cluster's map.
type node struct {
	c    *cluster
	id   ring.NodeID
	name string

	mu      sync.Mutex
	ln      net.Listener
	addr    string
	conns   map[net.Conn]bool
	seen    map[wire.Op]int
	stopped bool
	caps    []string                // that it says in its hello
	mute    bool                    // takes requests and answers none
	slow    time.Duration           // until it answers a command or query; others are answered meanwhile
	drop    bool                    // runs the next command and breaks the connection instead of answering
	behind  map[string]codec.Result // what its own copy has, if that is not what the cluster has
	wg      sync.WaitGroup
}

// newCluster starts n nodes with the given number of replicas.
func newCluster(t *testing.T, n, replicas int) *cluster {
	c := unstarted(t, n, replicas)
	for _, x := range c.nodes {
		x.start()
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.stop()
		}
	})
	return c
}

// unstarted is a cluster whose nodes listen nowhere.
func unstarted(t *testing.T, n, replicas int) *cluster {
	c := &cluster{t: t, data: map[string]codec.Result{}, ids: map[uint64]int{}}
	for i := range n {
		c.nodes = append(c.nodes, &node{c: c, id: ring.NodeID(fmt.Sprintf("%016x", i+1)), name: fmt.Sprintf("n%d", i+1)})
	}
	c.ring = ring.New(fakeQ, replicas, c.nodes[0].id)
	for p := range c.ring.Assignments {
		var list []ring.Replica
		for s := range min(replicas, n) {
			list = append(list, ring.Replica{Node: c.nodes[(p+s)%n].id})
		}
		c.ring.Assignments[p].Replicas = list
	}
	return c
}

func (c *cluster) client() *Client {
	c.t.Helper()
	cl, err := Open(c.t.Context(), Config{Addrs: []string{c.nodes[0].address()}})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = cl.Close() })
	return cl
}

// owner is the node in slot s of the partition of key in bucket b.
func (c *cluster) owner(key string, s int) *node {
	p := ring.Locate(ring.HashKey("b", []byte(key)), fakeQ)
	id := c.ring.Assignments[p].Replicas[s].Node
	return c.nodes[slices.IndexFunc(c.nodes, func(n *node) bool { return n.id == id })]
}

// change replaces the ring by a newer one.
func (c *cluster) change(f func(*ring.Ring)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.ring.WithEpoch(c.ring.Epoch + 1)
	r.Assignments = slices.Clone(r.Assignments)
	f(r)
	c.ring = r
}

func (c *cluster) setRefuse(f func(*node, *wire.Frame) (wire.Code, string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = f
}

func (c *cluster) state() []byte {
	type member struct {
		ID     ring.NodeID `json:"id"`
		Name   string      `json:"name"`
		Addr   string      `json:"addr"`
		Status string      `json:"status"`
	}
	members := []member{{"00000000000000ff", "gone", "127.0.0.1:1", "left"}}
	for _, n := range c.nodes {
		members = append(members, member{n.id, n.name, n.address(), "valid"})
	}
	b, err := json.Marshal(map[string]any{"cluster_id": fakeCluster, "epoch": c.ring.Epoch, "ring": c.ring, "members": members})
	if err != nil {
		c.t.Error(err)
	}
	return b
}

func (n *node) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		n.c.t.Fatal(err)
	}
	n.stopped = false
	n.ln, n.addr, n.conns, n.seen = ln, ln.Addr().String(), map[net.Conn]bool{}, map[wire.Op]int{}
	n.wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			n.mu.Lock()
			n.conns[nc] = true
			if n.stopped {
				_ = nc.Close()
			}
			n.mu.Unlock()
			n.wg.Go(func() { n.serve(nc) })
		}
	})
}

func (n *node) stop() {
	n.mu.Lock()
	n.stopped = true
	_ = n.ln.Close()
	for nc := range n.conns {
		_ = nc.Close()
	}
	n.mu.Unlock()
	n.wg.Wait()
}

func (n *node) address() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addr
}

func (n *node) set(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

func (n *node) count(op wire.Op) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seen[op]
}

func (n *node) serve(nc net.Conn) {
	defer func() {
		n.set(func() { delete(n.conns, nc) })
		_ = nc.Close()
	}()
	r := bufio.NewReader(nc)
	if !n.greet(nc, r) {
		return
	}
	for {
		f, err := wire.ReadFrame(r, wire.MaxBody)
		if err != nil {
			return
		}
		if !n.answer(nc, &f) {
			return
		}
	}
}

func (n *node) greet(nc net.Conn, r *bufio.Reader) bool {
	first, err := r.ReadByte()
	if err != nil || first != wire.ConnClient {
		return false
	}
	f, err := wire.ReadFrame(r, wire.MaxBody)
	var h wire.Hello
	if err != nil || f.Kind != wire.KindHello || json.Unmarshal(f.Body, &h) != nil || h.NodeID != "" {
		return false
	}
	out := wire.Header{Kind: wire.KindHello}
	n.mu.Lock()
	caps := n.caps
	n.mu.Unlock()
	body, _ := json.Marshal(wire.Hello{ClusterID: fakeCluster, NodeID: string(n.id), Versions: [2]int{1, 1}, Caps: caps})
	switch {
	case h.ClusterID != "" && h.ClusterID != fakeCluster:
		out.Code, body = wire.WrongCluster, []byte("another cluster")
	case h.Expect != "" && h.Expect != string(n.id):
		out.Code, body = wire.WrongNode, []byte("another node")
	}
	_, err = nc.Write(wire.AppendFrame(nil, &out, body))
	return err == nil && out.Code == wire.OK
}

// answer serves one request; false breaks the connection.
func (n *node) answer(nc net.Conn, f *wire.Frame) bool {
	n.mu.Lock()
	n.seen[f.Op]++
	mute, drop := n.mute, n.drop && f.Op == wire.OpCommand
	slow := n.slow
	if drop {
		n.drop = false
	}
	n.mu.Unlock()
	if mute {
		return true
	}
	c := n.c
	c.mu.Lock()
	h := wire.Header{Kind: wire.KindReply, Op: f.Op, ID: f.ID, Epoch: uint64(c.ring.Epoch)}
	var body []byte
	if c.refuse != nil && f.Op != wire.OpRing {
		var msg string
		h.Code, msg = c.refuse(n, f)
		body = []byte(msg)
	}
	var chunks []byte
	if h.Code == wire.OK {
		h.Code, body, chunks = n.run(f)
	}
	c.mu.Unlock()
	if drop {
		return false
	}
	answer := func() bool {
		_, err := nc.Write(append(chunks, wire.AppendFrame(nil, &h, body)...))
		return err == nil
	}
	if (f.Op == wire.OpCommand || f.Op == wire.OpQuery) && slow > 0 {
		time.AfterFunc(slow, func() { answer() })
		return true
	}
	return answer()
}

func (n *node) run(f *wire.Frame) (code wire.Code, body, chunks []byte) {
	c := n.c
	switch f.Op {
	case wire.OpPing:
		return wire.OK, nil, nil
	case wire.OpRing:
		if f.Epoch < uint64(c.ring.Epoch) {
			body = c.state()
		}
		return wire.OK, body, nil
	case wire.OpCover:
		return n.cover(f)
	}
	call, err := wire.ParseCall(f.Body)
	if err != nil || f.Service != wire.ServiceID("kv") || f.Cluster != wire.ClusterCheck(fakeCluster) || f.TimeoutMS == 0 {
		return wire.BadRequest, []byte("malformed"), nil
	}
	key := string(codec.RecordKey(call.Bucket, call.Key))
	old := c.data[key]
	if f.Op == wire.OpQuery {
		if q, err := codec.ParseQuery(call.Body); err == nil && q == codec.QueryPing {
			return wire.OK, codec.AppendPong(nil, &codec.Pong{Partition: f.Partition, Node: string(n.id)}), nil
		}
		if n.behind != nil && call.Primary == wire.QuorumDefault {
			old = n.behind[key]
		}
		return wire.OK, codec.AppendResult(nil, &old), nil
	}
	cmd, err := codec.ParseCommand(call.Body)
	blind := codec.Blind(call.Body)
	switch {
	case err != nil || blind != (call.Flags&wire.CallBlind != 0) || blind != (call.ID != 0):
		return wire.BadRequest, []byte("malformed command"), nil
	}
	c.clock++
	c.ids[call.ID]++
	next := codec.Result{State: codec.Deleted, Stamp: wire.Stamp{Time: c.clock, ID: call.ID}}
	if cmd.Op == codec.OpPut {
		next.State, next.Value, next.Expires = codec.Live, cmd.Value, cmd.Expires
	}
	c.data[key] = next
	if cmd.Op == codec.OpTake {
		body = codec.AppendResult(nil, &old)
	}
	return wire.OK, body, nil
}

func (n *node) cover(f *wire.Frame) (code wire.Code, body, chunks []byte) {
	req, err := wire.ParseCoverRequest(f.Body)
	if err != nil {
		return wire.BadRequest, nil, nil
	}
	q, err := codec.ParseCover(req.Body)
	if err != nil {
		return wire.BadRequest, []byte(err.Error()), nil
	}
	for p := range n.c.ring.Assignments {
		part := wire.AppendCoverPart(nil, &wire.CoverPart{Partition: uint16(p), Node: string(n.id)})
		for _, rk := range slices.Sorted(maps.Keys(n.c.data)) {
			bucket, key, _ := codec.SplitRecordKey([]byte(rk))
			r := n.c.data[rk]
			if string(bucket) == q.Bucket && r.State == codec.Live && ring.Locate(ring.HashKey(q.Bucket, key), fakeQ) == ring.Partition(p) {
				part = wire.AppendItem(part, &wire.Item{Key: key, Value: codec.AppendEnvelope(nil, &codec.Envelope{Value: r.Value})})
			}
		}
		chunks = wire.AppendFrame(chunks, &wire.Header{Kind: wire.KindChunk, Op: f.Op, ID: f.ID}, part)
	}
	body, _ = json.Marshal(wire.CoverEnd{Complete: true, Missing: []uint16{}})
	return wire.OK, body, chunks
}

// eventually waits until ok, looking again and again.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
