package ring_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringcore/ringcore/metadata/ring"
)

// changed is a cluster before and after one change.
type changed struct {
	kind          string
	q, n, then    int // partitions; replicas wanted before and after
	before, after []ring.Claimant
	current       [][]ring.NodeID
}

// genChange draws a cluster that was born by single joins, and one change of each kind
// that there is.
func genChange(t *rapid.T, kinds ...string) changed {
	c := changed{
		kind: rapid.SampledFrom(kinds).Draw(t, "kind"),
		q:    8 << rapid.IntRange(0, 4).Draw(t, "log q"), n: rapid.IntRange(1, 5).Draw(t, "n"),
	}
	zones, weight := rapid.IntRange(1, 6).Draw(t, "zones"), rapid.SampledFrom([]int{1, 3, 10}).Draw(t, "weights")
	members := genMembers(t, rapid.IntRange(5, 16).Draw(t, "members"), zones, weight)
	spare := rapid.IntRange(1, 3).Draw(t, "spare")
	c.before, c.then = members[spare:], c.n
	for i := range c.before {
		c.current = ring.Claim(c.before[:i+1], c.q, c.n, c.current)
	}
	c.after = slices.Clone(c.before)
	last := len(c.after) - 1
	switch c.kind {
	case "join":
		c.after = members
	case "leave":
		c.after = c.after[:max(1, last-spare)]
	case "replace":
		c.after[last].Node = "new"
	case "weight":
		c.after[last].Weight = rapid.IntRange(1, weight).Draw(t, "weight")
	case "zone":
		c.after[last].Zone = fmt.Sprintf("z%d", rapid.IntRange(1, 7).Draw(t, "zone"))
	case "rename":
		old := c.after[last].Zone
		for i := range c.after {
			if c.after[i].Zone == old {
				c.after[i].Zone = "renamed"
			}
		}
	case "n up":
		c.then++
	case "n down":
		c.then = max(1, c.n-1)
	}
	return c
}

// Whatever changes, as many places keep their node as can, for what each node is to hold; and
// if a change takes more than the deficits and 2 %, then no target does with less.
func TestClaimMovesNoMoreThanItMust(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := genChange(t, "join", "leave", "replace", "weight", "zone", "n up", "n down")
		target := ring.Claim(c.after, c.q, c.then, c.current)
		checkClaim(t, c.after, c.q, c.then, target)
		moves, deficits := moved(c.current, target, ring.MaxReplicas, c.then)
		if moves == deficits {
			return // the least of all
		}
		least, ok := leastMoves(c.after, c.then, c.current, target)
		if !ok {
			t.Fatal("no target gives these shares")
		}
		if moves != least {
			t.Fatalf("%s: %d moves where %d would do", c.kind, moves, least)
		}
	})
}

// The bound holds where all weigh the same in one zone; weights that put a node in nearly every
// list may force more, as zones may: then no target does with less.
func TestClaimMovesWithinItsBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := genChange(t, "join", "leave", "replace", "weight", "n up", "n down")
		c.q = 64 << rapid.IntRange(0, 3).Draw(t, "log q")
		heaviest := rapid.SampledFrom([]int{1, 1, 3}).Draw(t, "heaviest")
		for _, members := range [][]ring.Claimant{c.before, c.after} {
			for i := range members {
				members[i].Zone, members[i].Weight = "", min(members[i].Weight, heaviest)
			}
		}
		c.current = ring.Claim(c.before, c.q, c.n, nil)
		target := ring.Claim(c.after, c.q, c.then, c.current)
		moves, deficits := moved(c.current, target, ring.MaxReplicas, c.then)
		if moves <= deficits+c.q*min(c.then, len(c.after))/50 {
			return
		}
		if least, ok := leastMoves(c.after, c.then, c.current, target); heaviest == 1 || !ok || moves != least {
			t.Fatalf("%s: %d moves for deficits of %d, where %d would do", c.kind, moves, deficits, least)
		}
	})
}

// AT15 of riak's tests: a zone's name alone moves nothing.
func TestClaimOfARenamedZoneMovesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := genChange(t, "rename")
		target := ring.Claim(c.after, c.q, c.n, c.current)
		same(t, c.current, target)
	})
}

// A node of the same weight and zone takes just the places of the one that it replaces.
func TestClaimOfAReplaceTouchesNobodyElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := genChange(t, "replace")
		target := ring.Claim(c.after, c.q, c.n, c.current)
		old := c.before[len(c.before)-1].Node
		for p, list := range c.current {
			c.current[p] = slices.Clone(list)
			if i := slices.Index(list, old); i >= 0 {
				c.current[p][i] = "new"
			}
		}
		same(t, c.current, target)
	})
}

// One replica more adds a place to each list, and one less takes one away: the others
// hold what they held, as long as all weigh the same in one zone.
func TestClaimOfMoreOrFewerReplicasMovesOnlyWhatItMust(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, m := 64<<rapid.IntRange(0, 2).Draw(t, "log q"), rapid.IntRange(6, 20).Draw(t, "members")
		n := rapid.IntRange(2, 5).Draw(t, "n")
		var current [][]ring.NodeID
		for i := range m {
			current = ring.Claim(equals(i+1), q, n, current)
		}
		up := ring.Claim(equals(m), q, n+1, current)
		if moves, _ := moved(current, up, ring.MaxReplicas, n+1); moves > q+q*n/50 {
			t.Fatalf("n %d to %d: %d moves for %d new places", n, n+1, moves, q)
		}
		down := ring.Claim(equals(m), q, n-1, current)
		if moves, _ := moved(current, down, ring.MaxReplicas, n-1); moves > q*n/50 {
			t.Fatalf("n %d to %d: %d moves, and no place is new", n, n-1, moves)
		}
	})
}

func same(t *rapid.T, want, got [][]ring.NodeID) {
	t.Helper()
	for p := range want {
		if !slices.Equal(want[p], got[p]) {
			t.Fatalf("partition %d: %v became %v", p, want[p], got[p])
		}
	}
}
