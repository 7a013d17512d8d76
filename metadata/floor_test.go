package metadata

import (
	"errors"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// A floor rises when the replicas that have compared are still the ones, and only
// if every member was asked; what it was before is what may be reaped.
func TestRaiseFloors(t *testing.T) {
	y := &story{t: t, down: map[ring.NodeID]bool{}}
	y.step(birthCommand(Birth(testMember("a"), 8, 3)))
	y.step(Join(testMember("b")))
	y.lead(true)
	all := []ring.NodeID{nodeID("a"), nodeID("b")}
	gen := y.s.Ring.Gen(1)
	rise := func(p ring.Partition, gen ring.Gen, at uint64, asked []ring.NodeID) error {
		c := RaiseFloors([]FloorRise{{Partition: p, Gen: gen, Time: at}}, asked)
		next, err := step(y.s, &c)
		y.s = next
		return err
	}
	for _, c := range []struct {
		why   string
		p     ring.Partition
		gen   ring.Gen
		at    uint64
		asked []ring.NodeID
		ok    bool
		want  Floor
	}{
		{"a member was not asked", 1, gen, 5, all[:1], false, Floor{}},
		{"another gen", 1, gen - 1, 5, all, false, Floor{}},
		{"no such partition", 8, gen, 5, all, false, Floor{}},
		{"the first time", 1, gen, 5, all, true, Floor{Time: 5}},
		{"no rise", 1, gen, 5, all, false, Floor{Time: 5}},
		{"a fall", 1, gen, 4, all, false, Floor{Time: 5}},
		{"again", 1, gen, 9, all, true, Floor{Time: 9, Reap: 5}},
	} {
		err := rise(c.p, c.gen, c.at, c.asked)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, &wire.Error{Code: wire.Conflict}) {
			t.Errorf("%s: %v", c.why, err)
		}
		if got := y.s.Floor(1); got != c.want {
			t.Errorf("%s: %+v, not %+v", c.why, got, c.want)
		}
	}
	if got := y.s.Floor(2); got != (Floor{}) {
		t.Errorf("the floor of another partition is %+v", got)
	}
	y.step(Leave(nodeID("b")))
	if err := rise(2, y.s.Ring.Gen(2), 30, all); err == nil {
		t.Error("a floor rose while a member was leaving")
	}
	y.lead(true)
	y.step(Exit(nodeID("b")))
	y.step(leftCommand(nodeID("b")))
	if err := rise(2, y.s.Ring.Gen(2), 30, all); err == nil {
		t.Error("a floor rose by the word of a member that has left")
	}
	if err := rise(2, y.s.Ring.Gen(2), 30, all[:1]); err != nil {
		t.Errorf("when a member has left: %v", err)
	}
	all = all[:1]
	y.step(Join(testMember("c")))
	y.lead(false)
	if len(y.s.Transfers) == 0 {
		t.Fatal("nothing moves")
	}
	p := y.s.Transfers[0].Partition
	if err := rise(p, y.s.Ring.Gen(p), 20, append(all, nodeID("c"))); err == nil {
		t.Error("a floor rose while its partition was moving")
	}
}
