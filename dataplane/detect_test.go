package dataplane

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// settled is how long it may take until a peer that is gone is known to be.
const settled = time.Second

// A peer of which nothing is heard any more: its process is stopped, or the link is cut
// both ways, or one way. What is under way ends within a second, the peer is down, and
// it is used again as soon as the way is open.
func TestSilentPeer(t *testing.T) {
	for name, cut := range map[string][2]bool{
		"both ways": {true, true}, "requests lost": {true, false}, "answers lost": {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCable(t, echo)
				live := NewLiveness("a")
				p := c.peers(t, live)
				if err := <-askOf(p, wire.OpCommand, nil, time.Second); err != nil {
					t.Fatal(err)
				}
				c.set(func() { c.cut = cut })
				begun := time.Now()
				if err := <-askOf(p, wire.OpCommand, nil, time.Minute); !hasCode(err, wire.Maybe) {
					t.Fatalf("the request ends with %v", err)
				}
				if took := time.Since(begun); took > settled || live.Up("b") {
					t.Fatalf("after %v: up %v", took, live.Up("b"))
				}
				if err := <-askOf(p, wire.OpCommand, nil, time.Minute); !hasCode(err, wire.Unavailable) {
					t.Fatalf("the next one ends with %v", err)
				}
				time.Sleep(10 * time.Second)
				c.set(func() { c.cut = [2]bool{} })
				begun = time.Now()
				<-live.Changed()
				if took := time.Since(begun); took > redialWait || !live.Up("b") {
					t.Fatalf("%v after the link was mended: up %v", took, live.Up("b"))
				}
				if err := <-askOf(p, wire.OpCommand, nil, time.Second); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// An idle peer is watched too, so that the first request for a while need not find out.
func TestSilentPeerWithoutRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCable(t, echo)
		live := NewLiveness("a")
		p := c.peers(t, live)
		<-live.Changed()
		time.Sleep(time.Minute)
		if !live.Up("b") || c.dials != 1 {
			t.Fatalf("up %v after %d dials", live.Up("b"), c.dials)
		}
		c.set(func() { c.cut = [2]bool{true, true} })
		begun := time.Now()
		<-live.Changed()
		if took := time.Since(begun); took > settled {
			t.Fatalf("down after %v", took)
		}
		_ = p
	})
}

// A peer that is merely slow stays up: a link of 100 ms, an answer that takes seconds, a
// stall of half a second, a frame that the link needs seconds for.
func TestSlowPeerStaysUp(t *testing.T) {
	for name, x := range map[string]struct {
		delay  time.Duration
		rate   int
		body   int
		answer time.Duration // until then the vnode does not answer
		stall  time.Duration
	}{
		"link of 100 ms": {delay: 100 * time.Millisecond},
		"slow vnode":     {answer: 4 * time.Second},
		"stall":          {stall: 500 * time.Millisecond},
		"narrow link":    {rate: 2 << 20, body: 8 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCable(t, handlerFunc(func(r *Request) {
					time.AfterFunc(x.answer, func() { r.Reply(wire.OK, 7, nil) })
				}))
				c.delay, c.rate = x.delay, x.rate
				live := NewLiveness("a")
				p := c.peers(t, live)
				<-live.Changed()
				down := live.Changed()
				for range 3 {
					if x.stall > 0 {
						c.set(func() { c.cut = [2]bool{true, true} })
						time.AfterFunc(x.stall, func() { c.set(func() { c.cut = [2]bool{} }) })
					}
					if err := <-askOf(p, wire.OpEffect, make([]byte, x.body), time.Minute); err != nil {
						t.Fatal(err)
					}
				}
				select {
				case <-down:
					t.Error("it was taken for down")
				default:
				}
			})
		})
	}
}
