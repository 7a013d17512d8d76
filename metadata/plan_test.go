package metadata

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// planStory is a cluster of the names, settled, with n replicas.
func planStory(t *testing.T, n int, names ...string) *story {
	t.Helper()
	y := &story{t: t, down: map[ring.NodeID]bool{}}
	s := Birth(testMember(names[0]), 16, n)
	s.ClusterID = "c1"
	y.must(birthCommand(s))
	for _, name := range names[1:] {
		y.must(Join(testMember(name)))
	}
	y.settle()
	return y
}

func (y *story) must(c Command) {
	y.t.Helper()
	if got := y.step(c); !strings.HasPrefix(got, "epoch") {
		y.t.Fatalf("%s %v: %s", c.Op, c.Changes, got)
	}
}

// refused checks that c changes nothing, for a reason that says why.
func (y *story) refused(c Command, code wire.Code, why string) {
	y.t.Helper()
	next, err := step(y.s, new(c.stamped()))
	e, ok := errors.AsType[*wire.Error](err)
	if !ok || e.Code != code || !strings.Contains(e.Message, why) || next != y.s {
		y.t.Errorf("%s %v: %v, want %v that says %q", c.Op, c.Changes, err, code, why)
	}
}

// settle has everything move that can.
func (y *story) settle() {
	y.t.Helper()
	y.lead(true)
	if len(y.down) == 0 && !y.s.Settled() {
		y.t.Fatalf("not settled: %s", y.describe())
	}
}

func (y *story) commitPlan() {
	y.t.Helper()
	y.must(CommitPlan(y.s.PlanHash()))
}

func force(kind ChangeKind, node, heir string) Change {
	c := Change{Kind: kind, Node: nodeID(node), Stopped: true}
	if heir != "" {
		c.New = nodeID(heir)
	}
	return c
}

func leaveOf(node string) Change { return Change{Kind: ChangeLeave, Node: nodeID(node)} }

func (y *story) status(name string) MemberStatus {
	m, _ := y.s.Member(nodeID(name))
	return m.Status
}

func TestCommitNeedsAPlan(t *testing.T) {
	y := planStory(t, 3, "a", "b", "c")
	y.refused(CommitPlan(""), wire.Refused, "nothing is staged")
	y.refused(CommitPlan("x"), wire.Refused, "nothing is staged")
	y.must(Stage(leaveOf("c")))
	y.refused(CommitPlan("x"), wire.Conflict, "look at the plan again")
	if got := y.step(Stage(leaveOf("c"))); got != "unchanged\n" {
		t.Errorf("staged twice: %s", got)
	}
	if y.status("c") != StatusValid || !y.s.Settled() {
		t.Errorf("staging has changed something: %s", y.describe())
	}
	y.commitPlan()
	if y.status("c") != StatusLeaving || y.s.Plan != nil {
		t.Errorf("after the commit: %s, plan %v", y.status("c"), y.s.Plan)
	}
}

// TestStaleHash: whatever a plan was computed from, the hash stands for it, and for nothing else.
func TestStaleHash(t *testing.T) {
	for name, c := range map[string]Command{
		"another change": Stage(Change{Kind: ChangeWeight, Node: nodeID("a"), Number: 3}),
		"a member joins": Join(testMember("d")),
		"one goes down":  Down(nodeID("b")),
		"a zone":         Make(Change{Kind: ChangeZone, Node: nodeID("a"), Zone: "z"}),
		"replicas":       Make(Change{Kind: ChangeReplicas, Number: 2}),
		"a staged join":  StageJoin(testMember("e")),
	} {
		t.Run(name, func(t *testing.T) {
			y := planStory(t, 3, "a", "b", "c")
			y.must(Stage(leaveOf("c")))
			hash := y.s.PlanHash()
			y.must(c)
			y.refused(CommitPlan(hash), wire.Conflict, "changed since")
		})
	}
	y := planStory(t, 3, "a", "b", "c")
	y.must(Stage(leaveOf("c")))
	hash := y.s.PlanHash()
	moved := testMember("a")
	moved.Addr = "elsewhere:1"
	y.must(Address(moved))
	y.must(votersCommand([]ring.NodeID{nodeID("a"), nodeID("b"), nodeID("c")}))
	y.must(Bucket("b", wire.BucketChange{Siblings: new(true)}))
	y.must(CommitPlan(hash))
}

// TestTransferMakesPlanStale: a partition that has moved since is another ring.
func TestTransferMakesPlanStale(t *testing.T) {
	y := planStory(t, 1, "a")
	y.must(Join(testMember("b")))
	y.lead(false)
	y.must(Stage(Change{Kind: ChangeWeight, Node: nodeID("a"), Number: 2}))
	hash := y.s.PlanHash()
	y.must(Commit(&y.s.Transfers[0], y.s.Transfers[0].Driver()))
	y.refused(CommitPlan(hash), wire.Conflict, "the ring")
}

// TestStagedJoin: a staged joiner gets nothing until the commit; cleared, it is none, and may come again.
func TestStagedJoin(t *testing.T) {
	y := planStory(t, 2, "a", "b")
	y.must(StageJoin(testMember("c")))
	if got := y.step(StageJoin(testMember("c"))); got != "unchanged\n" {
		t.Errorf("asked twice: %s", got)
	}
	y.settle()
	if y.status("c") != StatusJoining || y.s.Holds(nodeID("c")) > 0 {
		t.Fatalf("staged: %s", y.describe())
	}
	y.must(Make(leaveOf("b"))) // the others go on, without it
	y.settle()
	if y.s.Holds(nodeID("c")) > 0 {
		t.Fatalf("a staged joiner has got something: %s", y.lists())
	}
	y.must(ClearPlan())
	if m, _ := y.s.Member(nodeID("c")); m.Status != StatusLeft || !m.Home || m.Addr != "" {
		t.Fatalf("cleared: %+v", m)
	}
	if got := y.step(ClearPlan()); got != "unchanged\n" {
		t.Errorf("cleared twice: %s", got)
	}
	y.must(StageJoin(testMember("c")))
	y.commitPlan()
	y.settle()
	if y.status("c") != StatusValid || y.s.Holds(nodeID("c")) == 0 {
		t.Errorf("committed: %s", y.describe())
	}
	y.must(StageJoin(testMember("d")))
	y.must(Join(testMember("d"))) // not with the plan, but now
	y.settle()
	if y.status("d") != StatusValid || y.s.Plan != nil {
		t.Errorf("joined at once: %s, plan %v", y.describe(), y.s.Plan)
	}
}

// TestRefusedChanges: each is judged on the State as the changes before it make it.
func TestRefusedChanges(t *testing.T) {
	y := planStory(t, 3, "a", "b", "c")
	y.must(Join(testMember("fresh"))) // joining, and about to get a share
	y.must(StageJoin(testMember("d")))
	y.must(Stage(leaveOf("c")))
	y.must(Bucket("b", wire.BucketChange{W: new(wire.Quorum(2))}))
	for _, tt := range []struct {
		c    Change
		code wire.Code
		why  string
	}{
		{leaveOf("x"), wire.Refused, "no member"},
		{Change{Kind: ChangeLeave, Node: nodeID("c"), Zone: "again"}, wire.Refused, "leaving already"},
		{Change{Kind: "resize", Number: 128}, wire.Refused, "no member"},
		{Change{Kind: "other", Node: nodeID("a")}, wire.NotSupported, "unknown change"},
		{Change{Kind: ChangeReplace, Node: nodeID("a"), New: nodeID("a")}, wire.Refused, "itself"},
		{Change{Kind: ChangeReplace, Node: nodeID("a"), New: nodeID("b")}, wire.Refused, "places of its own"},
		{Change{Kind: ChangeReplace, Node: nodeID("a"), New: nodeID("x")}, wire.Refused, "no member"},
		{Change{Kind: ChangeReplace, Node: nodeID("c"), New: nodeID("d")}, wire.Refused, "leaving already"},
		{Change{Kind: ChangeForceRemove, Node: nodeID("a")}, wire.Refused, "stopped"},
		{Change{Kind: ChangeForceReplace, Node: nodeID("a"), New: nodeID("d")}, wire.Refused, "stopped"},
		{Change{Kind: ChangeWeight, Node: nodeID("a")}, wire.BadRequest, "weight 0"},
		{Change{Kind: ChangeWeight, Node: nodeID("c"), Number: 2}, wire.Refused, "counts no more"},
		{Change{Kind: ChangeZone, Node: nodeID("a"), Zone: "a\tb"}, wire.BadRequest, "printable"},
		{Change{Kind: ChangeZone, Node: nodeID("a"), Zone: strings.Repeat("z", 64)}, wire.BadRequest, "printable"},
		{Change{Kind: ChangeReplicas, Number: 0}, wire.BadRequest, "must be 1 to 7"},
		{Change{Kind: ChangeReplicas, Number: 8}, wire.BadRequest, "must be 1 to 7"},
		{Change{Kind: ChangeReplicas, Number: 1}, wire.Refused, `bucket "b"`},
		{Change{Kind: ChangeDown, Node: nodeID("c")}, wire.Refused, "leaving, not valid"},
	} {
		y.refused(Stage(tt.c), tt.code, tt.why)
	}
	y.refused(Leave(nodeID("d")), wire.Refused, "staged only")
	y.refused(Make(leaveOf("d")), wire.Refused, "staged only")
	y.must(Stage(leaveOf("a")))
	y.must(Stage(leaveOf("b")))
	y.must(Stage(leaveOf("fresh")))
	y.refused(Stage(leaveOf("d")), wire.Refused, "last member")
	y.must(ClearPlan())
	y.must(Make(force(ChangeForceRemove, "c", "")))
	y.refused(Join(testMember("c")), wire.Refused, "empty data directory")
	y.refused(Address(testMember("c")), wire.Refused, "has left")
	y.refused(StageJoin(testMember("c")), wire.Refused, "empty data directory")
}

// TestReplace: the new node gets the very places of the old one, and nothing else moves.
func TestReplace(t *testing.T) {
	for _, kind := range []ChangeKind{ChangeReplace, ChangeForceReplace} {
		t.Run(string(kind), func(t *testing.T) {
			y := planStory(t, 3, "a", "b", "c", "d")
			want := y.s.Ring.Lists()
			for _, list := range want {
				if i := slices.Index(list, nodeID("b")); i >= 0 {
					list[i] = nodeID("x")
				}
			}
			y.must(StageJoin(testMember("x")))
			c := Change{Kind: kind, Node: nodeID("b"), New: nodeID("x"), Stopped: kind == ChangeForceReplace}
			y.must(Stage(c))
			holds := y.s.Holds(nodeID("b"))
			o, err := Foresee(y.s, Facts{})
			if err != nil {
				t.Fatal(err)
			}
			moved := 0
			for _, tr := range o.Transfers {
				if tr.Kind == ring.StepMove || tr.Kind == ring.StepAdd {
					moved += tr.Partitions
				}
				if tr.To != nodeID("x") && tr.Kind != ring.StepSwap {
					t.Errorf("planned: %+v", tr)
				}
			}
			if moved != holds {
				t.Errorf("%d transfers planned for %d places", moved, holds)
			}
			y.commitPlan()
			y.settle()
			if diff := cmp.Diff(want, y.s.Ring.Lists()); diff != "" {
				t.Error(diff)
			}
			if kind == ChangeReplace {
				y.must(Exit(nodeID("b")))
			} else if m, _ := y.s.Member(nodeID("b")); m.Status != StatusLeft || !m.Forced {
				t.Errorf("forced out: %+v", m)
			}
		})
	}
}

// TestForceRemove: the lost node is out of every list at once, and each partition has all
// its replicas again when what is left of them has filled new ones.
func TestForceRemove(t *testing.T) {
	y := planStory(t, 3, "a", "b", "c", "d")
	y.must(Join(testMember("e")))
	y.lead(false) // transfers to e are under way, some of which need d
	y.down[nodeID("d")] = true
	y.must(Make(force(ChangeForceRemove, "d", "")))
	if y.s.Holds(nodeID("d")) > 0 || y.status("d") != StatusLeft {
		t.Fatalf("forced out: %s", y.describe())
	}
	for _, tr := range y.s.Transfers {
		if tr.From == nodeID("d") || tr.To == nodeID("d") {
			t.Errorf("still open: %+v", tr)
		}
	}
	delete(y.down, nodeID("d"))
	y.settle()
	for p, a := range y.s.Ring.Assignments {
		if len(a.Replicas) != 3 {
			t.Errorf("partition %d: %v", p, a)
		}
	}
}

// TestForceRemoveOfTheOnlyCopy: its partitions go to who would have stood in, and the plan says what is lost.
func TestForceRemoveOfTheOnlyCopy(t *testing.T) {
	y := planStory(t, 1, "a", "b", "c")
	held := y.s.Holds(nodeID("b"))
	y.must(Stage(force(ChangeForceRemove, "b", "")))
	o, err := Foresee(y.s, Facts{Services: map[string]int{"kv": 0, "counter": 1}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		fmt.Sprintf("DATA LOSS: %d partitions of service counter have no other copy (it keeps 1): what they hold is lost for good", held),
		fmt.Sprintf("DATA LOSS: %d partitions of service kv have no other copy (it keeps 1): what they hold is lost for good", held),
	}
	if diff := cmp.Diff(want, o.Warnings); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, o.Losses); diff != "" {
		t.Error(diff)
	}
	y.commitPlan()
	for p, a := range y.s.Ring.Assignments {
		if len(a.Replicas) != 1 || a.Replicas[0].Node == nodeID("b") {
			t.Errorf("partition %d: %v", p, a)
		}
	}
	y.settle()
}

// TestLossesCountWholeCopies: a copy that is not whole replaces none, and one that is not lost
// with the node loses nothing.
func TestLossesCountWholeCopies(t *testing.T) {
	y := planStory(t, 2, "a", "b", "c")
	gone := []Change{force(ChangeForceRemove, "b", "")}
	losses := func(changes []Change, lacks func(Copy) bool) (partitions int) {
		t.Helper()
		lost, _ := Losses(y.s, changes, Facts{Services: map[string]int{"kv": 0}, Lacks: lacks})
		if len(lost) > 0 {
			if _, err := fmt.Sscanf(lost[0], "DATA LOSS: %d partitions", &partitions); err != nil {
				t.Fatalf("%q: %v", lost, err)
			}
		}
		return partitions
	}
	shared := 0 // with a
	for p := range y.s.Ring.Assignments {
		list := y.s.Ring.Lists()[p]
		if slices.Contains(list, nodeID("a")) && slices.Contains(list, nodeID("b")) {
			shared++
		}
	}
	if shared == 0 || shared == y.s.Holds(nodeID("b")) {
		t.Fatalf("a and b share %d of %d: this test shows nothing", shared, y.s.Holds(nodeID("b")))
	}
	if n := losses(gone, nil); n != 0 {
		t.Errorf("%d lost, and the others have all", n)
	}
	if n := losses(gone, func(x Copy) bool { return x.Node == nodeID("a") }); n != shared {
		t.Errorf("%d lost, want %d, which only a has besides, and not whole", n, shared)
	}
	if n := losses(append(gone, force(ChangeForceRemove, "a", "")), nil); n != shared {
		t.Errorf("%d lost with both, want %d", n, shared)
	}
	if n := losses(nil, func(Copy) bool { return true }); n != 0 {
		t.Errorf("%d lost, and nobody goes", n)
	}
}

// TestZoneRenamed: a zone that only has another name moves nothing (riak_test's location).
func TestZoneRenamed(t *testing.T) {
	y := &story{t: t, down: map[ring.NodeID]bool{}}
	zoned := func(name, zone string) Member { m := testMember(name); m.Zone = zone; return m }
	y.must(birthCommand(Birth(zoned("a", "z1"), 64, 3)))
	for i, name := range []string{"b", "c", "d", "e", "f"} {
		y.must(Join(zoned(name, []string{"z1", "z2", "z3"}[(i+1)/2])))
		y.settle()
	}
	before := y.s.Ring.Lists()
	y.must(Stage(Change{Kind: ChangeZone, Node: nodeID("a"), Zone: "renamed"}))
	y.must(Stage(Change{Kind: ChangeZone, Node: nodeID("b"), Zone: "renamed"}))
	o, err := Foresee(y.s, Facts{})
	if err != nil || len(o.Transfers) > 0 {
		t.Fatalf("planned: %+v %v", o, err)
	}
	y.commitPlan()
	y.settle()
	if diff := cmp.Diff(before, y.s.Ring.Lists()); diff != "" {
		t.Error(diff)
	}
}

// TestReplicas: more at once, fewer when no list is longer any more.
func TestReplicas(t *testing.T) {
	y := planStory(t, 2, "a", "b", "c", "d")
	for _, n := range []int{3, 1, 4, 2} {
		y.must(Make(Change{Kind: ChangeReplicas, Number: n}))
		for range 5 { // some lists are as long as before
			if got := y.s.Ring.N; got < n || slices.ContainsFunc(y.s.Ring.Assignments, func(a ring.Assignment) bool { return len(a.Replicas) > got }) {
				t.Fatalf("N is %d on the way to %d", got, n)
			}
			y.lead(false)
			if len(y.s.Transfers) > 0 {
				y.must(Commit(&y.s.Transfers[0], y.s.Transfers[0].Driver()))
			}
		}
		y.settle()
		if y.s.Ring.N != n || y.s.Replicas != 0 {
			t.Fatalf("N is %d, wanted %d, asked for %d", y.s.Ring.N, y.s.Replicas, n)
		}
		for p, a := range y.s.Ring.Assignments {
			if len(a.Replicas) != n {
				t.Errorf("partition %d: %v, want %d", p, a, n)
			}
		}
	}
}

// TestDeadNodeBlocksOnlyItself: with a node that is dead, joins, leaves, plans, weights and zones go on; what
// needs it waits, and the plan says so.
func TestDeadNodeBlocksOnlyItself(t *testing.T) {
	y := planStory(t, 2, "a", "b", "c", "d")
	y.down[nodeID("d")] = true
	y.must(StageJoin(testMember("e")))
	y.must(Stage(leaveOf("a")))
	y.must(Stage(Change{Kind: ChangeZone, Node: nodeID("b"), Zone: "z"}))
	o, err := Foresee(y.s, Facts{Up: func(id ring.NodeID) bool { return !y.down[id] }})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(o.Warnings, func(w string) bool { return strings.HasPrefix(w, "d cannot be reached") }) {
		t.Errorf("warnings: %q", o.Warnings)
	}
	y.commitPlan()
	y.settle()
	for p := range y.s.Ring.Assignments {
		p := ring.Partition(p)
		step, more := y.s.nextStep(p)
		if more && !slices.Contains(needs(y.s, step), nodeID("d")) {
			t.Errorf("%v waits, and does not need the dead node", step)
		}
	}
	if y.s.Holds(nodeID("e")) == 0 {
		t.Error("the joiner has got nothing")
	}
	y.must(Down(nodeID("d")))
	y.must(Make(leaveOf("d"))) // it will not hear of it
	y.must(Make(force(ChangeForceRemove, "d", "")))
	clear(y.down)
	y.settle()
	if y.s.Holds(nodeID("a")) > 0 || !y.s.Settled() {
		t.Errorf("after the dead node is out: %s", y.describe())
	}
}

// TestDownIsUpWhenSeen: the leader takes back what the operator said.
func TestDownIsUpWhenSeen(t *testing.T) {
	y := planStory(t, 2, "a", "b")
	y.down[nodeID("b")] = true
	y.must(Stage(Change{Kind: ChangeDown, Node: nodeID("b")}))
	y.commitPlan()
	y.lead(true)
	if y.status("b") != StatusDown {
		t.Fatalf("b is %s", y.status("b"))
	}
	clear(y.down)
	y.lead(true)
	if y.status("b") != StatusValid {
		t.Errorf("b is %s and was seen", y.status("b"))
	}
}
