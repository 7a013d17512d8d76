package dataplane

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

func TestReadMergesReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
		p := partitionOf("k")
		c.nodes["a"].put(p, "k", "old", 1, false)
		c.nodes["b"].put(p, "k", "new", 2, false)
		c.nodes["c"].put(p, "k", "new", 2, false)
		for _, at := range []ring.NodeID{"a", "b", "c", "x", "a", "a"} {
			if got, err := c.query(at); got != "new" || err != nil {
				t.Errorf("at %s: %q, %v", at, got, err)
			}
		}
		if got, err := c.query("a", want(1)); got != "old" || err != nil {
			t.Errorf("one replica: %q, %v", got, err)
		}
	})
}

func TestReadQuorum(t *testing.T) {
	for _, x := range []struct {
		name   string
		list   []string
		down   []ring.NodeID
		r, pr  wire.Quorum
		code   wire.Code
		refuse string
	}{
		{name: "all up", list: []string{"a", "b", "c"}, r: wire.QuorumAll},
		{name: "one down", list: []string{"a", "b", "c"}, down: []ring.NodeID{"c"}},
		{name: "two down", list: []string{"a", "b", "c"}, down: []ring.NodeID{"b", "c"}, code: wire.QuorumNotMet, refuse: "reached 1 of 2 (3 slots)"},
		{name: "two down, R=1", list: []string{"a", "b", "c"}, down: []ring.NodeID{"b", "c"}, r: 1},
		{name: "R=4", list: []string{"a", "b", "c"}, r: 4, code: wire.QuorumNotMet, refuse: "asked 4 of 3 slots"},
		{name: "PR=2 of 1", list: []string{"a", "b", "c"}, down: []ring.NodeID{"b", "c"}, r: 1, pr: 2, code: wire.QuorumNotMet, refuse: "reached 1 of 2"},
		{name: "a slot is catching up", list: []string{"a", "b", "c*"}},
		{name: "a slot is catching up, R=3", list: []string{"a", "b", "c*"}, r: 3, code: wire.QuorumNotMet, refuse: "asked 3 of 2 slots"},
		{name: "a slot is catching up, R=all", list: []string{"a", "b", "c*"}, r: wire.QuorumAll},
		{name: "nobody knows", list: []string{"a*", "b*"}, code: wire.Unavailable, refuse: "no replica"},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newFakeCluster(t, 3, abc(x.list...), "a", "b", "c")
				for _, id := range x.down {
					c.nodes[id].down.Store(true)
				}
				_, err := c.query("a", want(x.r), wantPrimary(x.pr))
				if x.refuse == "" {
					wantOK(t, err)
				} else {
					wantCode(t, err, x.code, x.refuse)
				}
			})
		})
	}
}

// A slow replica is not waited for: after 30 ms another is asked.
func TestHedging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		slow := map[ring.NodeID]bool{"b": true}
		c.meddle = func(_, to ring.NodeID, h wire.Header, _ []byte) (wire.Frame, error, bool) {
			if slow[to] {
				time.Sleep(3 * time.Second)
			}
			return wire.Frame{}, nil, false
		}
		hedged := 0
		for range 6 {
			begun := time.Now()
			_, err := c.query("a")
			wantOK(t, err)
			switch took := time.Since(begun); took {
			case 0:
			case hedgeAfter:
				hedged++
			default:
				t.Errorf("took %v", took)
			}
		}
		if hedged == 0 {
			t.Error("the slow replica was never asked first")
		}
		time.Sleep(time.Minute)
	})
}

// A slow coordinator is hedged too, wherever it is slow; one that fails is replaced at
// once, and of two answers the first counts.
func TestHedgingOfCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
		var fails atomic.Uint32 // the code of what the others answer
		c.meddle = func(_, to ring.NodeID, h wire.Header, _ []byte) (wire.Frame, error, bool) {
			switch code := wire.Code(fails.Load()); {
			case to == "a" && h.Op == wire.OpQuery:
				time.Sleep(2 * time.Second)
			case h.Op != wire.OpQuery || code == wire.OK:
			case code == wire.Maybe:
				return wire.Frame{}, wire.Errorf(code, "broke"), true
			default:
				return reply(code, 10, []byte("no")), nil, true
			}
			return wire.Frame{}, nil, false
		}
		hedged := 0
		for range 6 {
			begun := time.Now()
			_, err := c.query("x")
			wantOK(t, err)
			switch took := time.Since(begun); took {
			case 0:
			case relayHedge:
				hedged++
			default:
				t.Errorf("took %v", took)
			}
		}
		if hedged == 0 {
			t.Error("the slow coordinator was never asked first")
		}
		// Now the slow one is the only one that answers: what another one says does not
		// count while its answer is to come.
		for _, code := range []wire.Code{wire.Maybe, wire.QuorumNotMet} {
			fails.Store(uint32(code))
			for range 6 {
				if _, err := c.query("x"); err != nil {
					t.Errorf("the others answer %v: %v", code, err)
				}
			}
		}
		time.Sleep(time.Minute)
	})
}

// A slow vnode of the coordinator itself is hedged as well.
func TestHedgingSelf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		c.nodes["a"].local.gate = func(*wire.Request) wire.Code { time.Sleep(time.Second); return wire.OK }
		begun := time.Now()
		_, err := c.query("a", want(1))
		wantOK(t, err)
		if took := time.Since(begun); took != hedgeAfter {
			t.Errorf("took %v", took)
		}
		time.Sleep(time.Minute)
	})
}

// A replica that cannot answer is replaced at once.
func TestReadReplacesFailures(t *testing.T) {
	for _, code := range []wire.Code{wire.NotReadable, wire.Unavailable, wire.Overload, wire.Corrupt, wire.Moved, wire.Maybe} {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
			for _, broken := range []ring.NodeID{"a", "b"} {
				c.nodes["a"].local.gate, c.nodes["b"].local.gate = nil, nil
				c.nodes[broken].local.gate = func(*wire.Request) wire.Code { return code }
				begun := time.Now()
				_, err := c.query("a")
				wantOK(t, err)
				if took := time.Since(begun); took > 0 {
					t.Errorf("%s answers %v: took %v", broken, code, took)
				}
			}
		})
	}
}

func TestReadPlansAnewWhenReplicasMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 2, abc("a", "b"), "a", "b", "c")
		c.learn(listRing(11, 6, "a", "c"), "b", "c")
		_, err := c.query("a", want(2))
		wantOK(t, err)
		if n := c.frames("a>c op=17"); n != 1 {
			t.Error(c.sent)
		}
	})
}

func TestReadNotFoundFromService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		for _, x := range c.nodes {
			x.local.gate = func(*wire.Request) wire.Code { return wire.NotFound }
		}
		for _, r := range []wire.Quorum{1, 2, 3} {
			_, err := c.query("a", want(r))
			wantCode(t, err, wire.NotFound, "gate")
		}
		// One that knows does not outvote two that do not, nor they it: R like answers decide.
		c.nodes["a"].local.gate = nil
		_, err := c.query("a", want(2))
		wantCode(t, err, wire.NotFound, "")
		_, err = c.query("a", want(3))
		wantCode(t, err, wire.QuorumNotMet, "reached 1 of 3")
	})
}

func TestReadNeedsResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		c.info.Resolves = false
		_, err := c.query("a")
		wantOK(t, err)
		if len(c.sent) != 0 {
			t.Error(c.sent)
		}
		_, err = c.query("a", want(2))
		wantCode(t, err, wire.BadRequest, "r=1")
	})
}

func TestReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		c.meddle = func(_, to ring.NodeID, h wire.Header, _ []byte) (wire.Frame, error, bool) {
			time.Sleep(time.Minute)
			return wire.Frame{}, nil, false
		}
		begun := time.Now()
		_, err := c.query("a")
		wantCode(t, err, wire.Deadline, "reached 1 of 2 (3 slots)")
		if took := time.Since(begun); took > defaultTimeout {
			t.Errorf("took %v", took)
		}
		time.Sleep(2 * time.Minute)
	})
}

func TestReadResolveFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 2, abc("a", "b"), "a", "b")
		c.meddle = func(_, _ ring.NodeID, h wire.Header, _ []byte) (wire.Frame, error, bool) {
			return reply(wire.OK, 10, []byte{1}), nil, true // no item
		}
		_, err := c.query("a")
		wantCode(t, err, wire.Internal, "malformed")
	})
}

// With one replica the caller learns that the node is busy; with several, that too.
func TestReadOverload(t *testing.T) {
	for _, n := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeCluster(t, n, abc("a", "b", "c"), "a", "b", "c")
			for _, x := range c.nodes {
				x.local.gate = func(*wire.Request) wire.Code { return wire.Overload }
			}
			_, err := c.query("a")
			wantCode(t, err, wire.Overload, "")
		})
	}
}
