package metadata

import (
	"slices"
	"sync"
	"time"

	"github.com/ringcore/ringcore/metadata/ring"
)

// lead looks after the ring while this node leads raft: on every change of State,
// and at every tick because nodes come and go without one. It ends with the Store.
func (s *Store) lead() {
	defer s.wg.Done()
	tick := time.NewTicker(s.waits.tick)
	defer tick.Stop()
	watch := newStallWatch(s.waits.stalled)
	for caughtUp := false; ; {
		changed := s.Changed()
		if err := s.raft.calm(); err != nil {
			s.log.Warn("raft keeps the patience of a lone voter", "err", err)
		}
		switch {
		case !s.raft.leads():
			caughtUp = false
			s.leading.Store(false)
		case !caughtUp:
			caughtUp = s.takeOver()
			s.leading.Store(caughtUp)
		default:
			watch.observe(s.State(), s.cfg.Up, time.Now())
			s.proposeAll(decide(s.State(), view{
				up:      s.cfg.Up,
				stalled: watch.stalled, session: func() string { return randomHex(8) },
			}))
			s.proposeAll(s.State().adoptions(s.cfg.Capabilities))
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// Leading reports whether this node leads and knows everything that was committed
// before: its State is the newest there is.
func (s *Store) Leading() bool { return s.leading.Load() && s.raft.leads() }

// takeOver waits until all that earlier leaders committed is applied here. The
// first leader of a cluster then has it born.
func (s *Store) takeOver() bool {
	if err := s.raft.Barrier(s.waits.rpc).Error(); err != nil {
		return false
	}
	if s.fsm.state.Load() == nil {
		s.proposeAll([]Command{birthCommand(s.State())})
	}
	born := s.fsm.state.Load() != nil
	if born {
		s.log.Info("leading the cluster", "node", s.self, "epoch", s.State().Epoch)
	}
	return born
}

// proposeAll proposes all of cs at once, so that raft may sync them together, and
// waits for them. A refusal means that State has changed: the next look decides anew.
func (s *Store) proposeAll(cs []Command) {
	var wg sync.WaitGroup
	for _, c := range cs {
		wg.Go(func() {
			if err := s.failpoints.proposing(&c); err != nil {
				return
			}
			if _, err := s.raft.propose(c); err != nil {
				s.log.Debug("command not applied", "kind", c.Op, "err", err)
			}
		})
	}
	wg.Wait()
}

// stallWatch remembers since when open transfers wait for a node that is not up.
type stallWatch struct {
	patience time.Duration
	since    map[string]time.Time // by session
	now      time.Time            // of the last look
}

func newStallWatch(patience time.Duration) *stallWatch {
	return &stallWatch{patience: patience, since: make(map[string]time.Time)}
}

// observe takes note of which transfers wait at now, and forgets the others.
func (w *stallWatch) observe(s *State, up func(ring.NodeID) bool, now time.Time) {
	w.now = now
	waiting := make(map[string]time.Time)
	for i := range s.Transfers {
		t := &s.Transfers[i]
		if !slices.ContainsFunc(needs(s, t.Step), func(id ring.NodeID) bool { return !up(id) }) {
			continue
		}
		waiting[t.ID] = now
		if since, ok := w.since[t.ID]; ok {
			waiting[t.ID] = since
		}
	}
	w.since = waiting
}

// stalled reports whether t has waited for longer than the patience.
func (w *stallWatch) stalled(t *Transfer) bool {
	since, ok := w.since[t.ID]
	return ok && w.now.Sub(since) > w.patience
}
