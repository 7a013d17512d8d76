package metadata

import (
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/ringcore/ringcore/metadata/ring"
)

// govern keeps raft's voters and the State in step while this node leads: it
// promotes, demotes, and marks exiting members as left. It ends with the Store.
func (s *Store) govern() {
	defer s.wg.Done()
	tick := time.NewTicker(s.waits.tick)
	defer tick.Stop()
	quiet := silence{patience: s.cfg.VoterPatience}
	for {
		if !s.raft.leads() {
			quiet.since = nil // a new leader counts anew
		} else if s.fsm.state.Load() != nil {
			if err := s.governOnce(&quiet); err != nil && s.ctx.Err() == nil {
				s.log.Warn("voters not changed", "err", err)
			}
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// governOnce takes one step towards the voters that the members call for, then
// tells the State what raft's configuration is.
func (s *Store) governOnce(quiet *silence) error {
	voters, listeners, err := s.raft.servers()
	if err != nil {
		return err
	}
	st := s.State()
	quiet.observe(voters, s.cfg.Up, time.Now())
	act := nextElectorate(electorate{
		members: st.Members, self: s.self, voters: voters, listeners: listeners, up: s.cfg.Up, silent: quiet.long,
	})
	switch act.kind {
	case promote, relieve:
		if !s.allCaughtUp(act.nodes, s.raft.CommitIndex()-min(s.raft.CommitIndex(), lagAllowed)) {
			act.kind = stay
		}
	case dismiss:
		// Who is not told by the log that it does not vote would stand for election for ever.
		staying := func(id ring.NodeID) bool { m, ok := st.Member(id); return ok && m.Status != StatusExiting && !m.Gone() }
		if !s.allCaughtUp(slices.DeleteFunc(slices.Clone(act.nodes), func(id ring.NodeID) bool { return !staying(id) }), s.raft.LastIndex()) {
			act.kind = stay
		}
	}
	if act.kind != stay {
		return s.change(act)
	}
	if !slices.Equal(voterFlags(st), sorted(voters)) {
		s.proposeAll([]Command{votersCommand(voters)})
		return nil
	}
	var left []Command
	for i := range st.Members {
		m := &st.Members[i]
		if m.Status == StatusExiting && !slices.Contains(voters, m.ID) && !slices.Contains(listeners, m.ID) {
			left = append(left, leftCommand(m.ID))
		}
	}
	s.proposeAll(left)
	return nil
}

// change carries act out through raft, which refuses a step if somebody else has changed
// its configuration since the step before.
func (s *Store) change(act action) error {
	s.log.Info("changing voters", "kind", act.kind, "nodes", act.nodes, "dead", act.dead)
	if act.kind == yield {
		to := act.nodes[0]
		return s.raft.LeadershipTransferToServer(raft.ServerID(to), raft.ServerAddress(to)).Error()
	}
	if act.kind == relieve {
		return s.relieve(act)
	}
	var version uint64 // of raft's configuration; 0 for any
	for _, id := range act.nodes {
		var f raft.IndexFuture
		switch server := raft.ServerID(id); act.kind {
		case enlist:
			f = s.raft.AddNonvoter(server, raft.ServerAddress(id), version, s.waits.rpc)
		case promote:
			f = s.raft.AddVoter(server, raft.ServerAddress(id), version, s.waits.rpc)
		case demote:
			f = s.raft.DemoteVoter(server, version, s.waits.rpc)
		case dismiss:
			f = s.raft.RemoveServer(server, version, s.waits.rpc)
		}
		if err := f.Error(); err != nil {
			return err
		}
		version = f.Index()
	}
	return nil
}

// relieve lets each of act.nodes vote in place of one of act.dead, one after the
// other: the number of voters is even only in between. Whoever leads after a failure
// there finds listeners that are wanted as voters, and goes on.
func (s *Store) relieve(act action) error {
	var version uint64 // of raft's configuration; 0 for any
	for i, id := range act.dead {
		f := s.raft.DemoteVoter(raft.ServerID(id), version, s.waits.rpc)
		if err := f.Error(); err != nil {
			return err
		}
		to := act.nodes[i]
		f = s.raft.AddVoter(raft.ServerID(to), raft.ServerAddress(to), f.Index(), s.waits.rpc)
		if err := f.Error(); err != nil {
			return err
		}
		version = f.Index()
	}
	return nil
}

// silence remembers since when voters are not up.
type silence struct {
	patience time.Duration
	since    map[ring.NodeID]time.Time
	now      time.Time // of the last look
}

// observe takes note of which voters are not up at now, and forgets the others.
func (q *silence) observe(voters []ring.NodeID, up func(ring.NodeID) bool, now time.Time) {
	since := make(map[ring.NodeID]time.Time)
	for _, id := range voters {
		if up(id) {
			continue
		}
		since[id] = now
		if t, ok := q.since[id]; ok {
			since[id] = t
		}
	}
	q.since, q.now = since, now
}

// long reports whether voter id has been silent for longer than the patience.
func (q *silence) long(id ring.NodeID) bool {
	t, ok := q.since[id]
	return ok && q.patience >= 0 && q.now.Sub(t) > q.patience
}

// lagAllowed is how many log entries a node may lack and count as caught up.
const lagAllowed = 64

// allCaughtUp asks nodes whether raft has brought them as far as index.
func (s *Store) allCaughtUp(nodes []ring.NodeID, index uint64) bool {
	for _, id := range nodes {
		if applied, err := s.probe(id); err != nil || applied < index {
			return false
		}
	}
	return true
}
