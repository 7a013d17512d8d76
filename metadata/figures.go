package metadata

import (
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// Figures tell how raft does on this node. They are counted here and not by go-metrics, to which
// raft reports: that has one place for the whole process, in which there may be several nodes.
type Figures struct {
	Voter, LeaderKnown       bool // this node votes; it knows who leads
	Term                     uint64
	Last, Committed, Applied uint64 // indexes in raft's log: what is there, what counts, what State has
	Entries                  uint64 // that the log has: older ones are in a snapshot

	Elections     uint64 // times that this node has begun to stand for election
	Leaders       uint64 // times that a leader was found, after another one or none
	Unanswered    uint64 // heartbeats of this node, as the leader, that failed
	Appends       Times  // to the log, each with its sync
	AppendsFailed uint64 // also those for which the disk took too long
	Proposals     Times  // to this node, as the leader, until they were applied here
	Snapshots     uint64 // taken here
	Restores      uint64 // snapshots taken over, from the leader or at the start
}

// Figures tell how raft does on this node.
func (s *Store) Figures() Figures {
	c := &s.fsm.tally
	_, known := s.Leader()
	self, _ := s.State().Member(s.self)
	x := Figures{
		Voter: self.Voter, LeaderKnown: known,
		Term: s.raft.CurrentTerm(), Last: s.raft.LastIndex(), Committed: s.raft.CommitIndex(), Applied: s.raft.AppliedIndex(),
		Elections: c.elections.Load(), Leaders: c.leaders.Load(), Unanswered: c.unanswered.Load(),
		Appends: c.appends.read(), AppendsFailed: c.appendsFailed.Load(), Proposals: c.proposals.read(),
		Snapshots: c.snapshots.Load(), Restores: c.restores.Load(),
	}
	first, err := s.raft.bolt.FirstIndex()
	if err == nil && first > 0 { // it is empty, or closed
		x.Entries = x.Last + 1 - first
	}
	return x
}

// TimesSteps are the upper ends of the buckets of Times; a further one takes all that are longer.
const TimesSteps = 12

// StepLimit is the upper end of a bucket of Times: 250 µs, and each further one twice the one before.
func StepLimit(i int) time.Duration { return 250 * time.Microsecond << i }

// Times tell how often something was done and how long it took.
type Times struct {
	Count   uint64
	Seconds float64                // together
	Steps   [TimesSteps + 1]uint64 // of Count, by StepLimit
}

// times counts Times. Its parts may differ by what ends meanwhile.
type times struct {
	nanos atomic.Uint64
	steps [TimesSteps + 1]atomic.Uint64
}

func (t *times) note(took time.Duration) {
	i := 0
	for i < TimesSteps && took > StepLimit(i) {
		i++
	}
	t.steps[i].Add(1)
	t.nanos.Add(uint64(max(0, took)))
}

func (t *times) read() Times {
	x := Times{Seconds: time.Duration(t.nanos.Load()).Seconds()}
	for i := range t.steps {
		x.Steps[i] = t.steps[i].Load()
		x.Count += x.Steps[i]
	}
	return x
}

// tally is what raft itself does not keep.
type tally struct {
	elections, leaders, unanswered     atomic.Uint64
	appendsFailed, snapshots, restores atomic.Uint64
	appends, proposals                 times
}

// observe counts what raft tells its observers. It is raft's filter of observations, runs on
// raft's goroutines, and lets nothing through.
func (c *tally) observe(o *raft.Observation) bool {
	switch data := o.Data.(type) {
	case raft.RaftState:
		if data == raft.Candidate {
			c.elections.Add(1)
		}
	case raft.LeaderObservation:
		if data.LeaderID != "" {
			c.leaders.Add(1)
		}
	case raft.FailedHeartbeatObservation:
		c.unanswered.Add(1)
	}
	return false
}

// countedLogs is raft's log, with its appends counted.
type countedLogs struct {
	raft.LogStore
	tally *tally
}

// StoreLog implements raft.LogStore.
func (l *countedLogs) StoreLog(log *raft.Log) error { return l.StoreLogs([]*raft.Log{log}) }

// StoreLogs implements raft.LogStore.
func (l *countedLogs) StoreLogs(logs []*raft.Log) error {
	began := time.Now()
	err := l.LogStore.StoreLogs(logs)
	if err != nil {
		l.tally.appendsFailed.Add(1)
		return err
	}
	l.tally.appends.note(time.Since(began))
	return nil
}
