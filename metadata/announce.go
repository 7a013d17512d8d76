package metadata

import (
	"context"
	"errors"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// announce commits how this node is reached now, if the cluster knows it otherwise:
// it was started on other addresses, or by another version. It ends when that is
// done, refused, or the Store closes.
func (s *Store) announce() {
	defer s.wg.Done()
	for try := 0; s.ctx.Err() == nil; try++ {
		known, member := s.State().Member(s.self)
		face := s.face()
		switch {
		case !member: // the State of a joiner has it; else this node is behind and will see
			s.sleep(s.ctx, s.waits.tick)
			continue
		case known.Gone(), sameFace(&known, &face):
			return
		}
		ctx, cancel := context.WithTimeout(s.ctx, proposeTimeout)
		err := s.Propose(ctx, Address(face))
		cancel()
		if errors.Is(err, &wire.Error{Code: wire.NotSupported}) {
			s.fail(err)
			return
		}
		if errors.Is(err, &wire.Error{Code: wire.Refused}) || errors.Is(err, &wire.Error{Code: wire.Conflict}) {
			s.log.Warn("new addresses not accepted", "node", s.self, "err", err)
			return
		}
		if err != nil {
			s.sleep(s.ctx, backoff(try))
		}
	}
}
