package metadata

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// TestStepProperties runs random commands, sensible and not, and checks after each
// what must hold of every step.
func TestStepProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		birth := birthCommand(Birth(testMember("n0"), 8, rapid.IntRange(1, 3).Draw(t, "n")))
		s := checkedStep(t, nil, &birth)
		sessions := 0
		for i := range rapid.IntRange(1, 80).Draw(t, "steps") {
			c := drawCommand(t, s, &sessions)
			c.Version, c.ReqID = CommandVersion, fmt.Sprint("r", rapid.IntRange(0, i).Draw(t, "req"))
			s = checkedStep(t, s, &c)
		}
	})
}

// drawCommand draws a command of which a good part fits s.
func drawCommand(t *rapid.T, s *State, sessions *int) Command {
	id := nodeID(fmt.Sprint("n", rapid.IntRange(0, 5).Draw(t, "node")))
	member := testMember(nodeName(id))
	var open Transfer
	if len(s.Transfers) > 0 {
		open = rapid.SampledFrom(s.Transfers).Draw(t, "transfer")
	} else if len(s.Ended) > 0 {
		e := rapid.SampledFrom(s.Ended).Draw(t, "ended")
		open = Transfer{ID: e.ID, Step: e.Step}
	}
	switch rapid.IntRange(0, 15).Draw(t, "op") {
	case 0, 1:
		return Join(member)
	case 2:
		member.Addr = rapid.SampledFrom([]string{"x:1", "y:1"}).Draw(t, "addr")
		return Address(member)
	case 3:
		return Leave(id)
	case 4:
		return Exit(id)
	case 5:
		return leftCommand(id)
	case 6:
		return votersCommand([]ring.NodeID{id})
	case 7:
		return rapid.SampledFrom([]Command{Down(id), Up(id), settleCommand()}).Draw(t, "turn")
	case 8:
		return Abort(&open, "drawn")
	case 9, 10:
		return Commit(&open, open.Driver())
	case 11, 12:
		return drawRise(t, s)
	case 13:
		return drawBucket(t)
	}
	cs := decide(limited(s, 3), view{
		up: func(ring.NodeID) bool { return true }, stalled: func(*Transfer) bool { return false },
		session: func() string { *sessions++; return fmt.Sprint("s", *sessions) },
	})
	if len(cs) == 0 {
		return settleCommand()
	}
	return cs[0]
}

// drawBucket draws a change of a bucket's properties.
func drawBucket(t *rapid.T) Command {
	quorum := func(name string) *wire.Quorum {
		return rapid.SampledFrom([]*wire.Quorum{nil, new(wire.QuorumDefault), new(wire.Quorum(1)), new(wire.MaxQuorum), new(wire.QuorumMajority), new(wire.QuorumAll)}).Draw(t, name)
	}
	name := rapid.SampledFrom([]string{"a", "b", "", "\xff", "a\tb"}).Draw(t, "bucket")
	return Bucket(name, wire.BucketChange{
		R: quorum("r"), W: quorum("w"), PR: quorum("pr"), PW: quorum("pw"),
		Sloppy:   rapid.SampledFrom([]*wire.Switch{nil, new(wire.SwitchDefault), new(wire.SwitchOn), new(wire.SwitchOff)}).Draw(t, "sloppy"),
		Siblings: rapid.SampledFrom([]*bool{nil, new(true), new(false)}).Draw(t, "siblings"),
	})
}

// checkedStep is step with everything checked that must hold of it.
func checkedStep(t *rapid.T, s *State, c *Command) *State {
	before := mustJSON(t, s)
	command := mustJSON(t, c)
	next, err := step(s, c)
	again, err2 := step(s, c)
	if mustJSON(t, next) != mustJSON(t, again) || fmt.Sprint(err) != fmt.Sprint(err2) {
		t.Fatalf("%s: two runs differ", command)
	}
	if mustJSON(t, s) != before || mustJSON(t, c) != command {
		t.Fatalf("%s: changed its input", command)
	}
	if _, typed := errors.AsType[*wire.Error](err); err != nil && (!typed || next != s) {
		t.Fatalf("%s: error %v, changed %t", command, err, next != s)
	}
	if s != nil && next != s && next.Epoch != s.Epoch+1 {
		t.Fatalf("%s: epoch %d after %d", command, next.Epoch, s.Epoch)
	}
	if err := next.check(); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	if s != nil {
		checkGens(t, s, next)
		checkFloors(t, s, next, c)
	}
	checkTransfers(t, next)
	checkRoundTrip(t, next)
	return next
}

// checkGens: a pair (partition, gen) determines the list.
func checkGens(t *rapid.T, s, next *State) {
	for p := range s.Ring.Assignments {
		a, b := s.Ring.Assignments[p], next.Ring.Assignments[p]
		same := cmp.Equal(a.Replicas, b.Replicas)
		if same != (a.Gen == b.Gen) || b.Gen > a.Gen+1 || b.Gen < a.Gen {
			t.Fatalf("partition %d: %v became %v", p, a, b)
		}
	}
}

// drawRise draws a rise of two floors, mostly with all members asked.
func drawRise(t *rapid.T, s *State) Command {
	var asked []ring.NodeID
	for _, m := range s.Members {
		if rapid.IntRange(0, 9).Draw(t, "asked") > 0 {
			asked = append(asked, m.ID)
		}
	}
	var rises []FloorRise
	for range 2 {
		p := ring.Partition(rapid.IntRange(0, s.Ring.Q()).Draw(t, "partition"))
		rise := FloorRise{Partition: p, Time: rapid.Uint64Range(0, 9).Draw(t, "time")}
		if int(p) < s.Ring.Q() {
			rise.Gen = s.Ring.Gen(p) - ring.Gen(rapid.IntRange(0, 1).Draw(t, "old"))
		}
		rises = append(rises, rise)
	}
	return RaiseFloors(rises, asked)
}

// checkFloors: a floor only rises, by nothing but its own command, while nothing of
// its partition moves, and leaves behind what it was.
func checkFloors(t *rapid.T, s, next *State, c *Command) {
	for p := range next.Ring.Assignments {
		p := ring.Partition(p)
		was, is := s.Floor(p), next.Floor(p)
		if was == is {
			continue
		}
		if _, moving := s.Transfer(p); moving || c.Op != opFloor || is.Time <= was.Time || is.Reap != was.Time {
			t.Fatalf("partition %d: floor %+v after %+v by %s, moving %t", p, is, was, c.Op, moving)
		}
	}
}

// checkTransfers: every place that is catching up belongs to an open add, and no
// session is open and ended.
func checkTransfers(t *rapid.T, s *State) {
	for p, a := range s.Ring.Assignments {
		tr, open := s.Transfer(ring.Partition(p))
		last := a.Replicas[len(a.Replicas)-1]
		if adding := open && tr.Kind == ring.StepAdd; adding != last.CatchingUp {
			t.Fatalf("partition %d: transfer %v, last place %v", p, tr, last)
		}
		if _, ended := s.Outcome(tr.ID); open && ended {
			t.Fatalf("session %s is open and ended", tr.ID)
		}
	}
	for i := range s.Members {
		if m := &s.Members[i]; (m.Status == StatusExiting || m.Gone()) && s.Holds(m.ID) > 0 {
			t.Fatalf("%s is %s and holds slots", m.Name, m.Status)
		}
	}
}

func checkRoundTrip(t *rapid.T, s *State) {
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	want := *s
	want.Recent = nil
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Fatalf("changed on its way (-want +got):\n%s", diff)
	}
}

func mustJSON(t *rapid.T, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestBounds: what State remembers of the past does not grow for ever.
func TestBounds(t *testing.T) {
	y := &story{t: t, down: map[ring.NodeID]bool{}}
	y.step(birthCommand(Birth(testMember("a"), 8, 3)))
	y.step(Join(testMember("b")))
	y.lead(false)
	for i := range 3000 {
		tr := y.s.Transfers[0]
		for _, c := range []Command{
			Abort(&tr, "again"),
			beginCommand([]Transfer{{ID: fmt.Sprint("again", i), Step: tr.Step}}),
		} {
			c.ReqID = fmt.Sprint(i, c.Op)
			next, err := step(y.s, &c)
			if err != nil {
				t.Fatal(err)
			}
			y.s = next
		}
	}
	if got := len(y.s.Ended); got != endedKept(8) {
		t.Errorf("%d ended transfers kept, want %d", got, endedKept(8))
	}
	if got := len(y.s.Recent); got != recentKept {
		t.Errorf("%d request ids kept, want %d", got, recentKept)
	}
	if _, known := y.s.Outcome("again2998"); !known {
		t.Error("a transfer that just ended is forgotten")
	}
}

func FuzzDecode(f *testing.F) {
	b, err := Birth(testMember("a"), 8, 3).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(b)
		if err != nil {
			return
		}
		again, err := s.Encode()
		if err != nil {
			t.Fatalf("decoded and not encoded again: %v", err)
		}
		if _, err := Decode(again); err != nil {
			t.Fatalf("encoded and not decoded again: %v", err)
		}
	})
}
