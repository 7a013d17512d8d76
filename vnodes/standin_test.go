package vnodes

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// insist asks the node as the fallback of owner until it answers.
func (n *simNode) insist(op wire.Op, key, body string, owner int) (value string) {
	n.w.t.Helper()
	var got answer
	n.w.until(fmt.Sprintf("node %s stands in for %d", n.id, owner), func() bool {
		got = n.standIn(op, key, body, owner)
		return got.code == wire.OK
	})
	return string(got.body[min(8, len(got.body)):])
}

// twoFallbacks makes a world in which node 2 has stood in for node 1, taken "first" and
// died.
func twoFallbacks(t *testing.T, change ...func(*simNode)) (w *world, key string) {
	t.Helper()
	w, key = newWorld(t, 4, 1, change...), keyIn(1, 0)
	w.node(1).mustPut(key, "old")
	w.node(1).stop()
	w.node(2).insist(wire.OpCommand, key, "put first", 1)
	w.node(2).crash()
	return w, key
}

// A second fallback answers nothing while the first one, which may have newer values,
// cannot be reached; then it has those, and the first one asks in its turn.
func TestSecondFallbackAsksTheFirst(t *testing.T) {
	w, key := twoFallbacks(t)
	for _, op := range []wire.Op{wire.OpCommand, wire.OpRead} {
		got := w.node(3).standIn(op, key, "put second", 1)
		if text := string(got.body); got.code != wire.Unavailable || !strings.Contains(text, string(nodeID(2))) || !strings.Contains(text, "--accept-loss") {
			t.Errorf("operation %d while node 2 is down: %v", op, got)
		}
	}
	w.node(2).start()
	if got := w.node(3).insist(wire.OpRead, key, "", 1); got != "first" {
		t.Errorf("node 3 reads %q", got)
	}
	w.node(3).insist(wire.OpCommand, key, "put second", 1)
	if got := w.node(2).insist(wire.OpRead, key, "", 1); got != "second" {
		t.Errorf("node 2 reads %q", got)
	}
	w.node(2).insist(wire.OpCommand, key, "put third", 1)
	w.node(1).start()
	w.settled()
	w.node(1).mustGet(key, "third")
}

// The first fallback's clock is ahead of the second's: what the second one takes is
// newer all the same.
func TestSecondFallbackStampsAboveTheFirst(t *testing.T) {
	w, key := twoFallbacks(t, func(n *simNode) {
		if n.id == nodeID(2) {
			n.tune = func(c *Config) {
				c.Now = func() time.Time { return time.Now().Add(maxClockAhead - 10*time.Millisecond) }
			}
		}
	})
	w.node(2).start()
	w.node(3).insist(wire.OpCommand, key, "put second", 1)
	w.node(2).stop()
	w.node(1).start()
	w.node(2).start()
	w.settled()
	w.node(1).mustGet(key, "second")
}

// A node that is to do without what others may hold stands in without asking twice.
func TestSecondFallbackAcceptsLoss(t *testing.T) {
	w, key := twoFallbacks(t, func(n *simNode) { n.tune = func(c *Config) { c.AcceptLoss = n.id == nodeID(3) } })
	if got := w.node(3).standIn(wire.OpCommand, key, "put second", 1); got.code != wire.OK {
		t.Error(got)
	}
	w.node(2).start()
	w.node(1).start()
	w.settled()
}

// A fallback that was restarted has to claim its slots anew: without the others it
// does not know whether anybody has stood in after it.
func TestRestartedFallbackAsksAgain(t *testing.T) {
	w, key := twoFallbacks(t)
	w.node(3).stop()
	w.node(4).stop()
	w.node(2).start()
	if got := w.node(2).standIn(wire.OpRead, key, "", 1); got.code != wire.Unavailable {
		t.Errorf("with nobody to ask: %v", got)
	}
	w.node(3).start()
	if got := w.node(2).insist(wire.OpRead, key, "", 1); got != "first" {
		t.Errorf("read %q", got)
	}
	w.node(4).start()
	w.node(1).start()
	w.settled()
}

// Handing over breaks at each of its frames once: nobody answers something old
// meanwhile, and nothing is lost.
func TestHandOverThatBreaks(t *testing.T) {
	w, key := twoFallbacks(t, smallChunks)
	w.node(2).start()
	for i := 1; i < 30; i++ {
		w.node(2).insist(wire.OpCommand, keyIn(1, i), "put first", 1)
	}
	var at, broken atomic.Int32
	w.net.setHook(func(f *passing) treatment {
		if f.opened == wire.OpHandoff && f.n == int(at.Load()) && broken.CompareAndSwap(at.Load(), at.Load()+1) {
			return sever
		}
		return deliver
	})
	last := "first"
	for ; at.Load() < 6; at.Add(1) {
		n := w.node(3 - int(at.Load())%2) // each takes over from the other
		if got := n.insist(wire.OpRead, key, "", 1); got != last {
			t.Errorf("frame %d broke: node %s reads %q, want %q", at.Load(), n.id, got, last)
		}
		last = fmt.Sprint("after frame ", at.Load())
		n.insist(wire.OpCommand, key, "put "+last, 1)
		if got := n.insist(wire.OpRead, keyIn(1, 29), "", 1); got != "first" {
			t.Errorf("frame %d broke: node %s reads %q", at.Load(), n.id, got)
		}
	}
	if broken.Load() != 6 {
		t.Errorf("%d streams broke", broken.Load())
	}
	w.node(1).start()
	w.settled()
	w.node(1).mustGet(key, last)
	w.node(1).mustGet(keyIn(1, 29), "first")
}

// Two nodes that are taken for the fallback at the same time never answer something
// older than what either has acknowledged.
func TestTwoFallbacksAtOnce(t *testing.T) {
	w, key := twoFallbacks(t)
	w.node(2).start()
	var acked atomic.Int64
	var over atomic.Bool
	var readers sync.WaitGroup
	for _, n := range []int{2, 3} {
		readers.Go(func() {
			for pause(t.Context(), time.Millisecond) && !over.Load() {
				before := acked.Load()
				got := w.node(n).standIn(wire.OpRead, key, "", 1)
				var version int64
				if got.code != wire.OK {
					continue
				}
				if _, err := fmt.Sscan(string(got.body[8:]), &version); err == nil && version < before {
					t.Errorf("node %d answers %d, and %d was acknowledged", n, version, before)
				}
			}
		})
	}
	version, turns := int64(0), 0
	w.until("each has had five turns", func() bool {
		version++
		if got := w.node(2+turns%2).standIn(wire.OpCommand, key, fmt.Sprint("put ", version), 1); got.code == wire.OK {
			acked.Store(version)
			turns++
		}
		return turns == 10
	})
	over.Store(true)
	readers.Wait()
	w.node(1).start()
	w.settled()
	w.node(1).mustGet(key, fmt.Sprint(acked.Load()))
}

// What fallbacks have stamped ahead of all clocks moves nobody's: not that of the next
// fallback, nor the owner's, nor that of a fallback that restarts.
func TestStandInStampsMoveNoClock(t *testing.T) {
	w, key := twoFallbacks(t)
	check := func(when string) {
		t.Helper()
		for i, n := range w.nodes {
			if m := n.m.Load(); m != nil {
				if ahead := int64(m.clock.Latest()>>16) - time.Now().UnixMilli(); ahead > 50 {
					t.Errorf("%s the clock of node %s is %d ms ahead", when, i, ahead)
				}
			}
		}
	}
	w.node(2).start()
	w.node(2).insist(wire.OpRead, key, "", 1)
	check("when a fallback has restarted,")
	w.node(2).insist(wire.OpCommand, key, "put again", 1)
	w.node(3).insist(wire.OpCommand, key, "put second", 1)
	check("when another one has taken over,")
	w.node(1).start()
	w.until("the hints are delivered", func() bool { return w.node(3).m.Load().Holding() == 0 })
	check("when the owner has the hints,")
	w.do(move(1, 0, 1, 4))
	w.node(4).mustPut(key, "third")
	check("when the slot has moved,")
	w.settled()
	w.node(4).mustGet(key, "third")
}

// An owner goes on when the clocks have nearly overtaken what fallbacks have stamped,
// also when it restarts meanwhile: what it writes above that, the next one stamps above.
func TestOwnerGoesOnWhenClocksHaveOvertaken(t *testing.T) {
	w, key := twoFallbacks(t)
	w.node(2).start()
	w.node(2).insist(wire.OpCommand, key, "put again", 1)
	w.node(1).start()
	w.until("it has its hints", func() bool { return w.node(2).m.Load().Holding() == 0 })
	w.node(1).crash()
	w.node(1).start()
	w.node(1).mustPut(key, "third")
	wall := clockTime(time.Now())
	r, _, err := w.node(1).m.Load().services[wire.ServiceID("kv")].vnodes[1].Load().store.Latest([]byte(key))
	if err != nil || r.Stamp.Time > wall+clockSpan(maxClockAhead) {
		t.Errorf("the owner stamps %d ms ahead, %v", int64(r.Stamp.Time-wall)>>16, err)
	}
	w.node(1).stop()
	w.node(3).insist(wire.OpCommand, key, "put fourth", 1)
	w.node(1).start()
	w.settled()
	w.node(1).mustGet(key, "fourth")
}

// Hints that a leaver hands to another node are noted by a majority: the owner hears
// of them, whoever it asks.
func TestHandedHintsNeedAMajority(t *testing.T) {
	w := newWorld(t, 4, 1)
	key := keyIn(1, 0)
	w.node(1).stop()
	w.node(2).insist(wire.OpCommand, key, "put kept", 1)
	w.net.setHook(func(f *passing) treatment {
		if f.opened == wire.OpHolds && f.from != nodeID(2) {
			return sever
		}
		return deliver
	})
	w.node(2).leaving.Store(true)
	w.until("it has been tried", func() bool { return strings.Contains(w.node(2).log.String(), "not delivered yet") })
	if held := w.node(2).m.Load().Holding(); held != 1 {
		t.Errorf("the leaver holds %d stores", held)
	}
	w.net.setHook(nil)
	w.until("another has them", func() bool { return w.node(2).m.Load().Holding() == 0 })
	w.node(2).leaving.Store(false)
	w.node(1).start()
	w.settled()
	w.node(1).mustGet(key, "kept")
}
