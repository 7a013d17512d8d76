package dataplane

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// testNode is a Server behind a real listener on loopback.
type testNode struct {
	id     Identity
	server *Server
	l      net.Listener
	accept sync.WaitGroup
}

// identity is that of a node in the tests' only cluster.
func identity(node ring.NodeID) Identity { return Identity{ClusterID: "c1", NodeID: node} }

// serveTCP opens a node on loopback; cfg's identity gets the address.
func serveTCP(t testing.TB, addr string, cfg ServerConfig) *testNode {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Identity.Addr = l.Addr().String()
	if cfg.Member == nil {
		cfg.Member = func(ring.NodeID) bool { return true }
	}
	n := &testNode{id: cfg.Identity, server: NewServer(cfg), l: l}
	n.accept.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.server.ServeConn(c)
		}
	})
	t.Cleanup(n.stop)
	return n
}

// stop kills the node; again is fine.
func (n *testNode) stop() {
	_ = n.l.Close()
	n.accept.Wait()
	_ = n.server.Close()
}

// dialPeers returns Peers of node "a" that reach the given nodes.
func dialPeers(t testing.TB, cfg PeersConfig, nodes ...*testNode) *Peers {
	t.Helper()
	if cfg.Identity == (Identity{}) {
		cfg.Identity = identity("a")
	}
	if cfg.Resolve == nil {
		cfg.Resolve = func(id ring.NodeID) (string, bool) {
			for _, n := range nodes {
				if n.id.NodeID == id {
					return n.id.Addr, true
				}
			}
			return "", false
		}
	}
	p := NewPeers(cfg)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// handlerFunc is a function as a Handler.
type handlerFunc func(*Request)

func (f handlerFunc) Serve(r *Request) { f(r) }

// streamFunc is a function as a StreamHandler.
type streamFunc func(context.Context, *Stream)

func (f streamFunc) ServeStream(ctx context.Context, s *Stream) { f(ctx, s) }

// echo answers every request with its own body and epoch 7.
var echo = handlerFunc(func(r *Request) { r.Reply(wire.OK, 7, r.Body) })

// holder keeps requests instead of answering them.
type holder struct{ held chan *Request }

func newHolder() *holder           { return &holder{held: make(chan *Request, 1<<16)} }
func (h *holder) Serve(r *Request) { h.held <- r }

// soon is a context for what must happen, but not at once.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// waitUp waits until l says of node what is wanted.
func waitUp(t testing.TB, l *Liveness, node ring.NodeID, want bool) {
	t.Helper()
	ctx := soon(t)
	for {
		changed := l.Changed()
		if l.Up(node) == want {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("node %s is never up=%v", node, want)
		}
	}
}

// receive waits for a value on c.
func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-soon(t).Done():
		t.Fatal("nothing came")
		panic("unreachable")
	}
}
