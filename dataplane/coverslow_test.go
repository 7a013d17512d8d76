package dataplane

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// coverClient is a client's connection to node x, without buffers below it, with a
// coverage query under way, and the count of items that replicas have given for it.
func coverClient(t *testing.T, c *fakeCluster, x *fakeNode) (net.Conn, *atomic.Int64, *Server) {
	t.Helper()
	var given atomic.Int64
	for _, n := range c.nodes {
		n.local.coverGate = func(*wire.CoverCall, int) error { given.Add(1); return nil }
	}
	s := NewServer(ServerConfig{Identity: identity("x"), Requests: x.router})
	near, far := net.Pipe()
	s.ServeConn(far)
	pipe := func(context.Context, string) (net.Conn, error) { return near, nil }
	_, _, err := dialHello(t.Context(), pipe, "", wire.ConnClient, wire.Hello{Versions: [2]int{wire.Version, wire.Version}})
	wantOK(t, err)
	h := wire.Header{Kind: wire.KindRequest, Op: wire.OpCover, ID: 1, Service: wire.ServiceID(testService)}
	_, err = near.Write(wire.AppendFrame(nil, &h, wire.AppendCoverRequest(nil, &wire.CoverRequest{})))
	wantOK(t, err)
	return near, &given, s
}

// bigCluster has n records of a kilobyte in each of its 8 partitions.
func bigCluster(t *testing.T, n int) *fakeCluster {
	c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
	value := string(bytes.Repeat([]byte("v"), 1000))
	for _, id := range []ring.NodeID{"a", "b", "c"} {
		for p := range 8 {
			for i := range n {
				c.nodes[id].put(ring.Partition(p), fmt.Sprintf("%d/%05d", p, i), value, 5, false)
			}
		}
	}
	return c
}

// A client that reads nothing stops the replicas after a few chunks; when it reads,
// everything comes.
func TestCoverSlowReaderStopsReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 2000
		c := bigCluster(t, n)
		client, given, s := coverClient(t, c, c.nodes["x"])
		synctest.Wait()
		// Queued and being written, and of each of 2 replicas of 8 partitions a chunk that
		// is being merged, one that is being sent and one that fills.
		const most = 2*(maxChunksQueued+2*chunkSize) + 8*2*3*chunkSize
		if held := given.Load() * 1000; held > most || given.Load() == 0 {
			t.Errorf("%d bytes are under way, %d may be", held, most)
		}
		if all := int64(8 * 2 * n); given.Load() > all/2 {
			t.Fatalf("%d items of %d have been given: the test proves nothing", given.Load(), all)
		}
		frames := wire.NewReader(client, wire.MaxBody)
		got := 0
		for {
			f, err := frames.Read()
			wantOK(t, err)
			if f.Kind == wire.KindReply {
				var end wire.CoverEnd
				wantOK(t, json.Unmarshal(f.Body, &end))
				if !end.Complete || got != 8*n {
					t.Errorf("%+v, %d items", end, got)
				}
				break
			}
			_, rest, err := wire.CutCoverPart(f.Body)
			wantOK(t, err)
			for ; len(rest) > 0; got++ {
				_, rest, err = wire.CutItem(rest)
				wantOK(t, err)
			}
		}
		wantOK(t, client.Close())
		wantOK(t, s.Close())
	})
}

// A client that is gone, or has stopped reading for good, sets everything free.
func TestCoverVanishedReader(t *testing.T) {
	for _, how := range []string{"closes", "hangs"} {
		synctest.Test(t, func(t *testing.T) {
			c := bigCluster(t, 2000)
			x := c.nodes["x"]
			client, given, s := coverClient(t, c, x)
			synctest.Wait()
			if how == "closes" {
				wantOK(t, client.Close())
			} else {
				time.Sleep(writeTimeout)
			}
			synctest.Wait()
			if covers := x.router.covers.Load(); covers != 0 || given.Load() > 8*2*1000 {
				t.Errorf("client %s: %d queries go on, %d items were given", how, covers, given.Load())
			}
			for _, id := range []ring.NodeID{"a", "b", "c"} {
				if parts := c.nodes[id].router.parts.Load(); parts != 0 {
					t.Errorf("client %s: node %s still streams %d parts", how, id, parts)
				}
			}
			_ = client.Close()
			wantOK(t, s.Close())
		})
	}
}
