package dataplane

import (
	"net"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Nodes of two generations do not speak to each other on any connection of peers, and both
// sides learn of it; strangers and clients are served.
func TestGenerationsDoNotMix(t *testing.T) {
	later := wire.Generation{N: 1, ID: "aa"}
	for name, x := range map[string]struct{ server, caller wire.Generation }{
		"caller behind":   {later, wire.Generation{}},
		"caller ahead":    {wire.Generation{}, later},
		"recovered twice": {later, wire.Generation{N: 1, ID: "bb"}},
		"the same":        {later, later},
		"neither has any": {},
	} {
		t.Run(name, func(t *testing.T) {
			other := make(chan wire.Generation, 10)
			id := identity("b")
			id.Generation = x.server
			epoch := uint64(ring.FirstEpoch(x.server.N)) + 5
			n := serveTCP(t, "127.0.0.1:0", ServerConfig{
				Identity: id, Requests: echo, Strangers: echo, Epoch: func() uint64 { return epoch },
				OtherGeneration: func(from ring.NodeID, g wire.Generation) {
					if from == "a" {
						other <- g
					}
				},
			})
			me := identity("a")
			me.Generation = x.caller
			saw := make(chan uint64, 10)
			p := dialPeers(t, PeersConfig{Identity: me, SawEpoch: func(_ ring.NodeID, e uint64) { saw <- e }}, n)
			_, err := p.Call(soon(t), "b", wire.Header{Op: wire.OpCommand}, nil)
			if x.server == x.caller {
				if err != nil || len(other) > 0 {
					t.Fatalf("error %v, %d told", err, len(other))
				}
				return
			}
			if err == nil {
				t.Fatal("it was served")
			}
			if got := receive(t, other); got != x.caller {
				t.Errorf("the server was told of %v", got)
			}
			if got := receive(t, saw); got != epoch {
				t.Errorf("the caller saw epoch %d, want %d", got, epoch)
			}
			for _, kind := range []byte{wire.ConnRaft, wire.ConnStream} {
				if c, err := p.Dial(soon(t), "b", kind); err == nil {
					_ = c.Close()
					t.Errorf("a connection of kind %c was opened", kind)
				}
			}
			if _, err := CallStranger(soon(t), n.id.Addr, me, wire.OpIntroduce, nil); err != nil {
				t.Errorf("a stranger: %v", err)
			}
			c, _, err := dialHello(soon(t), dialTCP, n.id.Addr, wire.ConnClient, wire.Hello{ClusterID: "c1", Versions: [2]int{wire.Version, wire.Version}})
			if err != nil {
				t.Fatalf("a client: %v", err)
			}
			closeQuietly(c)
		})
	}
}

func closeQuietly(c net.Conn) { _ = c.Close() }
