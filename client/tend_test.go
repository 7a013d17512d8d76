package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// bubbleClient is a client of three replicas, for a test in a bubble: the nodes are
// reached through pipes.
func bubbleClient(t *testing.T, cfg Config) (*cluster, *Client) {
	f := unstarted(t, 3, 3)
	for _, n := range f.nodes {
		n.addr, n.conns, n.seen = n.name, map[net.Conn]bool{}, map[wire.Op]int{}
	}
	cfg.Addrs = []string{"n1"}
	cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		n := f.nodes[addr[1]-'1']
		here, there := net.Pipe()
		n.set(func() { n.conns[there] = true })
		n.wg.Go(func() { n.serve(there) })
		return here, nil
	}
	c, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		for _, n := range f.nodes {
			n.wg.Wait()
		}
	})
	return f, c
}

// A node that hangs is left within a second: what may run twice goes to another node,
// the rest is reported. It is used again as soon as it answers.
func TestHungNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := bubbleClient(t, Config{})
		put(t, c, "a", "1")
		owner := f.owner("a", 0)
		owner.set(func() { owner.mute = true })

		begun := time.Now()
		ends := make(chan error, 1)
		go func() {
			_, err := c.Command(t.Context(), "kv", Call{Bucket: "b", Key: []byte("a"), Body: []byte("x"), Timeout: time.Minute})
			ends <- err
		}()
		put(t, c, "a", "2")
		if err := <-ends; !errors.Is(err, ErrMaybe) {
			t.Errorf("a command that may not run twice: %v", err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("left after %v", took)
		}
		asked := owner.count(wire.OpQuery)
		begun = time.Now()
		wantValue(t, c, "a", "2")
		if took := time.Since(begun); took > 0 || owner.count(wire.OpQuery) != asked {
			t.Errorf("asked it again, for %v", took)
		}
		time.Sleep(10 * time.Second)
		owner.set(func() { owner.mute = false })
		time.Sleep(probeMost + probeTimeout)
		wantValue(t, c, "a", "2")
		if owner.count(wire.OpQuery) != asked+1 {
			t.Error("the node that is back is not used")
		}
	})
}

// Two nodes that hang cost no more time than one: both are found out at once.
func TestTwoHungNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := bubbleClient(t, Config{})
		for i := range 20 {
			put(t, c, fmt.Sprint(i), "1") // connects to all
		}
		for s := range 2 {
			f.owner("a", s).set(func() { f.owner("a", s).mute = true })
		}
		begun := time.Now()
		put(t, c, "a", "2")
		if took := time.Since(begun); took > time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// A node that is merely slow keeps its connection, and a client that waits for nothing
// sends nothing.
func TestSlowNodeIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := bubbleClient(t, Config{})
		put(t, c, "a", "1")
		owner := f.owner("a", 0)
		pings := owner.count(wire.OpPing)
		time.Sleep(time.Hour)
		if n := owner.count(wire.OpPing) - pings; n != 0 {
			t.Errorf("%d pings from an idle client", n)
		}
		owner.set(func() { owner.slow = 3 * time.Second })
		begun := time.Now()
		if _, err := c.Command(t.Context(), "kv", Call{Bucket: "b", Key: []byte("a"), Body: []byte("x"), Timeout: time.Minute}); errors.Is(err, ErrMaybe) {
			t.Errorf("a slow command: %v", err)
		}
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// A query that a node takes long for is answered by another one, without waiting for the
// first to be given up. A command is not: it may run twice then.
func TestHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := bubbleClient(t, Config{})
		for i := range 20 {
			put(t, c, fmt.Sprint(i), "1") // connects to all
		}
		put(t, c, "a", "1")
		owner := f.owner("a", 0)
		owner.set(func() { owner.slow = 3 * time.Second })
		begun := time.Now()
		key := []byte("a")
		obj, err := c.Get(t.Context(), "b", key, ReadOptions{})
		key[0] = 'x' // is the caller's again
		if took := time.Since(begun); took != hedgeAfter || err != nil || string(obj.Value) != "1" {
			t.Errorf("get took %v: %q, %v", took, obj.Value, err)
		}
		peer := c.view.Load().peers[owner.id]
		if peer.usable() {
			t.Error("the slow node is asked first again at once")
		}
		time.Sleep(2 * probeFirst)
		if !peer.usable() {
			t.Error("a node that answers pings is not asked again")
		}
		begun = time.Now()
		put(t, c, "a", "2")
		if took := time.Since(begun); took < time.Second {
			t.Errorf("put took %v", took)
		}
		time.Sleep(time.Minute)
	})
}

// While a slow node's answer is to come, what another one says that knows less does not
// take its place.
func TestHedgeThatKnowsLess(t *testing.T) {
	for _, code := range []wire.Code{wire.QuorumNotMet, wire.Unavailable, wire.Internal} {
		synctest.Test(t, func(t *testing.T) {
			f, c := bubbleClient(t, Config{})
			for i := range 20 {
				put(t, c, fmt.Sprint(i), "1") // connects to all
			}
			put(t, c, "a", "1")
			owner := f.owner("a", 0)
			owner.set(func() { owner.slow = time.Second })
			f.setRefuse(func(n *node, fr *wire.Frame) (wire.Code, string) {
				if n != owner && fr.Op == wire.OpQuery {
					return code, "no"
				}
				return wire.OK, ""
			})
			wantValue(t, c, "a", "1")
			time.Sleep(time.Minute)
		})
	}
}
