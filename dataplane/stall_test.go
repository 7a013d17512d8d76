package dataplane

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// longestStall is what no operation may take while a quorum of its slots lives.
const longestStall = 1500 * time.Millisecond

// cableCluster is a fake cluster whose nodes reach each other through their real Servers
// and Peers, over cables that a test can cut.
type cableCluster struct {
	*fakeCluster
	cables map[[2]ring.NodeID]*cable
	live   map[ring.NodeID]*Liveness
}

func newCableCluster(t *testing.T, n int, g *ring.Ring, ids ...ring.NodeID) *cableCluster {
	c := &cableCluster{
		fakeCluster: newFakeCluster(t, n, g, ids...),
		cables:      make(map[[2]ring.NodeID]*cable), live: make(map[ring.NodeID]*Liveness),
	}
	for _, to := range ids {
		x := c.nodes[to]
		s := NewServer(ServerConfig{
			Identity: identity(to), Requests: handlerFunc(func(r *Request) { x.router.Serve(r) }),
			Member: func(ring.NodeID) bool { return true }, Logger: slog.New(slog.DiscardHandler),
		})
		t.Cleanup(func() { _ = s.Close() })
		for _, from := range ids {
			if from != to {
				c.cables[[2]ring.NodeID{from, to}] = cableTo(t, s)
			}
		}
	}
	for _, id := range ids {
		live := NewLiveness(id)
		p := NewPeers(PeersConfig{
			Identity: identity(id), Liveness: live, Logger: slog.New(slog.DiscardHandler),
			Members: func() []ring.NodeID { return ids },
			Resolve: func(to ring.NodeID) (string, bool) { return string(to), to != id },
			Connect: func(ctx context.Context, addr string) (net.Conn, error) {
				return c.cables[[2]ring.NodeID{id, ring.NodeID(addr)}].connect(ctx, addr)
			},
		})
		t.Cleanup(func() { _ = p.Close() })
		x := c.nodes[id]
		x.router.Close()
		x.router = NewRouter(RouterConfig{Self: id, Rings: x, Local: x.local, Repairs: x.local, Peers: p, Up: live.MaybeUp})
		c.live[id] = live
		x.local.wall = true
	}
	return c
}

// cut cuts or mends the links of a node with some others: what it says, what it hears.
func (c *cableCluster) cut(node ring.NodeID, others []ring.NodeID, says, hears bool) {
	for _, other := range others {
		if other == node {
			continue
		}
		for k, way := range map[[2]ring.NodeID][2]bool{{node, other}: {says, hears}, {other, node}: {hears, says}} {
			x := c.cables[k]
			x.set(func() { x.cut = way })
		}
	}
}

// Whatever node hangs, or is cut off one way or both ways, and be there two of them: as
// long as a majority of the slots lives, whoever asks a node that is well gets a right
// answer, soon.
func TestNoStallWhileAQuorumLives(t *testing.T) {
	ids := []ring.NodeID{"a", "b", "c", "d", "e", "x"}
	for name, x := range map[string]struct {
		list  []string
		fault []ring.NodeID
		says  bool
		hears bool
	}{
		"a replica hangs":              {[]string{"a", "b", "c"}, []ring.NodeID{"b"}, true, true},
		"a replica is not heard":       {[]string{"a", "b", "c"}, []ring.NodeID{"b"}, true, false},
		"a replica does not hear":      {[]string{"a", "b", "c"}, []ring.NodeID{"b"}, false, true},
		"a replica and another hang":   {[]string{"a", "b", "c"}, []ring.NodeID{"a", "d"}, true, true},
		"two of five replicas hang":    {[]string{"a", "b", "c", "d", "e"}, []ring.NodeID{"c", "d"}, true, true},
		"two of five, heard by nobody": {[]string{"a", "b", "c", "d", "e"}, []ring.NodeID{"a", "e"}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCableCluster(t, len(x.list), abc(x.list...), ids...)
				time.Sleep(time.Second) // all are connected
				var users sync.WaitGroup
				var mu sync.Mutex
				longest, ops := time.Duration(0), 0
				end := time.Now().Add(7 * time.Second)
				for _, at := range ids {
					if at == x.fault[0] || len(x.fault) > 1 && at == x.fault[1] {
						continue
					}
					for i := range 3 {
						users.Go(func() {
							for n := 0; time.Now().Before(end); n++ {
								key := fmt.Sprint(at, i)
								begun := time.Now()
								err := c.step(at, key, n)
								took := time.Since(begun)
								mu.Lock()
								longest, ops = max(longest, took), ops+1
								mu.Unlock()
								if err != nil {
									t.Errorf("%s at %s after %v: %v", key, at, took, err)
								}
								time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
							}
						})
					}
				}
				time.Sleep(time.Second)
				for _, id := range x.fault {
					c.cut(id, ids, x.says, x.hears)
				}
				time.Sleep(4 * time.Second)
				for _, id := range x.fault {
					c.cut(id, ids, false, false)
				}
				mended := time.Now()
				for _, id := range x.fault {
					for _, from := range ids {
						waitUp(t, c.live[from], id, true)
					}
				}
				if took := time.Since(mended); took > 2*redialWait {
					t.Errorf("all are up again after %v", took)
				}
				users.Wait()
				t.Logf("%d operations, the longest %v", ops, longest)
				if longest > longestStall {
					t.Errorf("an operation took %v", longest)
				}
				time.Sleep(time.Minute) // hints, repairs
			})
		})
	}
}

// step writes the n-th value of a key, or reads it: after a write, and again a little
// later, when an earlier write that was delayed may have come.
func (c *cableCluster) step(at ring.NodeID, key string, n int) error {
	call := wire.Call{Bucket: "b", Key: []byte(key), Body: fmt.Appendf(nil, "put %d", n/3)}
	if n%3 == 0 {
		_, err := c.nodes[at].router.Command(c.t.Context(), testService, call)
		return err
	}
	call.Body = []byte("get")
	reply, err := c.nodes[at].router.Query(c.t.Context(), testService, call)
	if err != nil {
		return err
	}
	it, _, err := wire.CutItem(reply)
	if want := fmt.Sprint(n / 3); err == nil && string(it.Value) != want {
		err = fmt.Errorf("read %q instead of %q", it.Value, want)
	}
	return err
}

// A command that may not run twice and is with a node that hangs ends with MAYBE, soon.
func TestForwardedToHungNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := []ring.NodeID{"a", "x"}
		c := newCableCluster(t, 1, abc("a"), ids...)
		time.Sleep(time.Second)
		c.cut("a", ids, true, true)
		begun := time.Now()
		_, err := c.command("x", "add")
		wantCode(t, err, wire.Maybe, "sign of life")
		if took := time.Since(begun); took > settled {
			t.Errorf("after %v", took)
		}
		_, err = c.command("x", "add")
		wantCode(t, err, wire.Unavailable, "")
	})
}
