package ring_test

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringcore/ringcore/metadata/ring"
)

// claimDoc keeps what TestClaimTable prints.
const claimDoc = "../../docs/claim.md"

// slowest is the longest that a Claim of 1,024 partitions and 100 nodes may take.
const slowest = 100 * time.Millisecond

// setting is how a cluster of the table looks. Node i is in zone i mod zones and weighs 1 + i mod weights.
type setting struct{ n, zones, weights int }

func (s setting) String() string {
	text := fmt.Sprintf("n=%d", s.n)
	if s.zones > 1 {
		text += fmt.Sprintf(", %d zones", s.zones)
	}
	if s.weights > 1 {
		text += fmt.Sprintf(", weights 1 to %d", s.weights)
	}
	return text
}

func (s setting) member(i int) ring.Claimant {
	return ring.Claimant{Node: ring.NodeID(fmt.Sprintf("node%03d", i)), Weight: 1 + i%s.weights, Zone: fmt.Sprint("z", i%s.zones)}
}

func (s setting) members(count int) []ring.Claimant {
	all := make([]ring.Claimant, count)
	for i := range all {
		all[i] = s.member(i)
	}
	return all
}

// claimTally adds up what the claims of one row have done.
type claimTally struct {
	claims, moves, deficits int
	worst                   float64 // most moves beyond the deficits of one claim, as a part of all places
	owned, slots            float64 // furthest from a share
	violations              ring.Violations
	slowest                 time.Duration
}

// claim computes a target, and adds up what it does.
func (c *claimTally) claim(members []ring.Claimant, q, n int, current [][]ring.NodeID) [][]ring.NodeID {
	begun := cpu()
	target := ring.Claim(members, q, n, current)
	c.slowest = max(c.slowest, cpu()-begun)
	moves, deficits := moved(current, target, ring.MaxReplicas, n)
	c.claims++
	c.moves += moves
	c.deficits += deficits
	k := min(n, len(members))
	c.worst = max(c.worst, float64(moves-deficits)/float64(q*k))
	shares := ring.SharesOf(target)
	for node, due := range ring.Due(members, q, n) {
		c.slots = max(c.slots, math.Abs(float64(shares[node].Slots)-due))
		c.owned = max(c.owned, math.Abs(float64(shares[node].Owned)-due/float64(k)))
	}
	v := ring.ViolationsOf(target, members, n)
	c.violations.Nodes += v.Nodes
	c.violations.Zones += v.Zones
	return target
}

// cpu is the processor time that this process has taken, which another one does not prolong.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// birth is a cluster of count nodes that have joined one by one.
func (c *claimTally) birth(s setting, q, count int) (current [][]ring.NodeID) {
	for i := 1; i <= count; i++ {
		current = c.claim(s.members(i), q, s.n, current)
	}
	return current
}

var (
	tableQ        = []int{16, 64, 256, 1024}
	tableNodes    = []int{1, 3, 5, 10, 25, 100}
	tableSettings = []setting{{3, 1, 1}, {3, 4, 1}, {3, 4, 3}, {1, 1, 1}, {5, 6, 3}}
)

// claimChanges are the changes of the second table, each made to a cluster of m nodes.
var claimChanges = []struct {
	name string
	make func(s setting, m int) (after []ring.Claimant, n int)
}{
	{"1 joins", func(s setting, m int) ([]ring.Claimant, int) { return s.members(m + 1), s.n }},
	{"3 join", func(s setting, m int) ([]ring.Claimant, int) { return s.members(m + 3), s.n }},
	{"1 leaves", func(s setting, m int) ([]ring.Claimant, int) { return s.members(m)[1:], s.n }},
	{"1 replaced", func(s setting, m int) ([]ring.Claimant, int) {
		after := s.members(m)
		after[0].Node = "new"
		return after, s.n
	}},
	{"weight x2", func(s setting, m int) ([]ring.Claimant, int) {
		after := s.members(m)
		after[0].Weight *= 2
		return after, s.n
	}},
	{"new zone", func(s setting, m int) ([]ring.Claimant, int) {
		after := s.members(m)
		after[0].Zone = "new"
		return after, s.n
	}},
	{"zone renamed", func(s setting, m int) ([]ring.Claimant, int) {
		after := s.members(m)
		for i := range after {
			if after[i].Zone == "z0" {
				after[i].Zone = "renamed"
			}
		}
		return after, s.n
	}},
	{"n + 1", func(s setting, m int) ([]ring.Claimant, int) { return s.members(m), s.n + 1 }},
	{"n - 1", func(s setting, m int) ([]ring.Claimant, int) { return s.members(m), max(1, s.n-1) }},
}

// TestClaimTable holds docs/claim.md against what Claim does, as far as that is cheap. With
// RINGCORE_CLAIM_TABLE=1 it computes all of it and rewrites the file: `make claim-table`.
func TestClaimTable(t *testing.T) {
	all := os.Getenv("RINGCORE_CLAIM_TABLE") != ""
	doc, err := os.ReadFile(claimDoc)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(doc), "\n## 1.")
	if !ok {
		t.Fatalf("%s has no section 1", claimDoc)
	}
	table := birthTable(t, all) + changeTable(t, all) + originalTable(t, all)
	if all {
		if err := os.WriteFile(claimDoc, []byte(head+"\n"+table), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for line := range strings.Lines(table) {
		if line = withoutTime(line); line != "" && !strings.Contains(withoutTimes(string(doc)), line) {
			t.Errorf("%s does not have this any more, run make claim-table and look at what has changed:\n%s", claimDoc, line)
		}
	}
}

// withoutTime cuts the last column of a row, where it is a time.
func withoutTime(line string) string {
	line = strings.TrimSpace(line)
	if cut, ok := strings.CutSuffix(line, " ms |"); ok {
		return cut[:strings.LastIndex(cut, "|")+1]
	}
	return line
}

func withoutTimes(doc string) string {
	var b strings.Builder
	for line := range strings.Lines(doc) {
		b.WriteString(withoutTime(line) + "\n")
	}
	return b.String()
}

// birthTable is section 1: clusters that grow by single joins.
func birthTable(t *testing.T, all bool) string {
	var b strings.Builder
	b.WriteString("## 1. Growing by single joins\n\n" +
		"| cluster | partitions | nodes | owners off | slots off | not on distinct nodes | zones | moves | deficits | worst excess | time of a claim |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range tableSettings {
		for _, q := range tableQ {
			for _, m := range tableNodes {
				if !all && (q > 256 || m > 10) {
					continue
				}
				var c claimTally
				c.birth(s, q, m)
				c.check(t, s, q, m)
				fmt.Fprintf(&b, "| %s | %d | %d | %.2f | %.2f | %d | %d | %d | %d | %.1f %% | %.1f ms |\n",
					s, q, m, c.owned, c.slots, c.violations.Nodes, c.violations.Zones, c.moves, c.deficits, 100*c.worst, ms(c.slowest))
			}
		}
	}
	return b.String()
}

// check is what the table must not show.
func (c *claimTally) check(t *testing.T, s setting, q, m int) {
	t.Helper()
	if c.owned > 1 || c.slots > 1 || c.violations != (ring.Violations{}) {
		t.Errorf("%s, q=%d, %d nodes: %+v", s, q, m, *c)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// changeTable is section 2: single changes of clusters that have grown so.
func changeTable(t *testing.T, all bool) string {
	var b strings.Builder
	b.WriteString("\n## 2. Single changes\n\nMoves, and the sum of deficits where that is less.\n\n| cluster | partitions | nodes |")
	for _, c := range claimChanges {
		b.WriteString(" " + c.name + " |")
	}
	b.WriteString(" longest claim |\n|" + strings.Repeat("---|", 4+len(claimChanges)) + "\n")
	for _, s := range tableSettings {
		for _, q := range tableQ[1:] {
			for _, m := range tableNodes[2:] {
				if !all && (q > 256 || m > 10) {
					continue
				}
				var born, total claimTally
				current := born.birth(s, q, m)
				fmt.Fprintf(&b, "| %s | %d | %d |", s, q, m)
				for _, change := range claimChanges {
					after, n := change.make(s, m)
					var c claimTally
					target := c.claim(after, q, n, current)
					c.check(t, s, q, m)
					mustMove(t, after, n, current, target)
					total.slowest = max(total.slowest, c.slowest)
					fmt.Fprintf(&b, " %s |", less(c.moves, c.deficits))
				}
				fmt.Fprintf(&b, " %.1f ms |\n", ms(total.slowest))
			}
		}
	}
	return b.String()
}

// mustMove checks that if a change takes more moves than the deficits and 2 %, no target that
// gives each node as much takes fewer.
func mustMove(t *testing.T, members []ring.Claimant, n int, current, target [][]ring.NodeID) {
	t.Helper()
	moves, deficits := moved(current, target, ring.MaxReplicas, n)
	if moves <= deficits+len(target)*min(n, len(members))/50 {
		return
	}
	if least, ok := leastMoves(members, n, current, target); !ok || moves != least {
		t.Errorf("%d nodes, q=%d, n=%d: %d moves where %d would do", len(members), len(target), n, moves, least)
	}
}

func less(moves, deficits int) string {
	if moves == deficits {
		return fmt.Sprint(moves)
	}
	return fmt.Sprintf("%d (%d)", moves, deficits)
}

// originalTable is section 3: what the original fails at.
func originalTable(t *testing.T, all bool) string {
	var b strings.Builder
	b.WriteString("\n## 3. Where the original fails\n\n| what | riak_core | Ringcore |\n|---|---|---|\n")
	row := func(what, original, ours string) { fmt.Fprintf(&b, "| %s | %s | %s |\n", what, original, ours) }

	row("lists of three on distinct nodes, 64 partitions, 3 nodes (P10, C5: core#970, core#972)",
		"the tutorial's ring: 42 of 64 lists are not; a plain round robin: 2", violated(t, plain(3), 64, 3))
	row("partitions owned, 32 partitions, 5 nodes (C5: core#913)", "v2: 6, 6, 6, 8, 6 (mended later)", ownedAfter(t, plain(5), 32, 3))
	row("partitions owned, 64 partitions, 4 to 5 nodes (C5: basho/riak#348)", "v2: 12, 12, 12, 12, 16", ownedAfter(t, plain(5), 64, 3))
	row("512 partitions, n=4, zones of 3, 3, 3 and 4 nodes (C7)", "v4: no solution", violated(t, zoned(3, 3, 3, 4), 512, 4))
	row("64 partitions (v4: size not stated), n=3, zones of 3, 3 and 3 nodes (C7)", "v4: 4 violations", violated(t, zoned(3, 3, 3), 64, 3))
	row("64 partitions, n=3, zones of 2, 2, 2 and 2 nodes (C7)", "v4: none", violated(t, zoned(2, 2, 2, 2), 64, 3))
	configs, bad := everyZoning(t, 16)
	row("16 partitions, n=2 and 3, every division of up to 10 nodes into zones (C7)",
		"v4: 82 configurations without a solution", fmt.Sprintf("%d of %d configurations have a violation", bad, configs))
	row("a leave, with zones (C9: core#922)", "its simple way knows no zones, and leaves an uneven ring", everyLeave(t))
	row("weights (C3)", "none: every node gets the same", "by weight, see above")
	row("a zone renamed (C10)", "v2: moves nothing, also if it should", "0 moves, see above; a node that changes its zone moves what it must")
	if all {
		row("time for a large ring (C7)", "v4: 1 to 2 minutes, while the operator waits", largeRing(t))
	}
	return b.String()
}

// largeRing times claims of 1,024 partitions among 100 nodes: joins one by one, and every second node
// changes its zone, which nobody does and takes longest.
func largeRing(t *testing.T) string {
	var joins claimTally
	var rezoned time.Duration
	for _, s := range []setting{{3, 1, 1}, {5, 4, 3}, {7, 3, 1}, {7, 3, 3}} {
		current := joins.birth(s, 1024, 100)
		members := s.members(100)
		for i := range members {
			if i%2 == 0 {
				members[i].Zone = fmt.Sprint("z", i/2%5)
			}
		}
		best := time.Hour // of three, as the machine may be busy
		for range 3 {
			var c claimTally
			c.claim(members, 1024, s.n, current)
			best = min(best, c.slowest)
		}
		rezoned = max(rezoned, best)
	}
	if longest := max(joins.slowest, rezoned); longest > slowest {
		t.Errorf("a claim of 1,024 partitions among 100 nodes took %v of processor time, more than %v", longest, slowest)
	}
	return fmt.Sprintf("1,024 partitions, n=3 to 7, the slowest of 100 joins: %.0f ms; every second of 100 nodes changes its zone: %.0f ms", ms(joins.slowest), ms(rezoned))
}

func plain(m int) []ring.Claimant { return setting{1, 1, 1}.members(m) }

// zoned are nodes in zones of these sizes, in turn.
func zoned(sizes ...int) []ring.Claimant {
	var members []ring.Claimant
	for i := range slices.Max(sizes) {
		for z, size := range sizes {
			if i < size {
				members = append(members, ring.Claimant{Node: ring.NodeID(fmt.Sprintf("z%dn%d", z, i)), Weight: 1, Zone: fmt.Sprint("z", z)})
			}
		}
	}
	return members
}

// grown is the ring of members that have joined one by one, checked at each step.
func grown(t *testing.T, members []ring.Claimant, q, n int) (current [][]ring.NodeID) {
	for i := range members {
		current = ring.Claim(members[:i+1], q, n, current)
		checkClaim(t, members[:i+1], q, n, current)
	}
	return current
}

func violated(t *testing.T, members []ring.Claimant, q, n int) string {
	v := ring.ViolationsOf(grown(t, members, q, n), members, n)
	return fmt.Sprintf("%d lists not on distinct nodes, %d not on distinct zones", v.Nodes, v.Zones)
}

func ownedAfter(t *testing.T, members []ring.Claimant, q, n int) string {
	shares := ring.SharesOf(grown(t, members, q, n))
	owned := make([]string, len(members))
	for i, m := range members {
		owned[i] = fmt.Sprint(shares[m.Node].Owned)
	}
	return strings.Join(owned, ", ")
}

// everyZoning counts the divisions of up to 10 nodes into at least two zones, and those whose ring has a
// violation, with 2 and 3 replicas and q partitions.
func everyZoning(t *testing.T, q int) (configs, bad int) {
	var divide func(left, most int, sizes []int)
	divide = func(left, most int, sizes []int) {
		if left > 0 {
			for size := min(left, most); size >= 1; size-- {
				divide(left-size, size, append(sizes, size))
			}
			return
		}
		if len(sizes) < 2 {
			return
		}
		for _, n := range []int{2, 3} {
			members := zoned(sizes...)
			target := ring.Claim(members, q, n, nil)
			checkClaim(t, members, q, n, target)
			configs++
			if ring.ViolationsOf(target, members, n) != (ring.Violations{}) {
				bad++
			}
		}
	}
	for m := 2; m <= 10; m++ {
		divide(m, m, nil)
	}
	return configs, bad
}

// everyLeave lets each node of a few clusters with zones go.
func everyLeave(t *testing.T) string {
	var c claimTally
	for _, q := range []int{64, 128, 256, 512} {
		members := zoned(3, 3, 3, 3)
		current := grown(t, members, q, 3)
		for i := range members {
			rest := slices.Delete(slices.Clone(members), i, i+1)
			checkClaim(t, rest, q, 3, c.claim(rest, q, 3, current))
		}
	}
	return fmt.Sprintf("64 to 512 partitions, 4 zones of 3 nodes, each of them goes: %d violations; owners at most %.2f off, slots %.2f; %d moves for deficits of %d",
		c.violations.Nodes+c.violations.Zones, c.owned, c.slots, c.moves, c.deficits)
}
