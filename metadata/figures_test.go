package metadata

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestFigures: each of several nodes in one process counts what its own raft does.
func TestFigures(t *testing.T) {
	c := newCluster(t)
	a := c.birth("a", 8)
	a.settled(1, 1)
	b := c.join("b", a)
	d := c.join("c", a)
	a.settled(3, 3)
	c.eventually("leader that all know", func() bool { return b.store.Figures().LeaderKnown && d.store.Figures().LeaderKnown })
	c.eventually("log that all have applied", func() bool {
		f := a.store.Figures()
		return f.Applied == f.Last && b.store.Figures().Applied == f.Last && d.store.Figures().Applied == f.Last
	})
	f := a.store.Figures()
	if !f.Voter || !f.LeaderKnown || f.Term == 0 || f.Committed != f.Applied || f.Entries == 0 || f.Entries > f.Last ||
		f.Elections == 0 || f.Leaders == 0 || f.Appends.Count == 0 || f.Appends.Seconds <= 0 || f.Proposals.Count == 0 || f.AppendsFailed > 0 {
		t.Errorf("who has led from the start: %+v", f)
	}
	if g := b.store.Figures(); !g.Voter || g.Term == 0 || g.Appends.Count == 0 || g.Appends.Count >= f.Appends.Count {
		t.Errorf("who came later: %+v; the first: %+v", g, f)
	}
	if err := a.store.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	if f := a.store.Figures(); f.Snapshots != 1 || f.Restores != 0 || b.store.Figures().Snapshots != 0 {
		t.Errorf("after a snapshot: %+v", f)
	}
}

// What raft tells its observers is counted, and goes no further.
func TestObserve(t *testing.T) {
	var c tally
	for _, data := range []any{
		raft.Candidate, raft.Candidate, raft.Leader,
		raft.LeaderObservation{LeaderID: "a"},
		raft.LeaderObservation{},
		raft.FailedHeartbeatObservation{PeerID: "b"},
		raft.ResumedHeartbeatObservation{PeerID: "b"},
		raft.PeerObservation{},
	} {
		if c.observe(&raft.Observation{Data: data}) {
			t.Errorf("%+v is let through", data)
		}
	}
	if c.elections.Load() != 2 || c.leaders.Load() != 1 || c.unanswered.Load() != 1 {
		t.Errorf("%d elections, %d leaders, %d heartbeats", c.elections.Load(), c.leaders.Load(), c.unanswered.Load())
	}
}

func TestTimes(t *testing.T) {
	var x times
	for _, d := range []time.Duration{0, StepLimit(0), StepLimit(0) + 1, time.Hour, -1} {
		x.note(d)
	}
	have := x.read()
	if have.Count != 5 || have.Steps[0] != 3 || have.Steps[1] != 1 || have.Steps[TimesSteps] != 1 || have.Seconds < 3600 {
		t.Errorf("%+v", have)
	}
}

// A log that cannot be written is counted, and its error passed on.
func TestCountedLogs(t *testing.T) {
	var c tally
	l := &countedLogs{raft.NewInmemStore(), &c}
	if err := l.StoreLog(&raft.Log{Index: 1}); err != nil || c.appends.read().Count != 1 {
		t.Fatal(err)
	}
	l.LogStore = failingLogs{}
	if err := l.StoreLog(&raft.Log{Index: 2}); err == nil || c.appends.read().Count != 1 || c.appendsFailed.Load() != 1 {
		t.Fatal("the failure is not counted", err)
	}
}

type failingLogs struct{ raft.LogStore }

func (failingLogs) StoreLogs([]*raft.Log) error { return errHungDisk }
