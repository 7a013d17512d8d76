package metadata

import (
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

func TestLimits(t *testing.T) {
	s := Birth(Member{ID: nodeID("a"), Name: "a", Weight: 1, Incarnation: 1}, 8, 1)
	apply := func(node ring.NodeID, l Limits, reset bool) wire.Code {
		c := SetLimits(node, l, reset)
		c.Version = CommandVersion
		next, err := step(s, &c)
		s = next
		if e, ok := err.(*wire.Error); ok {
			return e.Code
		}
		return wire.OK
	}
	a := nodeID("a")
	if got := s.LimitsOf(a); got != DefaultLimits() {
		t.Errorf("at birth %+v", got)
	}
	apply("", Limits{In: 4, BytesOut: 1 << 20}, false)
	apply("", Limits{Pair: 2}, false)
	apply(a, Limits{In: 1, BytesOut: NoLimit}, false)
	if got, want := s.LimitsOf(""), (Limits{In: 4, Out: 16, Pair: 2, BytesIn: NoLimit, BytesOut: 1 << 20}); got != want {
		t.Errorf("of the cluster %+v, want %+v", got, want)
	}
	if got, want := s.LimitsOf(a), (Limits{In: 1, Out: 16, Pair: 2, BytesIn: NoLimit, BytesOut: NoLimit}); got != want {
		t.Errorf("of the node %+v, want %+v", got, want)
	}
	apply(a, Limits{}, true)
	if got, want := s.LimitsOf(a), s.LimitsOf(""); got != want || len(s.NodeLimits) > 0 {
		t.Errorf("of the node after a reset %+v, %v", got, s.NodeLimits)
	}
	before := s
	for _, bad := range []Limits{{In: -1}, {Out: maxTransfers + 1}, {BytesIn: 1000}, {BytesOut: -2}} {
		if code := apply("", bad, false); code != wire.BadRequest || s != before {
			t.Errorf("%+v: %v", bad, code)
		}
	}
	if code := apply(nodeID("z"), Limits{In: 1}, false); code != wire.Refused {
		t.Errorf("of a stranger: %v", code)
	}
}

// With few places at the receiver every source gets its turn.
func TestPairsTakeTurns(t *testing.T) {
	s := Birth(Member{ID: nodeID("a"), Name: "a", Weight: 1, Incarnation: 1}, 8, 1)
	r := *s.Ring
	r.Assignments = append([]ring.Assignment(nil), r.Assignments...)
	s.Target = make([][]ring.NodeID, 8)
	for p := range r.Assignments { // 0 to 3 are a's, 4 to 7 are b's, and all are to go to c
		from := nodeID("a")
		if p > 3 {
			from = nodeID("b")
		}
		r.Assignments[p].Replicas = []ring.Replica{{Node: from}}
		s.Target[p] = []ring.NodeID{nodeID("c")}
	}
	s.Ring = &r
	v := view{up: func(ring.NodeID) bool { return true }, stalled: func(*Transfer) bool { return false }, session: func() string { return "s" }}
	for _, c := range []struct {
		limits Limits
		want   map[ring.NodeID]int // transfers by source
	}{
		{Limits{In: 4}, map[ring.NodeID]int{nodeID("a"): 2, nodeID("b"): 2}},
		{Limits{In: 8, Pair: 1}, map[ring.NodeID]int{nodeID("a"): 1, nodeID("b"): 1}},
		{Limits{In: 8, Out: 3}, map[ring.NodeID]int{nodeID("a"): 3, nodeID("b"): 3}},
		{Limits{In: 8}, map[ring.NodeID]int{nodeID("a"): 4, nodeID("b"): 4}},
	} {
		s.Limits = &c.limits
		got := make(map[ring.NodeID]int)
		begun, _ := begins(s, v)
		for _, x := range begun {
			got[x.From]++
		}
		for from, n := range c.want {
			if got[from] != n {
				t.Errorf("%+v: %v, want %v", c.limits, got, c.want)
			}
		}
	}
}
