package ring_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/ringcore/ringcore/metadata/ring"
)

// TestScripts runs the stories in testdata. Run with -rewrite to regenerate what
// they expect. Each file has one cluster, which its commands change:
//
//	locate [q=64]           lines "bucket key": the partition and index of each
//	claim [q=64] [n=3]      lines "node [weight=2] [zone=z]", the members: the target,
//	                        which becomes the ring, and what that moves
//	ring [n=3]              lines of lists, one for each partition: becomes the ring
//	lists                   prints the ring's lists
//	preflist p=0 [n=3] [down=(a,b)]
//	step target=(a,b,c)     the input is one list, * marks a place that catches up: all steps
//	figure                  draws the ring
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s := &script{}
			datadriven.RunTest(t, file, s.run)
		})
	}
}

// script is the state of one file.
type script struct{ ring *ring.Ring }

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "locate":
		return locate(d)
	case "claim":
		return s.claim(t, d)
	case "ring":
		var lists [][]ring.NodeID
		for line := range strings.Lines(d.Input) {
			lists = append(lists, nodeIDs(strings.Fields(line)))
		}
		s.ring = ringOf(argument(d, "n", 3), lists)
		return ""
	case "lists":
		return s.lists()
	case "preflist":
		return s.preflist(d)
	case "step":
		return steps(d)
	case "figure":
		return ring.Figure(s.ring, func(n ring.NodeID) string { return string(n) })
	}
	t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
	return ""
}

func locate(d *datadriven.TestData) string {
	q := argument(d, "q", 64)
	var b strings.Builder
	for line := range strings.Lines(d.Input) {
		bucket, key, _ := strings.Cut(strings.TrimSpace(line), " ")
		h := ring.HashKey(bucket, []byte(key))
		p := ring.Locate(h, q)
		fmt.Fprintf(&b, "%s: partition %d, index %s\n", h, p, p.Index(q))
	}
	return b.String()
}

func (s *script) claim(t *testing.T, d *datadriven.TestData) string {
	q, n := argument(d, "q", 64), argument(d, "n", 3)
	var members []ring.Claimant
	zones := make(map[ring.NodeID]string)
	for line := range strings.Lines(d.Input) {
		fields := strings.Fields(line)
		m := ring.Claimant{Node: ring.NodeID(fields[0]), Weight: 1}
		for _, f := range fields[1:] {
			if w, ok := strings.CutPrefix(f, "weight="); ok {
				m.Weight, _ = strconv.Atoi(w)
			} else if z, ok := strings.CutPrefix(f, "zone="); ok {
				m.Zone = z
			}
		}
		members = append(members, m)
		zones[m.Node] = m.Zone
	}
	if s.ring == nil || s.ring.Q() != q {
		s.ring = ring.New(q, n, members[0].Node)
	}
	target := ring.Claim(members, q, n, s.ring.Lists())
	checkClaim(t, members, q, n, target)

	var b strings.Builder
	shares := ring.SharesOf(target)
	for _, node := range slices.Sorted(maps.Keys(shares)) {
		fmt.Fprintf(&b, "%s owns %d, holds %d\n", node, shares[node].Owned, shares[node].Slots)
	}
	diff := ring.DiffOf(s.ring, target)
	fmt.Fprintf(&b, "%d moves, %d adds, %d swaps, %d drops\n", diff.Moves, diff.Adds, diff.Swaps, diff.Drops)
	for _, t := range ring.Transfers(s.ring, target) {
		fmt.Fprintf(&b, "  %s %s -> %s: %d\n", t.Kind, t.From, t.To, t.Partitions)
	}
	for _, w := range ring.Warnings(target, n, func(n ring.NodeID) string { return zones[n] }) {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	s.ring = ringOf(n, target)
	return b.String()
}

func (s *script) lists() string {
	var b strings.Builder
	for p, list := range s.ring.Lists() {
		fmt.Fprintf(&b, "%2d: %s\n", p, spaced(list))
	}
	return b.String()
}

func (s *script) preflist(d *datadriven.TestData) string {
	down := nodeIDs(values(d, "down"))
	n := argument(d, "n", 3)
	l := s.ring.PreferencesOf(ring.Partition(argument(d, "p", 0)), n, func(n ring.NodeID) bool { return !slices.Contains(down, n) })
	var b strings.Builder
	for _, x := range l.Targets {
		role := "primary"
		if x.Fallback {
			role = "fallback for " + string(x.For)
		}
		fmt.Fprintf(&b, "slot %d: %s, %s\n", x.Slot, x.Node, role)
	}
	for _, x := range l.Down {
		fmt.Fprintf(&b, "down: %s of slot %d\n", x.Node, x.Slot)
	}
	if len(l.Targets) < l.Wanted {
		fmt.Fprintf(&b, "%d of %d wanted\n", len(l.Targets), l.Wanted)
	}
	return b.String()
}

func steps(d *datadriven.TestData) string {
	var list []ring.Replica
	for _, f := range strings.Fields(d.Input) {
		node, catching := strings.CutSuffix(f, "*")
		list = append(list, ring.Replica{Node: ring.NodeID(node), CatchingUp: catching})
	}
	target := nodeIDs(values(d, "target"))
	if _, ok := ring.NextStep(0, list, target); !ok {
		return "nothing to do\n"
	}
	var b strings.Builder
	for _, s := range ring.StepsTo(0, list, target) {
		fmt.Fprintln(&b, s)
	}
	return b.String()
}

// argument is the number given for name.
func argument(d *datadriven.TestData, name string, otherwise int) int {
	if v := values(d, name); len(v) == 1 {
		if n, err := strconv.Atoi(v[0]); err == nil {
			return n
		}
	}
	return otherwise
}

// values are those given for name.
func values(d *datadriven.TestData, name string) []string {
	for _, a := range d.CmdArgs {
		if a.Key == name {
			return a.Vals
		}
	}
	return nil
}

func nodeIDs(names []string) []ring.NodeID {
	ids := make([]ring.NodeID, len(names))
	for i, n := range names {
		ids[i] = ring.NodeID(n)
	}
	return ids
}

func spaced(ids []ring.NodeID) string {
	names := make([]string, len(ids))
	for i, n := range ids {
		names[i] = string(n)
	}
	return strings.Join(names, " ")
}
