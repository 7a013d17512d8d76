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
	for {
		if s.raft.leads() && s.fsm.state.Load() != nil {
			if err := s.governOnce(); err != nil && s.ctx.Err() == nil {
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
func (s *Store) governOnce() error {
	voters, listeners, version, err := s.raft.servers()
	if err != nil {
		return err
	}
	st := s.State()
	act := nextElectorate(electorate{
		members: st.Members, self: s.self, voters: voters, listeners: listeners, up: s.cfg.Up,
	})
	if act.kind == promote && !s.allCaughtUp(act.nodes) {
		act.kind = stay
	}
	if act.kind != stay {
		return s.change(act, version)
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

// change carries act out through raft. version is that of the configuration that
// act was decided for; raft refuses if it has changed.
func (s *Store) change(act action, version uint64) error {
	s.log.Info("changing voters", "kind", act.kind, "nodes", act.nodes)
	if act.kind == yield {
		to := act.nodes[0]
		return s.raft.LeadershipTransferToServer(raft.ServerID(to), raft.ServerAddress(to)).Error()
	}
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

// lagAllowed is how many log entries a node may lack and count as caught up.
const lagAllowed = 64

// allCaughtUp asks nodes how far raft has brought them.
func (s *Store) allCaughtUp(nodes []ring.NodeID) bool {
	need := s.raft.CommitIndex()
	for _, id := range nodes {
		if applied, err := s.probe(id); err != nil || applied+lagAllowed < need {
			return false
		}
	}
	return true
}
