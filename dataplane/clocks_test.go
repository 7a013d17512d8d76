package dataplane

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// clockWorld is some nodes that ask each other for the time, in a bubble.
type clockWorld struct {
	t     *testing.T
	off   map[ring.NodeID]time.Duration // of the wall clocks
	up    map[ring.NodeID]*Clocks
	ticks int
}

func newClockWorld(t *testing.T, off map[ring.NodeID]time.Duration) *clockWorld {
	return &clockWorld{t: t, off: off, up: make(map[ring.NodeID]*Clocks)}
}

// start starts nodes, again if they run.
func (w *clockWorld) start(nodes ...ring.NodeID) {
	for _, n := range nodes {
		w.up[n] = NewClocks(func() time.Time { return time.Now().Add(w.off[n]) })
	}
}

// run lets time pass. An exchange takes some milliseconds, longer one way.
func (w *clockWorld) run(d time.Duration) {
	for ; d > 0; d -= tendEvery {
		nodes := slices.Sorted(maps.Keys(w.up))
		if w.ticks%int(clockEvery/tendEvery) == 0 {
			for _, a := range nodes {
				for _, b := range nodes {
					if a != b {
						sent := time.Now()
						time.Sleep(3 * time.Millisecond)
						told := w.up[b].tell()
						time.Sleep(time.Millisecond)
						w.up[a].hear(b, told, sent)
					}
				}
			}
		}
		for _, n := range nodes {
			members := slices.Sorted(maps.Keys(w.off))
			w.up[n].adjust(slices.DeleteFunc(members, func(m ring.NodeID) bool { return m == n }))
		}
		w.ticks++
		time.Sleep(tendEvery)
	}
}

// want checks how far the agreed time of the nodes that are up is from the right one.
func (w *clockWorld) want(what string, off time.Duration) {
	w.t.Helper()
	for n, c := range w.up {
		if d := time.Until(c.Now()) - off; d.Abs() > 20*time.Millisecond {
			w.t.Errorf("%s: the time of %s is off by %v, want %v", what, n, d+off, off)
		}
	}
}

// spread is how far the nodes' times are apart.
func (w *clockWorld) spread() time.Duration {
	var times []time.Time
	for _, c := range w.up {
		times = append(times, c.Now())
	}
	first := slices.MinFunc(times, time.Time.Compare)
	return slices.MaxFunc(times, time.Time.Compare).Sub(first)
}

// A node whose clock is wrong stamps as the others do: when they start together, when
// its clock is set while it runs, after its restart, and with one of the others down.
func TestOneWrongClockMovesNobody(t *testing.T) {
	for _, wrong := range []time.Duration{time.Hour, -time.Hour, 80 * 365 * 24 * time.Hour, 700 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			w := newClockWorld(t, map[ring.NodeID]time.Duration{"a": wrong, "b": 0, "c": 0})
			w.start("a", "b", "c")
			w.run(time.Second)
			w.want("from the start", 0)
			if off := w.up["a"].Offset(); (off - wrong).Abs() > 20*time.Millisecond {
				t.Errorf("a thinks that its clock is off by %v", off)
			}
			w.start("a")
			w.run(time.Second)
			w.want("after a restart", 0)

			w.off["a"] = 0
			w.run(time.Second)
			for range 20 {
				w.off["a"] = wrong - w.off["a"] // set, and set back
				w.run(tendEvery)
				w.want("while it runs", 0)
			}
			w.off["a"] = wrong
			w.run(time.Second)
			delete(w.up, "c")
			w.run(time.Minute)
			w.want("with c down", 0)
		})
	}
}

// A node that starts and reaches one that is sure takes its time, whatever its own
// clock says, and though the third one could decide and is down.
func TestStartTakesTheTimeOfThoseThatAreSure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newClockWorld(t, map[ring.NodeID]time.Duration{"a": 0, "b": 0, "c": 0})
		w.start("a", "b", "c")
		w.run(time.Second)
		delete(w.up, "c")
		w.off["a"] = time.Hour
		w.start("a")
		began := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.up["a"].await(t.Context(), func() bool { return true })
		}()
		w.run(4 * tendEvery)
		<-done
		if took := time.Since(began); took >= clockWait {
			t.Errorf("waited %v", took)
		}
		w.want("after the restart", 0)
	})
}

// The first node of three that starts has nobody to ask and goes by its own clock, a
// century ahead, but does not take the next one for sure; when both are sure they agree.
func TestANodeThatIsUnsureConvincesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const century = 100 * 365 * 24 * time.Hour
		w := newClockWorld(t, map[ring.NodeID]time.Duration{"a": century, "b": 0, "c": 0})
		w.start("a")
		w.run(time.Minute)
		w.want("alone of three", century)
		w.start("b")
		w.run(time.Second)
		w.want("two of three", 0)
		w.start("c")
		w.run(time.Second)
		w.want("all", 0)
	})
}

// Of two that do not agree nobody knows which is right: both follow the earlier, as fast
// as both can without losing each other. A node that is alone follows its own.
func TestTwoNodesFollowTheEarlierClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newClockWorld(t, map[ring.NodeID]time.Duration{"a": time.Hour, "b": 0})
		w.start("a", "b")
		w.run(time.Second)
		w.want("one ahead", 0)

		w.off = map[ring.NodeID]time.Duration{"a": 0, "b": -10 * time.Second}
		for range 100 {
			w.run(time.Second)
			if d := w.spread(); d > 20*time.Millisecond {
				t.Fatalf("%v apart", d)
			}
		}
		w.want("one set back", -10*time.Second)
	})
	synctest.Test(t, func(t *testing.T) {
		w := newClockWorld(t, map[ring.NodeID]time.Duration{"a": time.Hour})
		w.start("a")
		w.run(tendEvery)
		w.want("alone", time.Hour)
		w.off["a"] = time.Hour + time.Second
		w.run(10 * time.Second)
		w.want("alone, set", time.Hour+time.Second)
	})
}

// All clocks are set at once, ahead or back: the time follows slowly, and never stands.
func TestTheTimeRunsOnWhateverIsSet(t *testing.T) {
	for _, by := range []time.Duration{10 * time.Second, -10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w := newClockWorld(t, map[ring.NodeID]time.Duration{"a": 0, "b": 0, "c": 0})
			w.start("a", "b", "c")
			w.run(time.Second)
			w.off = map[ring.NodeID]time.Duration{"a": by, "b": by, "c": by}
			for range 100 {
				before := w.up["a"].Now()
				w.run(time.Second)
				if ran := w.up["a"].Now().Sub(before); ran < 800*time.Millisecond || ran > 1300*time.Millisecond {
					t.Fatalf("%v in a second", ran)
				}
				if d := w.spread(); d > 20*time.Millisecond {
					t.Fatalf("%v apart", d)
				}
			}
			w.want("in the end", by)
		})
	}
}

// A machine that has slept is behind, with its monotonic clock; it jumps to the others.
func TestANodeThatHasSlept(t *testing.T) {
	for _, names := range [][]ring.NodeID{{"a", "b"}, {"a", "b", "c"}} {
		synctest.Test(t, func(t *testing.T) {
			w := newClockWorld(t, map[ring.NodeID]time.Duration{})
			for _, n := range names {
				w.off[n] = 0
			}
			w.start(names...)
			w.run(time.Second)
			for n, c := range w.up { // an hour that a has not seen, but for its wall clock
				w.off[n] += time.Hour
				if n != "a" {
					c.born = c.born.Add(-time.Hour)
					c.adjusted += time.Hour
				}
			}
			w.run(time.Second)
			w.want("awake", time.Hour)
		})
	}
}

// A slow exchange says little, and does not replace what is known better; a clock that
// was set is noticed all the same. What is no time is no news.
func TestWhatATellingIsWorth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := NewClocks(nil), NewClocks(nil)
		slow := func(told []byte) {
			sent := time.Now()
			time.Sleep(800 * time.Millisecond) // all of it on the way back
			a.hear("b", told, sent)
		}
		a.hear("b", b.tell(), time.Now())
		slow(b.tell())
		a.adjust([]ring.NodeID{"b"})
		if off := a.Offset(); off.Abs() > 10*time.Millisecond {
			t.Errorf("off by %v after a slow exchange", off)
		}
		b.wall = func() time.Time { return time.Now().Add(-time.Hour) }
		slow(b.tell())
		a.adjust([]ring.NodeID{"b"})
		if off := a.Offset(); (off - time.Hour).Abs() > time.Second {
			t.Errorf("off by %v from a clock that was set", off)
		}
		for _, told := range [][]byte{nil, make([]byte, clockTold-1), slices.Repeat([]byte{255}, clockTold)} {
			was := a.heard["b"]
			if a.hear("b", told, time.Now()); a.heard["b"] != was {
				t.Errorf("%d bytes were believed", len(told))
			}
		}
		a.adjust([]ring.NodeID{})
		if len(a.heard) > 0 {
			t.Error("who is no member is still known")
		}
	})
}

// Nobody waits for those who are down, nor long for those who do not tell the time.
func TestAwaitTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took := func(ctx context.Context, anybody bool) time.Duration {
			began := time.Now()
			NewClocks(nil).await(ctx, func() bool { return anybody })
			return time.Since(began)
		}
		stopped, stop := context.WithCancelCause(t.Context())
		stop(errors.New("the node closes"))
		if a, b, c := took(t.Context(), false), took(t.Context(), true), took(stopped, true); a != 0 || b != clockWait || c != 0 {
			t.Errorf("waited %v for nobody, %v for the silent, %v when stopped", a, b, c)
		}
	})
}

// Real Peers ask a real Server, and only peers are told.
func TestPeersTellTheTime(t *testing.T) {
	theirs := NewClocks(func() time.Time { return time.Now().Add(-time.Hour) })
	theirs.adjust([]ring.NodeID{})
	b := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: echo, Clocks: theirs})
	own := NewClocks(nil)
	p := dialPeers(t, PeersConfig{Clocks: own, Members: func() []ring.NodeID { return []ring.NodeID{"b"} }}, b)
	p.AwaitTime(soon(t))
	if d := own.Now().Sub(theirs.Now()); d.Abs() > clockSlack {
		t.Errorf("%v apart", d)
	}
}

// A node that gossip knows and that cannot be reached for the time is not taken for down:
// nobody needed it. It is as soon as somebody does.
func TestAskingForTheTimeTakesNobodyForDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int32
		live := NewLiveness("a")
		live.GossipAlive("b", true)
		p := NewPeers(PeersConfig{
			Identity: identity("a"), Liveness: live, Clocks: NewClocks(nil),
			Members: func() []ring.NodeID { return []ring.NodeID{"b"} },
			Resolve: func(ring.NodeID) (string, bool) { return "b:1", true },
			Connect: func(context.Context, string) (net.Conn, error) { dials.Add(1); return nil, errors.New("refused") },
		})
		time.Sleep(2 * time.Second)
		if !live.Up("b") || dials.Load() < 3 {
			t.Errorf("up %v after %d dials", live.Up("b"), dials.Load())
		}
		if _, err := p.Call(t.Context(), "b", wire.Header{Op: wire.OpRead}, nil); err == nil || live.Up("b") {
			t.Errorf("%v, and b is up %v", err, live.Up("b"))
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}
