package vnodes

import (
	"context"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// standstill finds out that attempts bring nothing any more.
type standstill struct {
	limit   time.Duration
	records int64
	since   time.Time // when records was first seen
}

func newStandstill(limit time.Duration) *standstill { return &standstill{limit: limit, records: -1} }

// over reports whether records has stayed what it is for the limit.
func (s *standstill) over(records int64, now time.Time) bool {
	if records != s.records {
		s.records, s.since = records, now
		return false
	}
	return now.Sub(s.since) > s.limit
}

// giveUp asks for the end of a session that does not get on because of err, so that
// others have its places, and what it was for is tried in a new one. It is only asked:
// a session that this node may have committed ends as raft says.
func (m *Manager) giveUp(ctx context.Context, s *Session, err error) {
	if err := m.passed(wire.SourceGivingUp); err != nil {
		return
	}
	m.log.Warn("transfer stalled", "transfer", s.ID, "partition", s.Partition, "kind", s.Kind, "to", s.To, "err", err)
	if aerr := m.transfers.Abort(ctx, *s, "stalled: "+err.Error()); aerr != nil && ctx.Err() == nil {
		m.log.Info("stalled transfer not aborted", "transfer", s.ID, "err", aerr)
	}
}
