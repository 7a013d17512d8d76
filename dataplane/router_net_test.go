package dataplane

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// streamsTo hands the streams of a Server to a Router, as the root package does.
func streamsTo(r func() *Router) StreamHandler {
	return streamFunc(func(ctx context.Context, s *Stream) {
		if first, err := s.ReadFrame(); err == nil {
			r().ServeStream(ctx, s, first)
		}
	})
}

// netCluster is the fake cluster's vnodes behind real Servers, Peers and connections.
func netCluster(t *testing.T, n int, g *ring.Ring, ids ...ring.NodeID) (*fakeCluster, map[ring.NodeID]*testNode) {
	c := newFakeCluster(t, n, g, ids...)
	servers := make(map[ring.NodeID]*testNode)
	for _, id := range ids {
		x := c.nodes[id]
		servers[id] = serveTCP(t, "127.0.0.1:0", ServerConfig{
			Identity: identity(id), Requests: handlerFunc(func(r *Request) { x.router.Serve(r) }),
			Streams: streamsTo(func() *Router { return x.router }),
		})
	}
	all := make([]*testNode, 0, len(ids))
	for _, id := range ids {
		all = append(all, servers[id])
	}
	for _, id := range ids {
		x := c.nodes[id]
		peers := dialPeers(t, PeersConfig{Identity: identity(id)}, all...)
		x.router.Close()
		x.router = NewRouter(RouterConfig{Self: id, Rings: x, Local: x.local, Peers: peers, Up: c.up})
	}
	return c, servers
}

func TestRouterOverNetwork(t *testing.T) {
	c, servers := netCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
	for i, at := range []ring.NodeID{"a", "b", "x"} {
		_, err := c.command(at, fmt.Sprintf("put %d", i), want(wire.QuorumAll))
		wantOK(t, err)
		got, err := c.query(at)
		wantOK(t, err)
		if got != fmt.Sprint(i) {
			t.Errorf("at %s: %q", at, got)
		}
	}
	c.fill(5, "a", "b", "c")
	got, res, err := c.cover(t.Context(), "x", CoverOptions{})
	wantOK(t, err)
	if !res.Complete || !slices.Contains(got[3], "3/004=v") {
		t.Errorf("%+v: %v", res, got)
	}
	// One node goes without a word.
	servers["c"].stop()
	_, err = c.command("a", "put after")
	wantOK(t, err)
	if v, err := c.query("b"); v != "after" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}

func TestClientCoverOverNetwork(t *testing.T) {
	c, servers := netCluster(t, 1, abc("a"), "a")
	c.fill(300, "a")
	conn, _, err := dialHello(soon(t), dialTCP, servers["a"].id.Addr, wire.ConnClient, wire.Hello{Versions: [2]int{1, 1}})
	wantOK(t, err)
	defer func() { _ = conn.Close() }()
	ask := func(service uint32, body []byte) (items int, end wire.Frame) {
		h := wire.Header{Kind: wire.KindRequest, Op: wire.OpCover, ID: 7, Service: service, Cluster: wire.ClusterCheck("c1")}
		_, err := conn.Write(wire.AppendFrame(nil, &h, body))
		wantOK(t, err)
		for f := range framesOf(t, conn) {
			if f.Kind == wire.KindReply {
				return items, f
			}
			_, rest, err := wire.CutCoverPart(f.Body)
			for wantOK(t, err); len(rest) > 0; items++ {
				_, rest, err = wire.CutItem(rest)
				wantOK(t, err)
			}
		}
		return items, end
	}
	items, end := ask(wire.ServiceID(testService), wire.AppendCoverRequest(nil, &wire.CoverRequest{Body: []byte("all")}))
	var how wire.CoverEnd
	if err := json.Unmarshal(end.Body, &how); err != nil || end.Code != wire.OK || items != 8*300 || !how.Complete {
		t.Errorf("%d items, %v %+v, %v", items, end.Code, how, err)
	}
	if _, end := ask(1, []byte{0}); end.Code != wire.BadRequest {
		t.Errorf("unknown service: %v", end.Code)
	}
	if _, end := ask(wire.ServiceID(testService), nil); end.Code != wire.BadRequest {
		t.Errorf("no body: %v", end.Code)
	}
	if _, end := ask(wire.ServiceID(testService), []byte{5}); end.Code != wire.QuorumNotMet {
		t.Errorf("r=5: %v", end.Code)
	}
}

// framesOf reads frames until the test has what it wants.
func framesOf(t *testing.T, c net.Conn) func(func(wire.Frame) bool) {
	return func(yield func(wire.Frame) bool) {
		wantOK(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
		r := bufio.NewReader(c)
		for {
			f, err := wire.ReadFrame(r, wire.MaxBody)
			wantOK(t, err)
			if !yield(f) {
				return
			}
		}
	}
}
