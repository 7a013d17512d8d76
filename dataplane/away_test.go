package dataplane

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// A node whose system answers for it, and it does not, is known to be away; one behind a
// link that is cut is not. Whoever is away is heard of as soon as it is back.
func TestAway(t *testing.T) {
	const soonBack = 10 * time.Millisecond
	for name, x := range map[string]struct {
		gone func(c *cable)
		away bool
		back time.Duration // until it is known, at most
	}{
		"it is stopped":   {func(c *cable) { c.cut, c.taken = [2]bool{true, true}, true }, true, soonBack},
		"it is not there": {func(c *cable) { c.refused = true }, true, redialWait}, // a real one says itself that it is back
		"it is cut off":   {func(c *cable) { c.cut = [2]bool{true, true} }, false, redialWait},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCable(t, echo)
				live := NewLiveness("a")
				p := c.peers(t, live)
				waitUp(t, live, "b", true)
				c.set(func() { x.gone(c) })
				if c.refused {
					c.hangUp()
				}
				waitUp(t, live, "b", false)
				if p.Away("b") {
					t.Error("it is away at once")
				}
				for range 200 {
					time.Sleep(awayAfter / 20)
					if away := p.Away("b"); away && !x.away {
						t.Fatal("it is away")
					}
				}
				if p.Away("b") != x.away {
					t.Errorf("after ten seconds: away %v", p.Away("b"))
				}
				c.set(func() { c.cut, c.taken, c.refused = [2]bool{}, false, false })
				begun := time.Now()
				waitUp(t, live, "b", true)
				if took := time.Since(begun); took > x.back || p.Away("b") {
					t.Errorf("up after %v, away %v", took, p.Away("b"))
				}
			})
		})
	}
}

// Who needs only a node that is away is refused at once. Where it is not known to be, or
// others of its replicas are there, he is kept waiting, since it may be back unnoticed.
func TestNobodyWaitsForWhoIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		for name, n := range map[string]int{"one replica": 1, "three": 3} {
			list := []string{"a", "b", "c"}[:n]
			c := newFakeCluster(t, n, withOwners(abc(list...), "f"), "a", "b", "c", "f", "x")
			for _, x := range c.nodes {
				x.router.away = func(ring.NodeID) bool { return away.Load() }
			}
			for _, id := range list[n/2:] { // the owner, or two of three
				c.nodes[ring.NodeID(id)].down.Store(true)
			}
			for _, at := range []ring.NodeID{"x", "a"} {
				if at == "a" && n == 1 {
					continue
				}
				for _, known := range []bool{false, true} {
					away.Store(known)
					begun := time.Now()
					_, err := c.query(at)
					took := time.Since(begun)
					if !hasCode(err, wire.Unavailable) && !hasCode(err, wire.QuorumNotMet) {
						t.Errorf("%s: a read at %s ends with %v", name, at, err)
					}
					if waited := took >= patience/2; waited == (known && n == 1) {
						t.Errorf("%s: a read at %s is refused after %v, known to be away: %v", name, at, took, known)
					}
				}
			}
		}
	})
}

// A node that goes on after it was stopped is heard of while a dial to it is still under
// way, which lies behind others there and comes to nothing: the node stays up, and who sends
// it something is not kept waiting for that dial.
func TestDialsOfBeforeSayNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCable(t, echo)
		live := NewLiveness("a")
		p := c.peers(t, live)
		waitUp(t, live, "b", true)
		c.set(func() { c.cut, c.taken = [2]bool{true, true}, true })
		waitUp(t, live, "b", false)
		time.Sleep(10 * time.Second)
		before := c.dialled()
		time.Sleep(10 * time.Second)
		if n := c.dialled() - before; n > 15 {
			t.Errorf("%d dials in 10 s wait for a node that is stopped", n)
		}
		time.Sleep(defaultDialTimeout/2 + tendEvery/2) // in the midst of one that was taken, and not as another ends
		c.set(func() { c.later = true })               // those that are there stay without an answer
		live.Worked("b")
		begun := time.Now()
		if err := <-askOf(p, wire.OpCommand, nil, time.Minute); err != nil || time.Since(begun) > 10*time.Millisecond {
			t.Errorf("a request ends with %v after %v", err, time.Since(begun))
		}
		for range 40 {
			time.Sleep(defaultDialTimeout / 20)
			if !live.Up("b") {
				t.Fatalf("it is down %v later", time.Since(begun))
			}
		}
		c.set(func() { c.cut, c.taken, c.later = [2]bool{}, false, false })
	})
}

// With one replica a fallback is asked for what an owner that is away has missed if a note
// says that somebody holds something, and not else; a write is brought to it all the same.
func TestFallbackOfWhoIsAwayIsAskedForWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, withOwners(abc("a"), "f", "g"), "a", "f", "g", "x")
		held := false
		x := c.nodes["x"].router
		x.away = func(id ring.NodeID) bool { return !c.up(id) }
		x.held = func(ring.NodeID, uint32, ring.Partition) bool { return held }
		c.nodes["a"].down.Store(true)
		_, err := c.query("x")
		wantCode(t, err, wire.Unavailable, "")
		if n := c.frames("x>"); n > 0 {
			t.Errorf("%d frames were sent for what nobody holds", n)
		}
		_, err = c.command("x", "put 1")
		wantOK(t, err)
		held = true
		got, err := c.query("x")
		wantOK(t, err)
		if got != "1" {
			t.Errorf("read %q", got)
		}
	})
}
