package metadata

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// drawStory runs random commands on s and returns all States, s first.
func drawStory(t *rapid.T, s *State, sessions *int) []*State {
	story := []*State{s}
	for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
		c := drawCommand(t, s, sessions)
		c.Version, c.ReqID = CommandVersion, fmt.Sprint("r", s.Epoch, i)
		if next, _ := step(s, &c); next != s {
			s = next
			story = append(story, s)
		}
	}
	return story
}

// TestDeltaProperties: the changes between any two States of a story make the later one
// of the earlier, over JSON, and of no other.
func TestDeltaProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sessions := 0
		story := drawStory(t, Birth(testMember("n0"), 8, rapid.IntRange(1, 3).Draw(t, "n")), &sessions)
		i := rapid.IntRange(0, len(story)-1).Draw(t, "from")
		j := rapid.IntRange(i, len(story)-1).Draw(t, "to")
		d, ok := story[i].deltaTo(story[j])
		if !ok {
			t.Fatal("no delta")
		}
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var read delta
		if err := json.Unmarshal(b, &read); err != nil {
			t.Fatal(err)
		}
		got, err := story[i].with(&read)
		if err != nil {
			t.Fatalf("%d to %d: %v\n%s", story[i].Epoch, story[j].Epoch, err, b)
		}
		a, _ := got.Encode()
		want, _ := story[j].Encode()
		if string(a) != string(want) {
			t.Fatalf("%d to %d:\n%s\nwant\n%s", story[i].Epoch, story[j].Epoch, a, want)
		}
		if k := rapid.IntRange(0, len(story)-1).Draw(t, "other"); k != i {
			if _, err := story[k].with(&read); err == nil {
				t.Fatalf("changes since %d were taken at %d", story[i].Epoch, story[k].Epoch)
			}
		}
	})
}

// TestRecoveredProperties: a recovered State keeps members and lists, has one voter, and
// epochs and gens that nobody of the former generation can reach; it is served and changed
// like any other; and of those who stayed behind, the ones follow that have seen nothing
// which it does not know.
func TestRecoveredProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sessions := 0
		story := drawStory(t, Birth(testMember("n0"), 8, rapid.IntRange(1, 3).Draw(t, "n")), &sessions)
		base := rapid.IntRange(0, len(story)-1).Draw(t, "base")
		s, self := story[base], rapid.SampledFrom(story[base].Members).Draw(t, "self")
		next, err := Recovered(s, self.ID)
		only := slices.Equal(voterFlags(s), []ring.NodeID{self.ID})
		if fit := !self.Gone() && self.Status != StatusExiting && !only; fit != (err == nil) {
			t.Fatalf("%s, %s, voters %v: %v", self.Name, self.Status, voterFlags(s), err)
		}
		if err != nil {
			return
		}
		if err := next.check(); err != nil {
			t.Fatal(err)
		}
		checkRoundTrip(t, next)
		if !next.founded(self.ID) || !slices.Equal(voterFlags(next), []ring.NodeID{self.ID}) || len(next.Transfers) > 0 || len(next.Members) != len(s.Members) {
			t.Fatalf("%+v", next)
		}
		last := story[len(story)-1]
		for p := range next.Ring.Assignments {
			if next.Ring.Gen(ring.Partition(p)) <= last.Ring.Gen(ring.Partition(p)) {
				t.Fatalf("partition %d: gen %d, and %d in the former generation", p, next.Ring.Gen(ring.Partition(p)), last.Ring.Gen(ring.Partition(p)))
			}
		}
		for _, tr := range s.Transfers {
			if committed, known := next.Outcome(tr.ID); committed || !known {
				t.Fatalf("transfer %s: committed %t, known %t", tr.ID, committed, known)
			}
		}
		for _, old := range story {
			if err := old.Follows(next); (err == nil) != (old.Epoch <= s.Epoch) || next.Follows(old) == nil {
				t.Fatalf("epoch %d follows a recovery of %d: %v", old.Epoch, s.Epoch, err)
			}
		}
		other, err := Recovered(s, self.ID) // on another node, say
		if err != nil || other.Generation() == next.Generation() || other.Follows(next) == nil {
			t.Fatalf("two recoveries of one number: %v and %v, %v", other.Generation(), next.Generation(), err)
		}
		again, err := Recovered(drawStory(t, withVoters(other), &sessions)[0], self.ID)
		if err != nil || next.Follows(again) == nil || s.Follows(again) != nil {
			t.Fatalf("recovered once more: %v, the other side follows: %t, the former generation: %v", err, next.Follows(again) == nil, s.Follows(again))
		}
	})
}

// withVoters is s with another voter, so that it can be recovered.
func withVoters(s *State) *State {
	c := *s
	c.Members = slices.Clone(s.Members)
	c.setMember(Member{ID: nodeID("zz"), Name: "zz", Weight: 1, Status: StatusValid, Voter: true})
	return &c
}

// TestStoreInGeneration: a Store that is opened with a recovered State begins raft anew,
// leads alone, and takes nothing from the former generation; nor the other way round.
func TestStoreInGeneration(t *testing.T) {
	c, nodes := grow(t, 8, "n1", "n2", "n3")
	n1, n2 := nodes[0], nodes[1]
	former := n1.store.State()
	n1.kill()
	next, err := Recovered(former, n1.id)
	if err != nil {
		t.Fatal(err)
	}
	if err := Found(c.dir+"/n1", next); err != nil {
		t.Fatal(err)
	}
	newer, err := next.Encode()
	if err != nil {
		t.Fatal(err)
	}
	older, err := n2.store.State().Encode()
	if err != nil {
		t.Fatal(err)
	}
	foreign := func(n *node, b []byte) {
		t.Helper()
		have := n.store.State()
		if err := n.store.Learn(b); !errors.Is(err, &wire.Error{Code: wire.WrongCluster}) || n.store.State() != have {
			t.Errorf("%s learned of another generation: %v", n.id, err)
		}
	}
	foreign(n2, newer)
	n2.kill() // nothing here keeps raft's connections of two generations apart: dataplane's hello does
	nodes[2].kill()
	n1 = c.start("n1", nil)
	c.eventually("a leader of the new generation", n1.store.Leading)
	if err := n1.store.Propose(t.Context(), Down(n2.id)); err != nil {
		t.Fatal(err)
	}
	foreign(n1, older)
	st := n1.store.State()
	if st.Generation().N != 1 || st.Epoch.Generation() != 1 || len(voterFlags(st)) != 1 {
		t.Fatalf("generation %v, epoch %d, voters %v", st.Generation(), st.Epoch, voterFlags(st))
	}
	n1.kill()
	n1 = c.start("n1", nil)
	// A node that follows opens with the new State, and is enlisted and promoted as any.
	if err := n1.store.Propose(t.Context(), Up(n2.id)); err != nil {
		t.Fatal(err)
	}
	c.start("n2", st)
	c.start("n3", st)
	if got := n1.await("three voters", func(s *State) bool { return len(voterFlags(s)) == 3 }); got.Generation() != st.Generation() {
		t.Errorf("generation %v", got.Generation())
	}
}
