package vnodes

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// standIn asks the node for an operation as the fallback of owner.
func (n *simNode) standIn(op wire.Op, key, body string, owner int) answer {
	r := request(op, n.w.ring(), "kv", key, body)
	r.Flags, r.For = wire.FlagFallback, string(nodeID(owner))
	return n.ask(r)
}

// cutOffWorld makes a world in which node 1 has one replica of everything and seems down to
// the others, and nobody reaches it, while cut is set.
func cutOffWorld(t *testing.T, n int) (w *world, cut *atomic.Bool) {
	cut = new(atomic.Bool)
	w = newWorld(t, n, 1, func(n *simNode) {
		n.tune = func(c *Config) {
			up := c.Up
			c.Up = func(id ring.NodeID) bool {
				return up(id) && (!cut.Load() || id == c.Node || id != nodeID(1) && c.Node != nodeID(1))
			}
		}
	})
	w.net.setHook(func(f *passing) treatment {
		if cut.Load() && (f.from == nodeID(1) || f.to == nodeID(1)) {
			return sever
		}
		return deliver
	})
	return w, cut
}

// stoodInWorld is a cutOffWorld of three in which node 1, which is cut off, has "old"
// under key and node 2 has taken "new" in its place.
func stoodInWorld(t *testing.T) (w *world, cut *atomic.Bool, key string) {
	t.Helper()
	w, cut = cutOffWorld(t, 3)
	key = keyIn(1, 0)
	w.node(1).mustPut(key, "old")
	cut.Store(true)
	if got := w.node(2).standIn(wire.OpCommand, key, "put new", 1); got.code != wire.OK {
		t.Fatal(got)
	}
	return w, cut, key
}

// Nobody stands in for an owner that answers: neither to the fallback nor to any
// member that is asked to note it.
func TestNobodyStandsInForWhoAnswers(t *testing.T) {
	const p = 1
	w, cut := cutOffWorld(t, 3)
	if got := w.node(2).standIn(wire.OpCommand, keyIn(p, 0), "put x", 1); got.code != wire.OwnerUp {
		t.Errorf("the fallback reaches the owner: %v", got)
	}
	w.net.setHook(func(f *passing) treatment {
		if f.from == nodeID(2) && f.to == nodeID(1) {
			return sever
		}
		return deliver
	})
	if got := w.node(2).standIn(wire.OpCommand, keyIn(p, 0), "put x", 1); got.code != wire.OwnerUp || !strings.Contains(string(got.body), string(nodeID(1))) {
		t.Errorf("another member reaches the owner: %v", got)
	}
	w.net.setHook(nil)
	cut.Store(false)
	w.settled()
}

// With one replica a fallback takes nothing unless a majority of the other members
// has noted it: the owner could not find out.
func TestStandInNeedsAMajority(t *testing.T) {
	const p = 1
	w := newWorld(t, 3, 1)
	w.node(1).stop()
	w.node(3).stop()
	if got := w.node(2).standIn(wire.OpCommand, keyIn(p, 0), "put x", 1); got.code != wire.Unavailable || !strings.Contains(string(got.body), "1 of 2") {
		t.Errorf("%v", got)
	}
	w.node(3).start()
	w.until("the third node has noted it", func() bool {
		return w.node(2).standIn(wire.OpCommand, keyIn(p, 0), "put x", 1).code == wire.OK
	})
	w.node(1).start()
	w.settled()
	w.node(1).mustGet(keyIn(p, 0), "x")
}

// All nodes restart and the holder does not come back: the others know of it, and the
// owner says so instead of what it had. Told to do without, it answers that.
func TestAllRestartWithoutTheHolder(t *testing.T) {
	const p = 1
	accept := false
	w := newWorld(t, 3, 1, func(n *simNode) {
		n.tune = func(c *Config) { c.AcceptLoss = accept }
	})
	key := keyIn(p, 0)
	w.node(1).mustPut(key, "old")
	w.node(1).stop()
	if got := w.node(2).standIn(wire.OpCommand, key, "put new", 1); got.code != wire.OK {
		t.Fatal(got)
	}
	if !w.node(3).m.Load().Held(nodeID(1), wire.ServiceID("kv"), p) {
		t.Fatal("node 3 has not noted that node 2 holds hints")
	}
	w.node(2).crash()
	w.node(3).crash()
	w.node(1).start()
	got := w.node(1).get(key)
	if got.code != wire.Unavailable || !strings.Contains(string(got.body), "--accept-loss") {
		t.Errorf("nobody else is there: %v", got)
	}
	w.node(3).start()
	w.until("node 1 hears of the holder", func() bool {
		got := w.node(1).get(key)
		if got.code != wire.Unavailable {
			t.Fatalf("%v", got)
		}
		return strings.Contains(string(got.body), string(nodeID(2)))
	})
	w.node(1).mustRefuse(key, wire.Unavailable)
	w.until("the other partitions serve", func() bool { return w.node(1).get(keyIn(p+1, 0)).code == wire.OK })

	accept = true
	w.node(1).restart()
	w.node(1).mustGet(key, "old")
	accept = false
	w.node(2).start()
	w.settled()
	w.node(1).mustGet(key, "new")
}

// An owner that was cut off and has not noticed asks before it answers what a member
// passes on that knows of a holder, however late the holder itself comes.
func TestOwnerHearsOfHolderWithTheRequest(t *testing.T) {
	w, cut, key := stoodInWorld(t)
	w.net.setHook(func(f *passing) treatment { // its questions pass, nothing else does
		if (f.from == nodeID(1) || f.to == nodeID(1)) && (f.opened != wire.OpHintsFor || f.from != nodeID(1)) {
			return sever
		}
		return deliver
	})
	w.node(1).mustGet(key, "old") // a client of its side of the cut
	ask := func() answer {
		r := request(wire.OpRead, w.ring(), "kv", key, "")
		r.Flags = wire.FlagHeld
		r.Deadline = time.Now().Add(100 * time.Millisecond)
		return w.node(1).ask(r)
	}
	if got := ask(); got.code != wire.Deadline {
		t.Errorf("hints are to come: %v", got)
	}
	cut.Store(false)
	w.net.setHook(nil)
	w.settled()
	w.node(1).mustGet(key, "new")
}

// A holder tells the owner of itself when it reaches it again, before it delivers.
func TestOwnerHearsOfHolderWhenItIsBack(t *testing.T) {
	w, cut, key := stoodInWorld(t)
	w.net.setHook(func(f *passing) treatment {
		if f.opened == wire.OpHandoff {
			return sever
		}
		return deliver
	})
	cut.Store(false)
	w.until("the slot waits", func() bool {
		_ = w.node(1).get(keyIn(partitionOf(key), 1))
		return w.node(1).phase(partitionOf(key)) == recovering
	})
	w.net.setHook(nil)
	w.settled()
	w.node(1).mustGet(key, "new")
}

// A node that has not run for a while asks the others before it answers anything for
// a slot with one replica.
func TestOwnerThatDidNotRunAsks(t *testing.T) {
	const p = 1
	w := newWorld(t, 2, 1)
	w.node(1).mustPut(keyIn(p, 0), "old")
	m := w.node(1).m.Load()
	var asked atomic.Int32
	w.net.setHook(func(f *passing) treatment {
		if f.opened == wire.OpHintsFor && f.from == nodeID(1) && !f.answer {
			asked.Add(1)
		}
		return deliver
	})
	m.beatMu.Lock()
	before := asked.Load()
	m.beaten.Store(int64(time.Since(m.born) - 2*absentAfter))
	m.beatMu.Unlock()
	w.node(1).mustGet(keyIn(p, 0), "old")
	if asked.Load() == before {
		t.Error("it has asked nobody")
	}
}

// What a fallback acknowledges is later than what the owner has, although the owner's
// clock is ahead as far as is allowed.
func TestFallbackStampsAboveTheOwner(t *testing.T) {
	const p = 1
	w := newWorld(t, 2, 1, func(n *simNode) {
		n.tune = func(c *Config) {
			if n.id == nodeID(1) {
				c.Now = func() time.Time { return time.Now().Add(maxClockAhead - 10*time.Millisecond) }
			}
		}
	})
	key := keyIn(p, 0)
	w.node(1).mustPut(key, "old")
	w.node(1).stop()
	for _, value := range []string{"new", "newer", "newest"} {
		if got := w.node(2).standIn(wire.OpCommand, key, "put "+value, 1); got.code != wire.OK {
			t.Fatal(got)
		}
	}
	if ahead := int64(w.node(2).m.Load().clock.Latest()>>16) - time.Now().UnixMilli(); ahead > 100 {
		t.Errorf("the fallback's clock has run %d ms ahead", ahead)
	}
	w.node(1).start()
	w.settled()
	w.node(1).mustGet(key, "newest")
}

// A holder that has left the cluster is forgotten, and its owner waits for nobody.
func TestHolderThatHasLeftIsForgotten(t *testing.T) {
	const p = 1
	w := newWorld(t, 3, 1)
	m := w.node(3).m.Load()
	gone := nodeID(9) // no member
	n := &holderNote{ID: 1, Epoch: w.ring().Epoch, Slots: map[string][]ring.Partition{"kv": {p}}}
	if err := m.holders.put(nodeID(1), gone, n); err != nil {
		t.Fatal(err)
	}
	w.until("it is forgotten", func() bool { return len(m.holders.owners()) == 0 })
	if err := m.holders.put(nodeID(1), gone, n); err != nil {
		t.Fatal(err)
	}
	w.node(1).restart()
	w.node(1).mustGet(keyIn(p, 0), "")
}

// An owner that is told again and again of a holder which takes requests and answers
// none says so, or serves if it is to do without.
func TestDoubtsWithoutEnd(t *testing.T) {
	for _, accept := range []bool{false, true} {
		t.Run(fmt.Sprint("accept loss ", accept), func(t *testing.T) {
			w := newWorld(t, 3, 1, func(n *simNode) { n.tunedBy(func(c *Config) { c.AcceptLoss = accept }) })
			key := keyIn(1, 0)
			w.node(1).mustPut(key, "old")
			w.node(1).stop()
			if got := w.node(2).standIn(wire.OpCommand, key, "put new", 1); got.code != wire.OK {
				t.Fatal(got)
			}
			w.net.setHook(func(f *passing) treatment {
				if f.from == nodeID(2) || f.to == nodeID(2) {
					return lose
				}
				return deliver
			})
			w.node(1).start()
			want := wire.Unavailable
			if accept {
				want = wire.OK
			}
			w.until("node 1 says how it is", func() bool { return w.node(1).get(key).code == want })
			w.net.setHook(nil)
			w.node(2).restart() // its pipes would wait long for what was lost
			w.settled()
			w.node(1).mustGet(key, "new")
		})
	}
}

// A node that has not run, and finds nobody when it does again, does not take that for
// having asked.
func TestOwnerThatDidNotRunAndReachesNobody(t *testing.T) {
	var alone atomic.Bool
	w := newWorld(t, 3, 1, func(n *simNode) {
		n.tune = func(c *Config) {
			up := c.Up
			c.Up = func(id ring.NodeID) bool { return up(id) && (c.Node != nodeID(1) || !alone.Load()) }
		}
	})
	key := keyIn(1, 0)
	w.node(1).mustPut(key, "old")
	m := w.node(1).m.Load()
	w.until("it has seen the others", func() bool { return m.upBefore.Load() == 2 })
	w.net.setHook(func(f *passing) treatment {
		if alone.Load() && (f.from == nodeID(1) || f.to == nodeID(1)) {
			return sever
		}
		return deliver
	})
	alone.Store(true)
	m.beatMu.Lock()
	m.beaten.Store(int64(time.Since(m.born) - 2*absentAfter))
	m.beatMu.Unlock()
	w.node(1).mustRefuse(key, wire.Unavailable)
	alone.Store(false)
	w.until("it answers when it has asked", func() bool { return w.node(1).get(key).code == wire.OK })
}

// Who comes when the node closes is told so, however many they are.
func TestClaimsWhileClosing(t *testing.T) {
	w := newWorld(t, 2, 1)
	m := w.node(1).m.Load()
	id := vnodeID{service: wire.ServiceID("kv"), partition: 1, fallback: nodeID(2)}
	w.node(1).stop()
	for range 3 {
		if err := m.awaitClaim(id); !errors.Is(err, &wire.Error{Code: wire.ShuttingDown}) {
			t.Errorf("a claim of a node that is closed: %v", err)
		}
	}
}

// While the gate of a slot that has come into doubt is made anew, reads wait for that: the
// gate of before would let them see what the slot had.
func TestReadsWaitForTheGateOfADoubt(t *testing.T) {
	w := newWorld(t, 2, 1)
	n, key := w.node(1), keyIn(1, 0)
	n.mustPut(key, "old")
	m := n.m.Load()
	id := vnodeID{service: wire.ServiceID("kv"), partition: 1}
	v := m.services[id.service].vnodes[id.partition].Load()
	m.doubt([]vnodeID{id})
	m.mu.Lock() // the gate waits for it
	w.net.setHook(func(*passing) treatment { return lose })
	first, _ := n.send(request(wire.OpCommand, w.ring(), "kv", key, "put new"))
	w.until("the worker looks at it", func() bool { return len(v.inbox) == 0 })
	var reads []<-chan answer
	for range 200 { // some come while it is at the gate
		read, _ := n.send(request(wire.OpRead, w.ring(), "kv", key, ""))
		reads = append(reads, read)
	}
	early := 0
	for _, read := range reads {
		select {
		case <-read:
			early++
		default:
		}
	}
	m.mu.Unlock()
	if early > 0 {
		t.Errorf("%d reads were answered meanwhile", early)
	}
	w.net.setHook(nil)
	<-first
}
