package ring_test

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringcore/ringcore/metadata/ring"
)

// genList draws distinct nodes.
func genList(t *rapid.T, least int, label string) []ring.NodeID {
	node := rapid.SampledFrom([]ring.NodeID{"a", "b", "c", "d", "e", "f", "g", "h", "i"})
	return rapid.SliceOfNDistinct(node, least, ring.MaxReplicas, rapid.ID[ring.NodeID]).Draw(t, label)
}

// ringWith is a ring of eight whose partition 3 has list.
func ringWith(list []ring.NodeID) *ring.Ring {
	r := ring.New(8, 3, "a")
	r.Assignments[3].Replicas = nil
	for _, n := range list {
		r.Assignments[3].Replicas = append(r.Assignments[3].Replicas, ring.Replica{Node: n})
	}
	return r
}

func TestStepsLeadFromAnyListToAnyTarget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list, target := genList(t, 1, "list"), genList(t, 1, "target")
		r := ringWith(list)
		steps, data := 0, 0
		for {
			s, ok := ring.NextStep(3, r.Replicas(3, 9), target)
			if !ok {
				break
			}
			if steps++; steps > 3*ring.MaxReplicas {
				t.Fatalf("no end in sight: %v after %d steps", r.Replicas(3, 9), steps)
			}
			if s.Kind == ring.StepMove || s.Kind == ring.StepAdd {
				data++
			}
			r = apply(t, r, s, rapid.Bool().Draw(t, "abort first"))
		}
		if got := r.Lists()[3]; !slices.Equal(got, target) {
			t.Fatalf("%v ends as %v, not as %v", list, got, target)
		}
		fresh := 0
		for _, n := range target {
			if !slices.Contains(list, n) {
				fresh++
			}
		}
		if data != fresh {
			t.Fatalf("%d steps copy data to %d new nodes", data, fresh)
		}
		if all := ring.StepsTo(3, ringWith(list).Replicas(3, 9), target); len(all) != steps {
			t.Fatalf("StepsTo takes %d steps, one by one it were %d", len(all), steps)
		}
	})
}

// apply begins and commits s, after an attempt that came to nothing if abort is
// set, and checks what every change must keep.
func apply(t *rapid.T, r *ring.Ring, s ring.Step, abort bool) *ring.Ring {
	begin := func(r *ring.Ring) *ring.Ring {
		b, err := r.Begin(s)
		if err != nil {
			t.Fatal(err)
		}
		checkChange(t, r, b, s.Kind == ring.StepAdd, s.Kind == ring.StepAdd)
		if _, more := ring.NextStep(3, b.Replicas(3, 9), []ring.NodeID{"x", "y", "z"}); more && s.Kind == ring.StepAdd {
			t.Fatalf("a second step while %v is under way", s)
		}
		return b
	}
	if abort {
		b := begin(r)
		a, err := b.Abort(s)
		if err != nil {
			t.Fatal(err)
		}
		checkChange(t, b, a, s.Kind == ring.StepAdd, s.Kind == ring.StepAdd)
		if !reflect.DeepEqual(a.Lists(), r.Lists()) {
			t.Fatalf("%v, aborted, leaves %v of %v", s, a.Lists(), r.Lists())
		}
		r = a
	}
	b := begin(r)
	c, err := b.Commit(s)
	if err != nil {
		t.Fatal(err)
	}
	checkChange(t, b, c, true, s.Kind == ring.StepDrop)
	return c
}

// checkChange checks that to is valid, differs from from in partition 3 at most, and has
// the gens of one change, or of none.
func checkChange(t *rapid.T, from, to *ring.Ring, changed, rebuilt bool) {
	if err := to.Validate(); err != nil {
		t.Fatal(err)
	}
	x, y := from.Assignments[3], to.Assignments[3]
	if !changed {
		if from != to {
			t.Fatal("another ring, and nothing changed")
		}
		return
	}
	if y.Gen != x.Gen+1 || rebuilt && y.Rebuilt != y.Gen || !rebuilt && y.Rebuilt != x.Rebuilt {
		t.Fatalf("gen %d, rebuilt %d became %d, %d", x.Gen, x.Rebuilt, y.Gen, y.Rebuilt)
	}
	for p := range from.Assignments {
		if p != 3 && &from.Assignments[p].Replicas[0] != &to.Assignments[p].Replicas[0] {
			t.Fatalf("partition %d is not shared", p)
		}
	}
}

func TestChangesLeaveTheirRingAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list, target := genList(t, 1, "list"), genList(t, 1, "target")
		r := ringWith(list)
		s, ok := ring.NextStep(3, r.Replicas(3, 9), target)
		if !ok {
			return
		}
		b, err := r.Begin(s)
		if err != nil {
			t.Fatal(err)
		}
		begun := b.WithEpoch(9)
		before := slices.Clone(begun.Assignments[3].Replicas)
		if _, err := b.Commit(s); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(r.Lists()[3], list) || !slices.Equal(begun.Assignments[3].Replicas, before) {
			t.Fatalf("%v changed the ring that it was applied to", s)
		}
	})
}

func TestStepsThatDoNotFitAreRefused(t *testing.T) {
	r := ringWith([]ring.NodeID{"a", "b"})
	adding, err := r.Begin(ring.Step{Kind: ring.StepAdd, Partition: 3, Slot: 2, To: "c"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		on   *ring.Ring
		step ring.Step
	}{
		{"unknown kind", r, ring.Step{Kind: "jump", Partition: 3}},
		{"no such partition", r, ring.Step{Kind: ring.StepMove, Partition: 8, From: "a", To: "c"}},
		{"no such slot", r, ring.Step{Kind: ring.StepMove, Partition: 3, Slot: 2, From: "b", To: "c"}},
		{"negative slot", r, ring.Step{Kind: ring.StepMove, Partition: 3, Slot: -1, From: "b", To: "c"}},
		{"another holder", r, ring.Step{Kind: ring.StepMove, Partition: 3, From: "b", To: "c"}},
		{"already there", r, ring.Step{Kind: ring.StepMove, Partition: 3, From: "a", To: "b"}},
		{"to nobody", r, ring.Step{Kind: ring.StepMove, Partition: 3, From: "a"}},
		{"swap of one", r, ring.Step{Kind: ring.StepSwap, Partition: 3, From: "a", To: "a"}},
		{"swap of others", r, ring.Step{Kind: ring.StepSwap, Partition: 3, Other: 1, From: "a", To: "c"}},
		{"add inside", r, ring.Step{Kind: ring.StepAdd, Partition: 3, Slot: 1, To: "c"}},
		{"add twice", adding, ring.Step{Kind: ring.StepAdd, Partition: 3, Slot: 3, To: "d"}},
		{"move while adding", adding, ring.Step{Kind: ring.StepMove, Partition: 3, From: "a", To: "d"}},
		{"drop of the first", r, ring.Step{Kind: ring.StepDrop, Partition: 3, Slot: 0, From: "a"}},
		{"drop of the only", r, ring.Step{Kind: ring.StepDrop, Partition: 2, Slot: 0, From: "a"}},
	} {
		if _, err := c.on.Begin(c.step); err == nil {
			t.Errorf("%s: begun", c.what)
		}
		if _, err := c.on.Commit(c.step); err == nil {
			t.Errorf("%s: committed", c.what)
		}
	}
	for what, s := range map[string]ring.Step{
		"never begun":     {Kind: ring.StepAdd, Partition: 2, Slot: 0, To: "a"},
		"another node":    {Kind: ring.StepAdd, Partition: 3, Slot: 2, To: "d"},
		"readable by now": {Kind: ring.StepAdd, Partition: 3, Slot: 1, To: "b"},
		"no partition":    {Kind: ring.StepAdd, Partition: 99, Slot: 1, To: "b"},
	} {
		if _, err := adding.Abort(s); err == nil {
			t.Errorf("%s: aborted", what)
		}
		if _, err := adding.Commit(s); err == nil {
			t.Errorf("%s: committed", what)
		}
	}
	if _, err := r.Commit(ring.Step{Kind: ring.StepAdd, Partition: 3, Slot: 1, To: "b"}); err == nil {
		t.Error("an add is committed that is not under way")
	}
}
