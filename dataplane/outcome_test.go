package dataplane

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// A disk of the coordinator's own that stands still does not hold up a blind write that
// two other slots have. A command that has read this copy waits for it.
func TestSlowDiskOfTheCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		c.nodes["a"].local.disk = func() { time.Sleep(3 * time.Second) }
		for cmd, want := range map[string]time.Duration{"put 1": 0, "add": 3 * time.Second} {
			begun := time.Now()
			got, err := c.command("a", cmd)
			wantOK(t, err)
			if took := time.Since(begun); took != want || got != "done by a" {
				t.Errorf("%s took %v: %q", cmd, took, got)
			}
		}
		begun := time.Now()
		_, err := c.command("a", "put 2", want(wire.QuorumAll))
		wantOK(t, err)
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("all slots took %v", took)
		}
		time.Sleep(time.Minute)
	})
}

// busy makes the vnodes of some nodes refuse what they are asked, but not for fallbacks.
func (c *fakeCluster) busy(nodes ...ring.NodeID) {
	c.gate(nodes, func(r *wire.Request) wire.Code {
		if r.Flags&wire.FlagFallback != 0 {
			return wire.OK
		}
		return wire.Overload
	})
}

// A replica with a full queue counts as one that fails. When too few others are left the
// caller hears of the overload at once.
func TestOverloadedReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
		try := func(code wire.Code, text string) {
			t.Helper()
			for _, at := range []ring.NodeID{"a", "b", "x"} {
				for _, cmd := range []string{"put 1", "get"} {
					begun := time.Now()
					var err error
					if cmd == "get" {
						_, err = c.query(at)
					} else {
						_, err = c.command(at, cmd)
					}
					switch {
					case code == wire.OK:
						if err != nil {
							t.Errorf("%s at %s: %v", cmd, at, err)
						}
					case cmd != "get" && code == wire.QuorumNotMet && err == nil:
						t.Errorf("%s at %s is acknowledged", cmd, at)
					case cmd == "get" && code == wire.QuorumNotMet:
						wantCode(t, err, wire.Overload, text)
					default:
						wantCode(t, err, code, text)
					}
					if took := time.Since(begun); took > countFor {
						t.Errorf("%s at %s took %v", cmd, at, took)
					}
				}
			}
		}
		c.busy("a")
		try(wire.OK, "")
		c.busy("a", "b")
		// A write that one slot has is no overload: that would say that nothing ran.
		try(wire.QuorumNotMet, "=2 not met: reached 1 of 2 (3 slots); ")
		c.busy("a", "b", "c")
		try(wire.Overload, "gate")
	})
}

// With one replica an owner that is busy is there: nobody stands in for it, and no
// fallback is asked.
func TestOverloadedOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, withOwners(abc("a"), "f"), "a", "f", "x")
		c.busy("a")
		for _, at := range []ring.NodeID{"a", "f", "x"} {
			begun := time.Now()
			_, err := c.command(at, "put 1")
			wantCode(t, err, wire.Overload, "gate")
			_, err = c.query(at)
			wantCode(t, err, wire.Overload, "gate")
			if took := time.Since(begun); took > 0 || c.nodes["f"].value("k", "a") != "" {
				t.Errorf("at %s after %v: the hint is %q", at, took, c.nodes["f"].value("k", "a"))
			}
		}
	})
}

// AT22: PR and PW count slots that hold the key by the ring. They fail while those are
// down, whatever fallbacks keep, and say so; they are met when they are up.
func TestPrimaryQuorums(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, withOwners(abc("a", "b", "c"), "d", "e"), "a", "b", "c", "d", "e")
		for _, x := range []struct {
			pr, pw wire.Quorum
			down   int
			r, w   string // what the refusals say; "" for none
		}{
			{pr: 3, pw: 3, down: 0},
			{pr: wire.QuorumAll, pw: wire.QuorumAll, down: 1, r: "pr=3 not met: reached 2 of 3 (3 slots)", w: "pw=3 not met: reached 2 of 3 (3 slots)"},
			{pr: wire.QuorumMajority, pw: wire.QuorumMajority, down: 1},
			{pr: 2, pw: 2, down: 2, r: "pr=2 not met: reached 1 of 2 (3 slots)", w: "pw=2 not met: reached 1 of 2 (3 slots)"},
			{pr: 1, pw: 1, down: 2},
			{pr: 4, pw: 4, r: "pr=4 cannot be met: asked 4 of 3 slots", w: "pw=4 cannot be met: asked 4 of 3 slots"},
		} {
			for i, id := range []ring.NodeID{"c", "b"} {
				c.nodes[id].down.Store(i < x.down)
			}
			_, err := c.command("a", "put 1", want(3-wire.Quorum(x.down)), wantPrimary(x.pw))
			_, sloppy := c.command("a", "put 1", want(3), flagged(wire.CallSloppy), wantPrimary(x.pw))
			_, read := c.query("a", want(1), wantPrimary(x.pr))
			for _, got := range []struct {
				err  error
				want string
			}{{err, x.w}, {sloppy, x.w}, {read, x.r}} {
				if got.want == "" {
					wantOK(t, got.err)
				} else {
					wantCode(t, got.err, wire.QuorumNotMet, got.want)
				}
			}
			synctest.Wait()
		}
	})
}

// AT25: who gives little time hears that it was too little, how many have the write, and
// what of a list is missing; the same with more time works.
func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		c.meddle = func(ring.NodeID, ring.NodeID, wire.Header, []byte) (wire.Frame, error, bool) {
			time.Sleep(50 * time.Millisecond)
			return wire.Frame{}, nil, false
		}
		for _, x := range c.nodes {
			x.local.coverGate = func(*wire.CoverCall, int) error { time.Sleep(50 * time.Millisecond); return nil }
			x.put(partitionOf("k"), "k", "0", 1, false)
		}
		call := wire.Call{Bucket: "b", Key: []byte("k"), Body: []byte("put 1")}
		for limit, ok := range map[time.Duration]bool{time.Millisecond: false, time.Minute: true} {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			_, err := c.nodes["a"].router.Query(ctx, testService, call)
			got := map[string]error{"get": err}
			ctx, cancel2 := context.WithTimeout(t.Context(), limit)
			_, got["put"] = c.nodes["a"].router.Command(ctx, testService, call)
			ctx, cancel3 := context.WithTimeout(t.Context(), limit)
			_, res, err := c.cover(ctx, "a", CoverOptions{})
			if wantOK(t, err); res.Complete != ok || ok != (len(res.Missing) == 0) {
				t.Errorf("a list within %v: %+v", limit, res)
			}
			for what, err := range got {
				switch {
				case ok:
					wantOK(t, err)
				case what == "put": // it has run here
					wantCode(t, err, wire.QuorumNotMet, "w=2 not met: reached 1 of 2")
				default:
					wantCode(t, err, wire.Deadline, "")
				}
			}
			cancel()
			cancel2()
			cancel3()
		}
		time.Sleep(time.Minute)
	})
}

// A sloppy read also asks fallbacks, for what they hold for slots that are down; one that
// holds nothing does not count, and none counts for PR.
func TestSloppyRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, withOwners(abc("a", "b", "c"), "d", "e"), "a", "b", "c", "d", "e")
		c.nodes["b"].down.Store(true)
		c.nodes["c"].down.Store(true)
		sloppy := func(call *wire.Call) { call.Flags |= wire.CallSloppy }
		_, err := c.query("a", sloppy)
		wantCode(t, err, wire.QuorumNotMet, "r=2 not met: reached 1 of 2 (3 slots)")
		_, err = c.command("a", "put 1", sloppy)
		wantOK(t, err)
		synctest.Wait() // both fallbacks have it
		for _, r := range []wire.Quorum{1, 2, 3} {
			got, err := c.query("a", sloppy, want(r), wantPrimary(1))
			wantOK(t, err)
			if got != "1" {
				t.Errorf("r=%d: %q", r, got)
			}
		}
		_, err = c.query("a", want(2))
		wantCode(t, err, wire.QuorumNotMet, "r=2 not met: reached 1 of 2 (3 slots)")
		_, err = c.query("a", sloppy, want(2), wantPrimary(2))
		wantCode(t, err, wire.QuorumNotMet, "pr=2 not met: reached 1 of 2 (3 slots)")
	})
}

// The original crashed in its caller when no node was up for a key (trap 8 of the
// tutorial), and its replicated variant took the first answer (trap 7): here the first is
// a clear error, never "not found", and the second waits for as many as were asked.
func TestNoNodeUp(t *testing.T) {
	for _, n := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeCluster(t, n, abc([]string{"a", "b", "c"}[:n]...), "a", "b", "c", "x")
			for _, id := range []ring.NodeID{"a", "b", "c"} {
				c.nodes[id].put(partitionOf("k"), "k", "v", 1, false)
				c.nodes[id].down.Store(true)
			}
			for _, cmd := range []string{"put 1", "add"} {
				_, err := c.command("x", cmd)
				wantCode(t, err, wire.Unavailable, "no replica of partition")
			}
			begun := time.Now()
			_, err := c.query("x")
			wantCode(t, err, wire.Unavailable, "no replica of partition")
			if took := time.Since(begun); took > patience+longestWait*2 {
				t.Errorf("n=%d: said after %v", n, took)
			}
		})
	}
}

func TestFirstAnswerAloneIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		for _, id := range []ring.NodeID{"b", "c"} { // the write reached a majority, without a
			c.nodes[id].put(partitionOf("k"), "k", "v", 1, false)
		}
		for range 6 {
			got, err := c.query("a")
			wantOK(t, err)
			if got != "v" {
				t.Errorf("read %q", got)
			}
		}
		time.Sleep(time.Second)
	})
}
