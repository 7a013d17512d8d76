package dataplane

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

func hasCode(err error, c wire.Code) bool { return errors.Is(err, &wire.Error{Code: c}) }

// Thousands of requests at once, answered out of order: each gets its own answer.
func TestManyConcurrentCalls(t *testing.T) {
	h := newHolder()
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: h})
	var epoch atomic.Uint64
	p := dialPeers(t, PeersConfig{
		Epoch: func() uint64 { return 41 },
		SawEpoch: func(from ring.NodeID, e uint64) {
			if e > 0 { // that of a ping's answer is
				epoch.Store(e)
			}
		},
	}, n)
	const calls = 5000
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			body := binary.BigEndian.AppendUint32(nil, uint32(i))
			f, err := p.Call(soon(t), "b", wire.Header{Op: wire.OpCommand}, body)
			if err != nil || !bytes.Equal(f.Body, body) {
				t.Errorf("call %d: answer %x, %v", i, f.Body, err)
			}
		})
	}
	var held []*Request
	for range calls {
		held = append(held, receive(t, h.held))
	}
	for i := range held { // newest first
		r := held[len(held)-1-i]
		if r.Epoch != 41 {
			t.Fatalf("request of epoch %d", r.Epoch)
		}
		r.Reply(wire.OK, 42, r.Body)
	}
	wg.Wait()
	if epoch.Load() != 42 {
		t.Fatalf("saw epoch %d", epoch.Load())
	}
}

func TestAnswerThatIsAnError(t *testing.T) {
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: handlerFunc(func(r *Request) {
		r.Reply(wire.Stale, 8, []byte("plan anew"))
	})})
	p := dialPeers(t, PeersConfig{}, n)
	f, err := p.Call(soon(t), "b", wire.Header{Op: wire.OpCommand}, nil)
	var e *wire.Error
	if !errors.As(err, &e) || *e != (wire.Error{Code: wire.Stale, Message: "plan anew", Epoch: 8}) || f.Code != wire.Stale {
		t.Fatalf("answer %+v, %v", f, err)
	}
}

// When a connection breaks, what was written may have run; the peer is down at
// once, and is used again as soon as it is back, at the same address.
func TestBrokenConnection(t *testing.T) {
	h := newHolder()
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: h})
	live := NewLiveness("a")
	p := dialPeers(t, PeersConfig{Liveness: live}, n)
	ends := make(chan error, 1)
	upThen := make(chan bool, 1)
	p.Send("b", wire.Header{Op: wire.OpCommand}, nil, time.Time{}, func(_ wire.Frame, err error) {
		upThen <- live.Up("b")
		ends <- err
	})
	receive(t, h.held)
	if !live.Up("b") {
		t.Fatal("a peer that has been reached is not up")
	}
	n.stop()
	if up, err := receive(t, upThen), receive(t, ends); !hasCode(err, wire.Maybe) || up {
		t.Fatalf("after the break: %v, up %v", err, up)
	}
	if _, err := p.Call(soon(t), "b", wire.Header{Op: wire.OpCommand}, nil); !hasCode(err, wire.Unavailable) {
		t.Fatalf("nobody listens: %v", err)
	}
	again := serveTCP(t, n.id.Addr, ServerConfig{Identity: identity("b"), Requests: echo})
	waitUp(t, live, "b", true)
	if _, err := p.Call(soon(t), "b", wire.Header{Op: wire.OpCommand}, nil); err != nil {
		t.Fatal(err)
	}
	again.stop()
	waitUp(t, live, "b", false)
}

func TestUnreachablePeers(t *testing.T) {
	other := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("other"), Requests: echo})
	foreign := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: Identity{ClusterID: "c2", NodeID: "foreign"}, Requests: echo})
	p := dialPeers(t, PeersConfig{Resolve: func(id ring.NodeID) (string, bool) {
		switch id {
		case "b":
			return other.id.Addr, true // another node took its port
		case "foreign":
			return foreign.id.Addr, true
		}
		return "", false
	}})
	for node, reason := range map[ring.NodeID]string{"b": "wrong_node", "foreign": "wrong_cluster", "unknown": "no address"} {
		_, err := p.Call(soon(t), node, wire.Header{Op: wire.OpCommand}, nil)
		if !hasCode(err, wire.Unavailable) || !bytes.Contains([]byte(err.Error()), []byte(reason)) {
			t.Errorf("node %s: %v", node, err)
		}
		if p.liveness.Up(node) {
			t.Errorf("node %s is up", node)
		}
		if _, err := p.Stream(soon(t), node); !hasCode(err, wire.Unavailable) {
			t.Errorf("stream to %s: %v", node, err)
		}
	}
}

func TestOverload(t *testing.T) {
	h := newHolder()
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: h, MaxPeerInFlight: 2})
	p := dialPeers(t, PeersConfig{MaxInFlight: 4}, n)
	ends := make(chan wire.Frame, 8)
	errs := make(chan error, 8)
	send := func() {
		p.Send("b", wire.Header{Op: wire.OpCommand}, nil, time.Time{}, func(f wire.Frame, err error) {
			if err != nil {
				errs <- err
			} else {
				ends <- f
			}
		})
	}
	send()
	send()
	first, second := receive(t, h.held), receive(t, h.held)
	send() // the server's bound
	if f := receive(t, ends); f.Code != wire.Overload {
		t.Fatalf("answer %v", f.Code)
	}
	p.cfg.MaxInFlight = 0 // of a connection yet to come; the link has its own
	p.peer("b").link.max = 2
	send() // our own
	if err := receive(t, errs); !hasCode(err, wire.Overload) {
		t.Fatalf("error %v", err)
	}
	first.Reply(wire.OK, 0, nil)
	second.Reply(wire.OK, 0, nil)
	if a, b := receive(t, ends), receive(t, ends); a.Code != wire.OK || b.Code != wire.OK {
		t.Fatalf("answers %v %v", a.Code, b.Code)
	}
}

// A peer that does not read fills the queue; then Send fails at once. What is queued
// ends when the peer has been silent for too long.
func TestWriteQueueIsBounded(t *testing.T) {
	block := make(chan struct{})
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: handlerFunc(func(*Request) { <-block })})
	defer close(block)
	p := dialPeers(t, PeersConfig{}, n)
	if _, err := p.Call(soon(t), "b", wire.Header{Op: wire.OpPing}, nil); err != nil {
		t.Fatal(err)
	}
	const many = 300
	ends := make(chan error, many)
	body := make([]byte, 1<<20)
	codes := map[wire.Code]int{}
	note := func(err error) {
		var e *wire.Error
		if errors.As(err, &e) {
			codes[e.Code]++
		}
	}
	for codes[wire.Overload] == 0 { // on a busy machine the connection may be given up first
		for range many {
			p.Send("b", wire.Header{Op: wire.OpEffect}, body, time.Time{}, func(_ wire.Frame, err error) { ends <- err })
		}
		for i := 0; i < many && codes[wire.Overload] == 0; i++ {
			note(receive(t, ends))
		}
	}
	p.Send("b", wire.Header{}, make([]byte, wire.MaxBody+1), time.Time{}, func(_ wire.Frame, err error) {
		if !hasCode(err, wire.TooLarge) {
			t.Errorf("error %v", err)
		}
	})
	_ = p.Close()
	for len(ends) > 0 {
		note(<-ends)
	}
	// What the kernel took may have run, what waited here surely has not.
	if codes[wire.Maybe] == 0 || codes[wire.Unavailable] == 0 {
		t.Fatalf("ends %v", codes)
	}
}

func TestDeadlines(t *testing.T) {
	h := newHolder()
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: h})
	p := dialPeers(t, PeersConfig{}, n)
	ends := make(chan error, 1)
	p.Send("b", wire.Header{}, nil, time.Now().Add(time.Millisecond), func(f wire.Frame, err error) {
		if err == nil { // it was late there already
			err = &wire.Error{Code: f.Code}
		}
		ends <- err
	})
	if err := receive(t, ends); !hasCode(err, wire.Deadline) {
		t.Fatalf("error %v", err)
	}
	p.Send("b", wire.Header{}, nil, time.Now().Add(-time.Second), func(_ wire.Frame, err error) { ends <- err })
	if err := receive(t, ends); !hasCode(err, wire.Deadline) {
		t.Fatalf("error %v", err)
	}
	// The connection that the first one has asked for may come about later than its deadline.
	for changed := p.liveness.Changed(); !p.liveness.Up("b"); changed = p.liveness.Changed() {
		<-changed
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Call(ctx, "b", wire.Header{}, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if _, err := p.Stream(ctx, "b"); !errors.Is(err, context.Canceled) || !p.liveness.Up("b") {
		t.Fatalf("error %v, up %v", err, p.liveness.Up("b"))
	}
}

func TestSendAfterClose(t *testing.T) {
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: echo})
	p := dialPeers(t, PeersConfig{}, n)
	_ = p.Close()
	if _, err := p.Call(soon(t), "b", wire.Header{}, nil); !hasCode(err, wire.Unavailable) {
		t.Fatalf("error %v", err)
	}
	if _, err := p.Stream(soon(t), "b"); err == nil {
		t.Fatal("a stream was opened")
	}
}

// Close while requests are being sent: done is called once for each.
func TestCloseWhileSending(t *testing.T) {
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: echo})
	p := dialPeers(t, PeersConfig{}, n)
	var begun, ended atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				begun.Add(1)
				p.Send("b", wire.Header{}, nil, time.Time{}, func(wire.Frame, error) { ended.Add(1) })
			}
		})
	}
	_ = p.Close()
	wg.Wait()
	if begun.Load() != ended.Load() {
		t.Fatalf("%d requests, %d ends", begun.Load(), ended.Load())
	}
}

// pipeNet connects Peers to fake servers by net.Pipe, for tests with a bubble's clock.
type pipeNet struct{ accepted chan net.Conn }

func (n *pipeNet) connect(context.Context, string) (net.Conn, error) {
	here, there := net.Pipe()
	n.accepted <- there
	return here, nil
}

// greet reads the hello of a peer and answers it as node "b".
func greet(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := readHello(c); err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"cluster_id":"c1","node_id":"b","versions":[1,1]}`)
	if _, err := c.Write(appendHello(nil, wire.OK, "c1", body)); err != nil {
		t.Fatal(err)
	}
}

// A peer that lets us in and hangs up at once is not dialled in a tight loop.
func TestRedialIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &pipeNet{accepted: make(chan net.Conn, 1000)}
		p := NewPeers(PeersConfig{
			Identity: identity("a"), Connect: network.connect,
			Resolve: func(ring.NodeID) (string, bool) { return "pipe", true },
			Members: func() []ring.NodeID { return []ring.NodeID{"b"} },
		})
		begun, dials := time.Now(), 0
		for time.Since(begun) < 10*time.Second {
			c := <-network.accepted
			dials++
			greet(t, c)
			_ = c.Close()
		}
		_ = p.Close()
		for len(network.accepted) > 0 {
			_ = (<-network.accepted).Close()
		}
		if dials < 20 || dials > 45 {
			t.Fatalf("%d dials in 10 s", dials)
		}
	})
}

// Gossip may think a node dead that answers us: it is asked, and stays up.
func TestAnswersOutweighGossip(t *testing.T) {
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: echo})
	live := NewLiveness("a")
	p := dialPeers(t, PeersConfig{Liveness: live}, n)
	if _, err := p.Call(soon(t), "b", wire.Header{}, nil); err != nil {
		t.Fatal(err)
	}
	live.GossipAlive("b", false)
	waitUp(t, live, "b", true)
}
