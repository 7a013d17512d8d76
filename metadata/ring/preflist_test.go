package ring_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringcore/ringcore/metadata/ring"
)

// ringOf is a ring with these lists.
func ringOf(n int, lists [][]ring.NodeID) *ring.Ring {
	r := ring.New(len(lists), n, "nobody")
	for p, list := range lists {
		r.Assignments[p].Replicas = nil
		for _, node := range list {
			r.Assignments[p].Replicas = append(r.Assignments[p].Replicas, ring.Replica{Node: node})
		}
	}
	return r
}

func TestPreferencesAreDistinctAndUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.IntRange(1, 8).Draw(t, "members")
		n := rapid.IntRange(1, 5).Draw(t, "n")
		r := ringOf(n, ring.Claim(equals(members), 32, n, nil))
		isDown := make(map[ring.NodeID]bool)
		for _, m := range equals(members) {
			isDown[m.Node] = rapid.Bool().Draw(t, "down")
		}
		up := func(n ring.NodeID) bool { return !isDown[n] }
		p := ring.Partition(rapid.IntRange(0, 31).Draw(t, "partition"))
		l := r.PreferencesOf(p, n, up)

		var nodes, primaries []ring.NodeID
		stoodIn := make(map[ring.NodeID]bool)
		for i, x := range l.Targets {
			if !up(x.Node) || slices.Contains(nodes, x.Node) {
				t.Fatalf("%s is down or there twice: %+v", x.Node, l)
			}
			if x.Fallback != (x.For != "") || i > 0 && l.Targets[i-1].Fallback && !x.Fallback {
				t.Fatalf("a fallback comes before a primary: %+v", l)
			}
			if x.Fallback {
				stoodIn[x.For] = true
			} else {
				primaries = append(primaries, x.Node)
			}
			nodes = append(nodes, x.Node)
		}
		var want []ring.NodeID
		for _, x := range r.Replicas(p, n) {
			if up(x.Node) {
				want = append(want, x.Node)
			} else if !slices.ContainsFunc(l.Down, func(d ring.Target) bool { return d.Node == x.Node && d.For == "" }) {
				t.Fatalf("%s is down and not said to be: %+v", x.Node, l)
			}
		}
		if !slices.Equal(primaries, want) || len(primaries)+len(l.Down) != len(r.Replicas(p, n)) {
			t.Fatalf("primaries %v, want %v", primaries, want)
		}
		if len(stoodIn) < len(l.Down) {
			for _, owner := range r.Lists() {
				if up(owner[0]) && !slices.Contains(nodes, owner[0]) {
					t.Fatalf("%s could stand in: %+v", owner[0], l)
				}
			}
		}
		if l.Wanted != n || l.Gen != r.Gen(p) || l.Partition != p {
			t.Fatalf("%+v", l)
		}
	})
}

func TestPreferenceListIsThatOfTheKeysPartition(t *testing.T) {
	r := ringOf(3, ring.Claim(equals(4), 64, 3, nil))
	h := ring.HashKey("bucket", []byte("key"))
	got := r.PreferenceList(h, 3, nil)
	if got.Partition != ring.Locate(h, 64) || len(got.Targets) != 3 || got.Targets[0].Node != r.Owner(got.Partition) {
		t.Errorf("got %+v", got)
	}
}

func TestFirstUp(t *testing.T) {
	r := ringOf(3, [][]ring.NodeID{{"a", "b", "c"}})
	r.Assignments[0].Replicas[1].CatchingUp = true
	for _, c := range []struct {
		down string
		want ring.NodeID
	}{{"", "a"}, {"a", "c"}, {"ac", ""}} {
		if got := r.FirstUp(0, func(n ring.NodeID) bool { return !strings.Contains(c.down, string(n)) }); got != c.want {
			t.Errorf("with %q down: %q, want %q", c.down, got, c.want)
		}
	}
}
