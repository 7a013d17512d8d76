package dataplane

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

func TestWriteReachesAllSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c*"), "a", "b", "c")
		_, err := c.command("b", "put 1", want(wire.QuorumAll))
		wantOK(t, err)
		for id, x := range c.nodes {
			if got := x.value("k", ""); got != "1" {
				t.Errorf("%s holds %q", id, got)
			}
		}
		if n := c.frames("op=16 flags=2"); n != 2 {
			t.Errorf("%d fresh effects", n)
		}
	})
}

func TestCommandWithoutWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		got, err := c.command("a", "nop")
		wantOK(t, err)
		if got != "nothing" || len(c.sent) != 0 {
			t.Fatal(got, c.sent)
		}
	})
}

// With some replicas failing, the write is acknowledged or not by the same arithmetic
// whatever way they fail.
func TestWriteQuorum(t *testing.T) {
	for _, x := range []struct {
		w, pw  wire.Quorum
		flags  wire.CallFlags
		fails  int
		refuse string // "" if it is met
	}{
		{w: 0, fails: 0},
		{w: 0, fails: 1},
		{w: 1, fails: 2},
		{w: wire.QuorumMajority, fails: 1},
		{w: wire.QuorumAll, fails: 0},
		{w: 0, fails: 2, refuse: "reached 1 of 2 (3 slots)"},
		{w: 3, fails: 1, refuse: "reached 2 of 3 (3 slots)"},
		{w: wire.QuorumAll, fails: 1, refuse: "reached 2 of 3 (3 slots)"},
		{w: 1, pw: 2, fails: 2, refuse: "reached 1 of 2 (3 slots)"},
		{w: 4, refuse: "asked 4 of 3 slots"},
		{w: 1, pw: 4, refuse: "asked 4 of 3 slots"},
		{w: 3, fails: 2, flags: wire.CallSloppy},
		{w: 3, pw: 1, fails: 2, flags: wire.CallSloppy},
		{w: 3, pw: 2, fails: 2, flags: wire.CallSloppy, refuse: "reached"},
	} {
		for _, how := range []string{"down", "unavailable", "maybe", "late", "overload"} {
			t.Run(fmt.Sprintf("w=%d,pw=%d,flags=%d,fails=%d,%s", x.w, x.pw, x.flags, x.fails, how), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := withOwners(abc("a", "b", "c"), "d", "e")
					c := newFakeCluster(t, 3, g, "a", "b", "c", "d", "e")
					c.fail(how, []ring.NodeID{"b", "c"}[:x.fails])
					limit := countFor
					if x.refuse != "" && (how == "unavailable" || how == "maybe") {
						limit += noticeWithin // they are up: they are tried again
					}
					begun := time.Now()
					_, err := c.command("a", "put 1", want(x.w), wantPrimary(x.pw), flagged(x.flags))
					if x.refuse != "" {
						wantCode(t, err, wire.QuorumNotMet, x.refuse)
					} else if x.flags == 0 || how != "late" { // a hint that begins at the deadline is too late
						wantOK(t, err)
					}
					if took := time.Since(begun); how != "late" && took > limit {
						t.Errorf("took %v", took)
					}
					time.Sleep(time.Minute)
					c.wantHints(x.refuse, x.fails)
				})
			})
		}
	}
}

// fail makes the effects to some nodes fail.
func (c *fakeCluster) fail(how string, nodes []ring.NodeID) {
	if how == "down" {
		for _, id := range nodes {
			c.nodes[id].down.Store(true)
		}
		for _, x := range c.nodes {
			x.router.away = func(id ring.NodeID) bool { return !c.up(id) }
		}
		return
	}
	c.meddle = func(from, to ring.NodeID, h wire.Header, _ []byte) (wire.Frame, error, bool) {
		if !slices.Contains(nodes, to) || h.Op != wire.OpEffect {
			return wire.Frame{}, nil, false
		}
		switch how {
		case "late":
			time.Sleep(20 * time.Second)
		case "unavailable":
			return wire.Frame{}, wire.Errorf(wire.Unavailable, "unsent"), true
		case "overload":
			return reply(wire.Overload, 10, nil), nil, true
		}
		return wire.Frame{}, wire.Errorf(wire.Maybe, "broke"), true
	}
}

// wantHints checks that each failed slot's effect lies at a fallback: once, and not with another slot.
func (c *fakeCluster) wantHints(refusal string, fails int) {
	if refusal != "" && fails == 0 {
		return // refused before anything ran
	}
	for _, missed := range []ring.NodeID{"b", "c"}[:fails] {
		if c.nodes["d"].value("k", missed) != "1" && c.nodes["e"].value("k", missed) != "1" {
			c.t.Errorf("no fallback keeps what %s missed", missed)
		}
		if c.nodes[missed].value("k", "") != "" {
			c.t.Errorf("%s has it", missed)
		}
	}
}

// One node is one acknowledgement: what the coordinator keeps for others does not count.
func TestHintKeptHereDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 2, abc("a", "b"), "a", "b")
		c.nodes["b"].down.Store(true)
		_, err := c.command("a", "put 1", flagged(wire.CallSloppy))
		wantCode(t, err, wire.QuorumNotMet, "reached 1 of 2 (2 slots)")
		synctest.Wait()
		if got := c.nodes["a"].value("k", "b"); got != "1" {
			t.Fatalf("the hint is %q", got)
		}
	})
}

// A fallback that fails too leaves the hint with the coordinator.
func TestHintFallsBackToCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, withOwners(abc("a", "b", "c"), "d"), "a", "b", "c", "d")
		c.nodes["c"].down.Store(true)
		c.nodes["d"].local.gate = func(*wire.Request) wire.Code { return wire.Overload }
		_, err := c.command("a", "put 1")
		wantOK(t, err)
		synctest.Wait()
		if got := c.nodes["a"].value("k", "c"); got != "1" {
			t.Fatalf("the hint is %q", got)
		}
	})
}

func TestSuperseded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		c.nodes["b"].put(partitionOf("k"), "k", "newer", 1000, false)
		c.nodes["c"].put(partitionOf("k"), "k", "newer", 1000, false)
		_, err := c.command("a", "put mine")
		wantOK(t, err)
		synctest.Wait()
		for id, x := range c.nodes {
			if got := x.value("k", ""); got != "mine" {
				t.Errorf("%s holds %q", id, got)
			}
		}
		if n := c.nodes["a"].local.runs; n != 2 {
			t.Errorf("ran %d times", n)
		}
	})
}

// What a request leaves to the default its bucket says.
func TestBucketsSayTheDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		props := wire.BucketProps{W: wire.QuorumAll, R: wire.QuorumAll}
		c.nodes["a"].router.buckets = func(bucket string) wire.BucketProps {
			if bucket != "b" {
				t.Errorf("asked of bucket %q", bucket)
			}
			return props
		}
		c.nodes["c"].down.Store(true)
		_, err := c.command("a", "put 1")
		wantCode(t, err, wire.QuorumNotMet, "2 of 3")
		_, err = c.query("a")
		wantCode(t, err, wire.QuorumNotMet, "2 of 3")
		_, err = c.command("a", "put 2", want(2))
		wantOK(t, err)
		props = wire.BucketProps{}
		_, err = c.query("a")
		wantOK(t, err)
	})
}

// A command that reads cannot run again: that a replica holds what it has not seen is
// its caller's business, whatever the others say.
func TestSupersededCommandThatReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		c.nodes["b"].put(partitionOf("k"), "k", "newer", 1000, false)
		_, err := c.command("a", "add", want(3))
		wantCode(t, err, wire.QuorumNotMet, "has not seen")
		if n := c.nodes["a"].local.runs; n != 1 {
			t.Errorf("ran %d times", n)
		}
	})
}

func TestSupersededForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		c.meddle = func(_, _ ring.NodeID, h wire.Header, _ []byte) (wire.Frame, error, bool) {
			return reply(wire.Superseded, 10, wire.Stamp{Time: 5}.Append(nil)), nil, h.Op == wire.OpEffect
		}
		_, err := c.command("a", "put mine")
		wantCode(t, err, wire.QuorumNotMet, "w=2 not met")
		if n := c.nodes["a"].local.runs; n != 1+maxSuperseded {
			t.Errorf("ran %d times", n)
		}
	})
}

// One replica holds a stamp that this node's clock may not follow, as one whose clock was
// far ahead has left it: what replaces it is stamped above it, and counts everywhere.
func TestSupersededBeyondTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		for _, x := range c.nodes {
			x.local.behind = true
		}
		c.nodes["c"].put(partitionOf("k"), "k", "ahead", 1000, false)
		_, err := c.command("a", "put mine", want(3))
		wantOK(t, err)
		for id, x := range c.nodes {
			x.local.mu.Lock()
			it := x.local.slots[partitionOf("k")]["k"]
			x.local.mu.Unlock()
			if string(it.Value) != "mine" || it.Stamp.Time != 1001 {
				t.Errorf("%s has %q of time %d", id, it.Value, it.Stamp.Time)
			}
		}
	})
}

// A node whose clock is far behind stamps above what the others hold, though that does
// not take its clock along.
func TestCoordinatorWhoseClockIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		for id, x := range c.nodes {
			if x.local.behind = id == "a"; !x.local.behind {
				x.put(partitionOf("k"), "k", "newer", 1000, false)
			}
		}
		for range 3 {
			got, err := c.command("a", "put mine")
			wantOK(t, err)
			if got != "done by a" {
				t.Error(got)
			}
		}
		if n := c.nodes["a"].local.runs; n != 4 {
			t.Errorf("ran %d times, want once more for the first", n)
		}
		got, err := c.query("b", want(2))
		wantOK(t, err)
		if got != "mine" {
			t.Errorf("the value is %q", got)
		}
	})
}

// A replica set that was rebuilt: a blind command is planned anew, any other fails.
func TestStaleReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 2, abc("a", "b"), "a", "b", "c")
		g := listRing(11, 6, "a", "c")
		for p := range g.Assignments {
			g.Assignments[p].Rebuilt = 6
		}
		c.learn(g, "c")
		c.meddle = func(_, to ring.NodeID, h wire.Header, _ []byte) (wire.Frame, error, bool) {
			return reply(wire.Stale, 11, nil), nil, to == "b"
		}
		_, err := c.command("a", "put 1", want(2))
		wantOK(t, err)
		if got := c.nodes["c"].value("k", ""); got != "1" {
			t.Errorf("c holds %q", got)
		}
		c.nodes["a"].current.Store(abc("a", "b"))
		_, err = c.command("a", "add", want(2))
		wantCode(t, err, wire.QuorumNotMet, "reached 1 of 2")
	})
}

// The effect follows a slot that moved while the command ran, whoever waits for it.
func TestEffectFollowsMovedSlot(t *testing.T) {
	for _, body := range []string{"put *", "add"} {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "d")
			c.learn(listRing(11, 6, "a", "b", "d"), "b", "c", "d")
			_, err := c.command("a", body, want(wire.QuorumAll))
			wantOK(t, err)
			if got := c.nodes["d"].value("k", ""); got != "*" {
				t.Errorf("d holds %q", got)
			}
			if n := c.nodes["a"].local.runs; n != 1 {
				t.Errorf("ran %d times", n)
			}
		})
	}
}

// A replica that cannot learn the ring does not hold up a quorum without it.
func TestReplicaBehindDoesNotBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		c.nodes["c"].local.gate = func(*wire.Request) wire.Code { return wire.Behind }
		begun := time.Now()
		_, err := c.command("a", "put 1")
		wantOK(t, err)
		if took := time.Since(begun); took > 0 {
			t.Errorf("took %v", took)
		}
		_, err = c.command("a", "put 2", want(3))
		wantCode(t, err, wire.QuorumNotMet, "reached 2 of 3")
		time.Sleep(time.Second)
	})
}

// Two replicas refuse the coordinator's clock: another slot coordinates.
func TestClockAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		c.meddle = func(from, _ ring.NodeID, h wire.Header, _ []byte) (wire.Frame, error, bool) {
			return reply(wire.ClockAhead, 10, []byte("600 ms")), nil, h.Op == wire.OpEffect && from == "a"
		}
		got, err := c.command("a", "put 1")
		wantOK(t, err)
		if got == "done by a" {
			t.Error(got)
		}
		_, err = c.command("a", "add")
		wantCode(t, err, wire.QuorumNotMet, "reached 1 of 2")
	})
}

// The disk fails after the effect has gone out: a reading command may have run.
func TestLocalFailsAfterEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		broken := func(r *wire.Request) wire.Code {
			if r.Op == wire.OpCommand && r.OnEffect != nil {
				it := wire.Item{Key: []byte("k"), Value: []byte("1"), Stamp: wire.Stamp{Time: 9}}
				r.OnEffect(wire.AppendItem(nil, &it), nil)
			}
			return wire.Internal
		}
		c.nodes["a"].local.gate = broken
		_, err := c.command("a", "add")
		wantCode(t, err, wire.Maybe, "")
		got, err := c.command("a", "put 1")
		wantOK(t, err)
		if got == "done by a" {
			t.Error(got)
		}
		synctest.Wait()
	})
}

func TestNotReadableHereForwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c*"), "a", "b", "c")
		c.nodes["a"].local.gate = func(r *wire.Request) wire.Code {
			if r.Op != wire.OpEffect {
				return wire.NotReadable
			}
			return wire.OK
		}
		for _, at := range []ring.NodeID{"a", "c"} {
			got, err := c.command(at, "add")
			wantOK(t, err)
			if got != "done by b" {
				t.Error(got)
			}
		}
	})
}

// A hint that nobody can keep is not counted, and the write is answered all the same.
func TestHintKeptNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 2, abc("a", "b"), "a", "b")
		c.nodes["b"].down.Store(true)
		c.nodes["a"].local.gate = func(r *wire.Request) wire.Code {
			if r.Flags&wire.FlagFallback != 0 {
				return wire.Overload
			}
			return wire.OK
		}
		_, err := c.command("a", "put 1", want(1))
		wantOK(t, err)
		_, err = c.command("a", "put 2", flagged(wire.CallSloppy))
		wantCode(t, err, wire.QuorumNotMet, "reached 1 of 2")
		synctest.Wait()
		if got := c.nodes["a"].value("k", "b"); got != "" {
			t.Errorf("the hint is %q", got)
		}
		if got := c.nodes["a"].local.suspected.Load(); got != 2 {
			t.Errorf("of 2 writes that nobody keeps %d have the replicas compared", got)
		}
	})
}
