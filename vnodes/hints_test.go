package vnodes

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// hint has the node keep a write for another node's slot.
func (n *simNode) hint(key, value string, owner int) answer {
	r := request(wire.OpEffect, n.w.ring(), "kv", key, "")
	at, err := n.m.Load().clock.Now()
	if err != nil {
		n.w.t.Fatal(err)
	}
	stamp := Stamp{Time: at, Node: 77, ID: r.Call.ID}
	r.Effect = AppendWrites(nil, []Write{{Key: []byte(key), Record: Record{Stamp: stamp, Value: []byte(value)}}})
	r.Flags, r.For = wire.FlagFallback, string(nodeID(owner))
	return n.ask(r)
}

// mustHint has a fallback take a write that is later than all that came before it
// elsewhere: within a millisecond the stamps of nodes that do not talk to each
// other would be in no order.
func (n *simNode) mustHint(key, value string, owner int) {
	n.w.t.Helper()
	for _, other := range n.w.nodes {
		if m := other.m.Load(); m != nil {
			n.m.Load().clock.ObserveTrusted(m.clock.Latest())
		}
	}
	if a := n.hint(key, value, owner); a.code != wire.OK {
		n.w.t.Fatalf("hint for node %d at node %s: %v", owner, n.id, a)
	}
}

func hinted(f *passing) bool { return f.opened == wire.OpHandoff && f.Gen == 0 && !f.answer }

// A fallback serves what it holds and says of everything else that it may exist.
func TestFallbackServesWhatItHolds(t *testing.T) {
	w := newWorld(t, 2, 1)
	const p = 1
	w.node(1).fill(p, 2)
	w.node(1).stop()
	b := w.node(2)
	ask := func(op wire.Op, key, body string) answer {
		r := request(op, w.ring(), "kv", key, body)
		r.Flags, r.For = wire.FlagFallback, string(nodeID(1))
		return b.ask(r)
	}
	held, other := keyIn(p, 0), keyIn(p, 1)
	for _, c := range []struct {
		op        wire.Op
		key, body string
		want      wire.Code
	}{
		{wire.OpRead, held, "", wire.Unavailable},
		{wire.OpCommand, held, "append x", wire.Unavailable},
		{wire.OpCommand, held, "put new", wire.OK},
		{wire.OpRead, held, "", wire.OK},
		{wire.OpRead, other, "", wire.Unavailable},
		{wire.OpCommand, other, "del", wire.OK},
		{wire.OpRead, other, "", wire.OK},
	} {
		if got := ask(c.op, c.key, c.body); got.code != c.want {
			t.Errorf("operation %d %q: %v, want %v", c.op, c.body, got, c.want)
		}
	}
	for _, owner := range []string{"", string(b.id), "../../etc", "00000000000000zz"} {
		r := request(wire.OpCommand, w.ring(), "kv", held, "put x")
		r.Flags, r.For = wire.FlagFallback, owner
		if got := b.ask(r); got.code != wire.BadRequest {
			t.Errorf("a fallback for %q: %v", owner, got)
		}
	}
	w.node(1).start()
	w.settled()
	w.node(1).mustGet(held, "new")
	w.node(1).mustGet(other, "")
}

// Hints survive their holder, reach the owner when it is back, and go only when it
// has them.
func TestHintsReachTheOwner(t *testing.T) {
	w := newWorld(t, 2, 1, smallChunks)
	const p, records = 1, 50
	w.node(1).fill(p, records)
	w.node(1).stop()
	for i := range records {
		w.node(2).mustHint(keyIn(p, i), fmt.Sprint("newer", i), 1)
	}
	w.node(2).crash()
	w.node(2).start()
	w.node(2).mustHint(keyIn(p, 0), "newest", 1)
	if held := w.node(2).m.Load().Holding(); held != 1 {
		t.Fatalf("%d hint stores after the restart", held)
	}
	// The stream breaks at every point once.
	var mu sync.Mutex
	at := 0
	w.net.setHook(func(f *passing) treatment {
		mu.Lock()
		defer mu.Unlock()
		if f.opened == wire.OpHandoff && f.n == at && at < 6 {
			at++
			if held := w.node(2).m.Load().Holding(); held != 1 {
				t.Errorf("%d hint stores although the owner has not got them", held)
			}
			return sever
		}
		return deliver
	})
	w.node(1).start()
	w.node(1).mustGet(keyIn(p, 0), "newest") // held until the hints are here
	for i := 1; i < records; i++ {
		w.node(1).mustGet(keyIn(p, i), fmt.Sprint("newer", i))
	}
	w.settled()
	mu.Lock()
	defer mu.Unlock()
	if at < 6 {
		t.Errorf("only %d streams broke", at)
	}
}

// The owner holds its callers as long as hints are to come, and tells them when
// these cannot come for now.
func TestOwnerWaitsForHints(t *testing.T) {
	w := newWorld(t, 2, 1)
	const p = 1
	a, b := w.node(1), w.node(2)
	a.fill(p, 2)
	a.stop()
	b.mustHint(keyIn(p, 0), "newer", 1)
	var blocked atomic.Bool
	blocked.Store(true)
	w.net.setHook(func(f *passing) treatment {
		if hinted(f) && blocked.Load() {
			return sever
		}
		return deliver
	})
	a.start()
	early, _ := a.send(request(wire.OpRead, w.ring(), "kv", keyIn(p, 0), ""))
	w.until("the slot waits", func() bool { return a.phase(p) == recovering })
	effect := request(wire.OpEffect, w.ring(), "kv", keyIn(p, 1), "")
	effect.Effect = AppendWrites(nil, []Write{{Key: []byte("e"), Record: Record{Stamp: Stamp{Time: 1}}}})
	if got := a.ask(effect); got.code != wire.OK {
		t.Errorf("an effect meanwhile: %v", got)
	}
	a.fill(p+1, 2) // other partitions serve

	b.stop()
	if got := <-early; got.code != wire.Unavailable || !strings.Contains(string(got.body), string(b.id)) {
		t.Fatalf("the holder has fallen silent: %v", got)
	}
	a.mustRefuse(keyIn(p, 0), wire.Unavailable)
	b.start()
	blocked.Store(false)
	w.settled()
	a.mustGet(keyIn(p, 0), "newer")
}

// With several replicas the others know: an owner whose holder falls silent serves.
func TestReplicaDoesNotWaitForSilentHolder(t *testing.T) {
	w := newWorld(t, 3, 2)
	const p = 1
	a, c := w.node(1), w.node(3)
	a.stop()
	c.mustHint(keyIn(p, 0), "newer", 1)
	w.net.setHook(func(f *passing) treatment {
		if hinted(f) {
			return sever
		}
		return deliver
	})
	a.start()
	read, _ := a.send(request(wire.OpRead, w.ring(), "kv", keyIn(p, 1), ""))
	w.until("the slot waits", func() bool { return a.phase(p) == recovering })
	c.stop()
	if got := <-read; got.code != wire.OK {
		t.Errorf("%v", got)
	}
	w.net.setHook(nil)
	c.start()
	w.settled()
	a.mustGet(keyIn(p, 0), "newer")
}

// A node that leaves hands the hints that it holds to another one.
func TestLeaverHandsHintsOver(t *testing.T) {
	w := newWorld(t, 3, 1)
	const p = 1
	w.node(1).stop()
	w.node(2).mustHint(keyIn(p, 0), "kept", 1)
	w.node(2).leaving.Store(true)
	w.until("node 3 has them", func() bool {
		return w.node(2).m.Load().Holding() == 0 && w.node(3).m.Load().Holding() == 1 && w.node(2).m.Load().Vacant()
	})
	w.node(2).stop()
	w.node(3).crash()
	w.node(3).start()
	w.node(1).start()
	w.node(1).mustGet(keyIn(p, 0), "kept")
	w.node(2).leaving.Store(false)
	w.node(2).start()
	w.settled()
}

// Hints for a slot that has gone to another node follow it there; to this node
// itself, if it is the one.
func TestHintsFollowTheSlot(t *testing.T) {
	for _, to := range []int{2, 3} {
		t.Run(fmt.Sprint("to node ", to), func(t *testing.T) {
			var away atomic.Bool
			away.Store(true)
			w := newWorld(t, 3, 1, func(n *simNode) {
				n.tune = func(c *Config) {
					up := c.Up
					c.Up = func(id ring.NodeID) bool { return up(id) && !(id == nodeID(1) && away.Load()) }
				}
			})
			const p = 1
			w.node(1).fill(p, 3)
			w.node(2).mustHint(keyIn(p, 0), "newer", 1)
			s := w.begin(move(p, 0, 1, to))
			w.committed(s)
			w.node(to).mustGet(keyIn(p, 1), "value1")
			w.settled()
			w.node(to).mustGet(keyIn(p, 0), "newer")
		})
	}
}

// Hints that reach the owner while its slot is sealed for a move are not
// acknowledged there: they would stay behind.
func TestHintsMeetASealedSlot(t *testing.T) {
	var away atomic.Bool
	away.Store(true)
	w := newWorld(t, 3, 1, func(n *simNode) {
		n.tune = func(c *Config) {
			up := c.Up
			c.Up = func(id ring.NodeID) bool { return up(id) && !(id == nodeID(1) && away.Load()) }
			c.SealTimeout = 10 * time.Second
		}
	})
	const p = 1
	w.node(1).fill(p, 3)
	w.node(2).mustHint(keyIn(p, 0), "newer", 1)
	answered := make(chan wire.Code, 100)
	w.net.setHook(func(f *passing) treatment {
		switch {
		case f.opened != wire.OpHandoff:
		case f.ready() && f.from == nodeID(1): // the target's READY to the source
			away.Store(false)
			select {
			case code := <-answered:
				if code == wire.OK {
					t.Error("a sealed slot has acknowledged a hint")
				}
			case <-f.link.closed:
			}
		case f.answer && f.from == nodeID(2) && f.n > 1:
			answered <- f.Code
		}
		return deliver
	})
	w.committed(w.begin(move(p, 0, 1, 3)))
	w.settled()
	w.node(3).mustGet(keyIn(p, 0), "newer")
}

// Hints that come while their store is being delivered and dropped are either
// refused or delivered too, and survive a restart in between.
func TestHintsWhileDropping(t *testing.T) {
	w := newWorld(t, 2, 1)
	const p = 1
	var mu sync.Mutex
	var acked []string
	var writers sync.WaitGroup
	deadline := time.Now().Add(700 * time.Millisecond)
	for writer := range 4 {
		writers.Go(func() {
			for i := 0; time.Now().Before(deadline); i++ {
				key := fmt.Sprint("key", writer, "#", i)
				r := request(wire.OpEffect, w.ring(), "kv", key, "")
				r.Partition, r.Gen = p, 1
				r.Effect = AppendWrites(nil, []Write{{Key: []byte(key), Record: Record{Stamp: Stamp{Time: clockTime(time.Now()), ID: uint64(i)}}}})
				r.Flags, r.For = wire.FlagFallback, string(nodeID(1))
				switch got := w.node(2).ask(r); got.code {
				case wire.OK:
					mu.Lock()
					acked = append(acked, key)
					mu.Unlock()
				case wire.Moved:
				default:
					t.Errorf("hint: %v", got)
				}
			}
		})
	}
	writers.Wait()
	w.node(2).crash()
	w.node(2).start()
	w.settled()
	v := w.node(1).m.Load().services[wire.ServiceID("kv")].vnodes[p].Load()
	missing := 0
	for _, key := range acked {
		if _, ok, err := v.store.Get([]byte(key)); !ok || err != nil {
			missing++
		}
	}
	if missing > 0 || len(acked) < 100 {
		t.Errorf("%d of %d acknowledged hints are missing", missing, len(acked))
	}
}

// With storage in memory a restarted replica takes everything from the others
// before it counts for reads.
func TestMemoryReplicaCatchesUp(t *testing.T) {
	w := newWorld(t, 3, 3, inMemory)
	const p = 1
	tr := w.startTraffic("kv", 3, keysIn(p, 50))
	for i := 1; i <= 3; i++ {
		w.node(i).restart()
		w.until("it serves again", func() bool {
			a := w.node(i).get(keyIn(p, 0))
			return a.code == wire.OK && len(a.body) > 0
		})
	}
	tr.end()
}

// A service on fewer places than the list has catches up from those alone: the
// others have nothing of it, and nobody waits for them.
func TestMemorySlotOfSmallerServiceCatchesUp(t *testing.T) {
	w := newWorld(t, 3, 3, inMemory, func(n *simNode) { n.services = []Service{simService("kv", 2)} })
	for i := 1; i <= 2; i++ {
		w.until("it serves", func() bool { return w.node(i).m.Load().CatchingUp() == 0 })
		w.node(i).mustPut(keyIn(2, 0), "kept")
	}
	w.node(2).restart()
	w.until("it has caught up", func() bool { return w.node(2).m.Load().CatchingUp() == 0 })
	w.node(2).mustGet(keyIn(2, 0), "kept")
}
