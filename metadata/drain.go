package metadata

import (
	"context"

	"github.com/ringcore/ringcore/metadata/ring"
)

// Drain tells the cluster that this node is about to stop, or, with on false, that it
// takes part again: other members then coordinate in its place as far as they can, and
// another voter leads. It keeps what it owns, serves it as a replica, and votes on.
// The next start of the node ends it too.
func (s *Store) Drain(ctx context.Context, on bool) error {
	was := s.draining.Swap(on)
	if err := s.Propose(ctx, Address(s.face())); err != nil {
		s.draining.Store(was)
		return err
	}
	for on && s.raft.leads() && s.heir() != "" {
		changed := s.Changed()
		if err := s.Yield(); err == nil {
			return nil
		}
		select {
		case <-changed:
		default:
			s.sleep(ctx, s.waits.tick) // the one it was to go to may have died
		}
		if ctx.Err() != nil || s.ctx.Err() != nil {
			return nil // govern goes on
		}
	}
	return nil
}

// Draining reports whether this node has said that it is about to stop.
func (s *Store) Draining() bool { return s.draining.Load() }

// Draining reports whether node id has said so since it was started last.
func (s *State) Draining(id ring.NodeID) bool {
	m, ok := s.Member(id)
	return ok && m.Draining
}

// face is how this node is reached now, with what else it says of itself.
func (s *Store) face() Member {
	face := s.cfg.Self
	face.Draining = s.draining.Load()
	if face.Incarnation == 0 { // its owner does not count starts
		known, _ := s.State().Member(s.self)
		face.Incarnation = known.Incarnation
	}
	return face
}

// heir is another voter that is up and not about to stop itself; empty if there is none.
func (s *Store) heir() ring.NodeID {
	for _, m := range s.State().Members {
		if m.Voter && m.ID != s.self && !m.Draining && s.cfg.Up(m.ID) {
			return m.ID
		}
	}
	return ""
}
