package metadata

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// able is node name with claims; without any it is of the version that made none.
func able(name string, claims ...string) Member {
	m := testMember(name)
	m.Caps = claims
	return m
}

// trial is a State that commands change.
type trial struct {
	t *testing.T
	s *State
}

// try applies c as Propose would send it, and returns the refusal, if it is one.
func (y *trial) try(c Command) *wire.Error {
	y.t.Helper()
	c = c.stamped()
	next, err := step(y.s, &c)
	if err == nil {
		y.s = next
		return nil
	}
	if next != y.s {
		y.t.Fatalf("%s: refused (%v), and the State has changed", c.Op, err)
	}
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		y.t.Fatalf("%s: %v is no *wire.Error", c.Op, err)
	}
	return e
}

func (y *trial) must(c Command) {
	y.t.Helper()
	if err := y.try(c); err != nil {
		y.t.Fatalf("%s: %v", c.Op, err)
	}
}

func (y *trial) refused(c Command, code wire.Code, words ...string) {
	y.t.Helper()
	err := y.try(c)
	if err == nil || err.Code != code {
		y.t.Fatalf("%s: %v, want %v", c.Op, err, code)
	}
	for _, w := range words {
		if !strings.Contains(err.Message, w) {
			y.t.Errorf("%s: %q does not say %q", c.Op, err.Message, w)
		}
	}
}

func born1(t *testing.T, m Member) *trial {
	s := Birth(m, 8, 3)
	s.Members[0].Caps = m.Caps // also a node that makes no claim
	return &trial{t, s}
}

func TestCommonCapability(t *testing.T) {
	y := born1(t, able("a", "metadata=1-2", "x=3"))
	y.must(Join(able("b", "metadata=1-2", "x=1-2", "gone=1")))
	check := func(name string, want int) {
		t.Helper()
		if got := y.s.Common(name); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	check("x", 2)
	check("gone", 0) // only one has it
	check("unheard", 0)
	check(MetadataCapability, 2)

	y.must(Join(able("c")))
	check("x", 0)
	check(MetadataCapability, 1)
	y.must(rebalanceCommand(y.s.Roster, plan(y.s)))
	y.must(Down(nodeID("c")))
	check("x", 0) // it counts as it was last

	y.must(Address(able("c", "metadata=1-2", "x=7", "later!=?", "=", "x")))
	check("x", 2)
	y.must(Leave(nodeID("b")))
	check("x", 2) // it is still there
	m, _ := y.s.Member(nodeID("b"))
	m.Status = StatusLeft
	y.s.setMember(m)
	check("x", 3)
}

// A command that some member would not understand changes nothing, at any member.
func TestCommandsOfTheSecondVersion(t *testing.T) {
	y := born1(t, able("a", "metadata=1-2", "x=2"))
	y.must(Join(able("b", "x=2")))
	before := y.s
	y.refused(useCommand("x", 1), wire.NotSupported, "b can do 1")
	if y.s != before || y.s.Format != 1 {
		t.Fatal("the State has changed")
	}
	if cs := y.s.adoptions([]Capability{{Name: "x", Newest: 2, Lasting: true}}); cs != nil {
		t.Fatalf("the leader proposes %v to a member that does not know it", cs)
	}
	// What the second version refuses, the first admits: then so must both.
	y.must(Join(able("c", "metadata=1-2", "x=9-9")))
	y.must(Address(able("c", "metadata=1-2", "x=2")))

	y.must(Address(able("b", "metadata=1-2", "x=2")))
	for _, c := range y.s.adoptions([]Capability{{Name: "x", Newest: 2, Lasting: true}, {Name: "y", Newest: 1, Lasting: true}, {Name: "z", Newest: 1}}) {
		y.must(c)
	}
	if y.s.Format != 2 || y.s.Used["x"] != 2 || len(y.s.Used) != 1 {
		t.Fatalf("format %d, used %v", y.s.Format, y.s.Used)
	}
	for _, c := range []Capability{{Name: "x", Lasting: true, Newest: 2}, Metadata()} {
		if y.s.InUse(c) != 2 {
			t.Errorf("%s: %d in use", c.Name, y.s.InUse(c))
		}
	}

	y.refused(useCommand("x", 3), wire.Conflict, "can do 2")
	y.refused(useCommand("metadata", 3), wire.BadRequest)
	y.must(useCommand("x", 1)) // less than what is in use: nothing to do
	y.refused(Join(able("d", "x=2")), wire.Refused, "d", "metadata 1", "uses 2 for good")
	y.refused(Join(able("d", "metadata=1-2")), wire.Refused, "x 0", "uses 2")
	y.refused(Join(able("d", "metadata=1-3", "x=1-2", "z=4-5")), wire.Refused, "needs z 4", "a")
	y.refused(Address(able("b", "metadata=1-2", "x=1")), wire.NotSupported, "x 1", "uses 2")
	y.refused(Address(able("b")), wire.NotSupported, "metadata 1")
	y.must(Join(able("d", "metadata=2-3", "x=1-2", "z=1")))
	if y.s.Used["x"] != 2 || y.s.Format != 2 {
		t.Errorf("format %d, used %v", y.s.Format, y.s.Used)
	}
}

// Every operation is either known since the first version or sent as one of the newest.
func TestCommandVersions(t *testing.T) {
	first := "birth join address leave rebalance begin commit abort settle exit left voters down up floor bucket"
	for _, op := range strings.Fields(first) {
		if v := (&Command{Op: op}).version(); v != 1 {
			t.Errorf("%s: version %d, and the first version knows it", op, v)
		}
	}
	for _, op := range []string{opUse, "of tomorrow"} {
		if v := (&Command{Op: op}).stamped().Version; v != newestCommand {
			t.Errorf("%s: version %d, and the first version does not know it", op, v)
		}
	}
}

func apply(f *fsm, c Command) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return f.Apply(&raft.Log{Data: b}).(applied).err
}

// A node in whose log the others have written what it does not understand stops,
// instead of making something else of what follows. What nobody understands it skips.
func TestLogOfNewerVersion(t *testing.T) {
	var failure error
	y := born1(t, able("a", "metadata=1-9"))
	f := &fsm{publish: func(*State) {}, fail: func(err error) { failure = err }}
	f.state.Store(y.s)
	if err := apply(f, Command{Op: "of tomorrow", Version: 10}); !errors.Is(err, &wire.Error{Code: wire.NotSupported}) || failure != nil {
		t.Fatal(err, failure)
	}
	if err := apply(f, Join(able("b")).stamped()); err != nil {
		t.Fatal(err)
	}
	// b understands only the first: nobody applies this.
	if err := apply(f, Command{Op: "of tomorrow", Version: 9}); err == nil || failure != nil {
		t.Fatal(err, failure)
	}
	if err := apply(f, Address(able("b", "metadata=1-9")).stamped()); err != nil {
		t.Fatal(err)
	}
	epoch := f.state.Load().Epoch
	if err := apply(f, Command{Op: "of tomorrow", Version: 9}); err == nil || !errors.Is(failure, ErrNewer) {
		t.Fatal(err, failure)
	}
	if err := apply(f, Join(able("c")).stamped()); err == nil || f.state.Load().Epoch != epoch {
		t.Fatalf("it goes on behind what it does not understand: %v", err)
	}
}

// What a newer version has written is not taken for damage, nor served from.
func TestStateOfNewerVersion(t *testing.T) {
	s := Birth(testMember("a"), 8, 3)
	s.Format = newestCommand + 1
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(b); !errors.Is(err, ErrNewer) {
		t.Errorf("decode: %v", err)
	}
	dir := t.TempDir()
	if err := saveState(dir, s); err != nil {
		t.Fatal(err)
	}
	if _, err := loadState(dir); !errors.Is(err, ErrNewer) || errors.Is(err, ErrCorruptState) || !strings.Contains(err.Error(), "start the newer version") {
		t.Errorf("load: %v", err)
	}
	s.Format = 0
	if err := saveState(dir, s); err != nil {
		t.Fatal(err)
	}
	if _, err := loadState(dir); !errors.Is(err, ErrCorruptState) {
		t.Errorf("load: %v", err)
	}
}

// A Store fails when the cluster is found to have gone on without it: by what others
// know, and by what it is told when it says what it can do.
func TestStoreLeftBehind(t *testing.T) {
	c, nodes := grow(t, 16, "n1", "n2")
	newer := *nodes[0].store.State()
	newer.Format, newer.Epoch = newestCommand+1, newer.Epoch+1
	newer.Ring = newer.Ring.WithEpoch(newer.Epoch)
	b, err := newer.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := nodes[1].store.Learn(b); err == nil {
		t.Fatal("learned")
	}
	select {
	case <-nodes[1].store.Failed():
	default:
		t.Fatal("it goes on")
	}
	if !errors.Is(nodes[1].store.Err(), ErrNewer) {
		t.Error(nodes[1].store.Err())
	}
	// Open with what is in use already: refused before anything is served.
	st := nodes[0].settled(2, 1)
	used := *st
	used.Format, used.Used = 2, map[string]int{"x": 3}
	dir := filepath.Join(c.dir, "behind")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := saveState(dir, &used); err != nil {
		t.Fatal(err)
	}
	self := able("n2", "metadata=1-2", "x=2")
	if _, err := Open(Config{Dir: dir, Self: self}, nil); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "can do x 2, and the cluster uses 3") {
		t.Errorf("open: %v", err)
	}
}
