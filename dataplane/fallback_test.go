package dataplane

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

func TestHintBody(t *testing.T) {
	b := appendHint(nil, "node", []byte("effect"))
	node, effect, err := parseHint(b)
	if node != "node" || string(effect) != "effect" || err != nil {
		t.Fatal(node, effect, err)
	}
	for _, bad := range [][]byte{nil, {0}, {0, 1}, {5, 'n', 'o', 'd', 'e'}} {
		if _, _, err := parseHint(bad); err == nil {
			t.Errorf("%v parses", bad)
		}
	}
}

func FuzzParseHint(f *testing.F) {
	f.Add([]byte{1, 'a', 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		node, effect, err := parseHint(b)
		if err == nil && string(appendHint(nil, ring.NodeID(node), effect)) != string(b) {
			t.Fatalf("%q does not come back", b)
		}
	})
}

// With one replica the fallback takes blind writes and serves what it holds.
func TestOwnerDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, withOwners(abc("a"), "f", "g"), "a", "f", "g", "x")
		c.nodes["a"].down.Store(true)
		for _, at := range []ring.NodeID{"x", "f"} { // asked of any node, and of the fallback itself
			_, err := c.query(at)
			if at == "x" {
				wantCode(t, err, wire.Unavailable, "the fallback does not hold it")
			}
			_, err = c.command(at, "put "+string(at))
			wantOK(t, err)
			got, err := c.query(at)
			wantOK(t, err)
			if got != string(at) || c.nodes["f"].value("k", "a") != got {
				t.Errorf("read %q, the hint is %q", got, c.nodes["f"].value("k", "a"))
			}
			_, err = c.command(at, "add")
			wantCode(t, err, wire.Unavailable, "")
			_, err = c.command(at, "put 2", flagged(wire.CallStrict))
			wantCode(t, err, wire.Unavailable, "")
		}
		c.nodes["f"].down.Store(true)
		_, err := c.command("x", "put 3")
		wantOK(t, err)
		if got := c.nodes["g"].value("k", "a"); got != "3" {
			t.Errorf("the next fallback holds %q", got)
		}
	})
}

// Only the caller cannot reach the owner: the fallback says so, and the owner is asked again.
func TestOwnerUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, withOwners(abc("a"), "f"), "a", "f", "x")
		cut := true
		c.meddle = func(from, to ring.NodeID, h wire.Header, _ []byte) (wire.Frame, error, bool) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return wire.Frame{}, wire.Errorf(wire.Unavailable, "cut"), cut && from == "x" && to == "a"
		}
		go func() {
			time.Sleep(time.Second)
			c.mu.Lock()
			cut = false
			c.mu.Unlock()
		}()
		got, err := c.command("x", "put 1")
		wantOK(t, err)
		if got != "done by a" || c.nodes["f"].value("k", "a") != "" {
			t.Fatalf("%q, hint %q", got, c.nodes["f"].value("k", "a"))
		}
	})
}

// A fallback does not stand in for a node that it can reach, or that owns nothing there,
// and takes a client's word for nothing.
func TestStandInRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, withOwners(abc("a"), "f"), "a", "f", "x")
		ask := func(of string, from ring.NodeID) wire.Code {
			code := make(chan wire.Code, 1)
			call := wire.Call{Bucket: "b", Key: []byte("k"), Body: []byte("put 1"), For: of}
			c.nodes["f"].router.serve(inbound{
				Header: wire.Header{Op: wire.OpCommand, Flags: wire.FlagNoHop | wire.FlagFallback, Service: wire.ServiceID(testService), Epoch: 10},
				body:   wire.AppendCall(nil, &call), from: from,
				reply: func(c wire.Code, _ uint64, _ []byte) { code <- c },
			})
			return <-code
		}
		if got := ask("a", "x"); got != wire.OwnerUp {
			t.Errorf("owner up: %v", got)
		}
		c.nodes["a"].down.Store(true)
		if got := ask("x", "x"); got != wire.Moved {
			t.Errorf("no owner: %v", got)
		}
		if got := ask("a", ""); got != wire.Moved {
			t.Errorf("from a client: %v", got)
		}
		if got := ask("a", "x"); got != wire.OK {
			t.Errorf("owner down: %v", got)
		}
	})
}

// The call breaks on its way to the owner: the fallback takes the same write id.
func TestOwnerLostUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, withOwners(abc("a"), "f"), "a", "f", "x")
		var id uint64
		c.meddle = func(from, to ring.NodeID, h wire.Header, body []byte) (wire.Frame, error, bool) {
			if to != "a" {
				return wire.Frame{}, nil, false
			}
			call, err := wire.ParseCall(body)
			if err != nil {
				t.Error(err)
			}
			id = call.ID
			c.nodes["a"].down.Store(true)
			return wire.Frame{}, wire.Errorf(wire.Maybe, "connection broke"), true
		}
		_, err := c.command("x", "put 1")
		wantOK(t, err)
		if it := c.nodes["f"].local.hints["a"]["k"]; id == 0 || it.Stamp.ID != id {
			t.Errorf("id %d, then %d", id, it.Stamp.ID)
		}
	})
}

// An owner hears with the request that another node may hold writes for its slot.
func TestOwnerIsToldOfHolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, withOwners(abc("a"), "f", "g"), "a", "f", "g", "x")
		var told, heard atomic.Int32
		c.nodes["a"].local.gate = func(r *wire.Request) wire.Code {
			if r.Flags&wire.FlagHeld != 0 {
				heard.Add(1)
			}
			return wire.OK
		}
		c.meddle = func(_, to ring.NodeID, h wire.Header, _ []byte) (wire.Frame, error, bool) {
			if to == "a" && h.Flags&wire.FlagHeld != 0 {
				told.Add(1)
			}
			return wire.Frame{}, nil, false
		}
		ask := func() {
			_, err := c.command("x", "put 1")
			wantOK(t, err)
			_, err = c.query("x")
			wantOK(t, err)
		}
		ask()
		if told.Load() > 0 {
			t.Error("there is no holder")
		}
		c.nodes["x"].router.held = func(owner ring.NodeID, _ uint32, p ring.Partition) bool {
			return owner == "a" && p == partitionOf("k")
		}
		ask()
		if told.Load() != 2 || heard.Load() != 2 {
			t.Errorf("the owner was told %d times, its vnode %d times", told.Load(), heard.Load())
		}
	})
}
