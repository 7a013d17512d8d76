package metadata

import (
	"cmp"
	"math/bits"
)

// canonical makes s the one of all states that behave as it does which stands for them, so
// that the explorer visits only that:
//
//   - A commit on its way changes nothing when its session is not open any more.
//   - The two clients are alike.
//   - A node with metadata older than what it has acted on waits for newer, however old its is.
//   - Of stamps it counts only which is newer. The least, that of an empty file, stays what it
//     is. Every write gets a newer one than there is, which is asserted where it is made.
func (m *model) canonical(s *modelState) {
	s.sent &= 1 << m.raft.open(s.raft, -1)
	s.sent &^= 1
	if a, b := &s.clients[0], &s.clients[1]; a.compare(b) > 0 {
		*a, *b = *b, *a
	}
	for i := range s.n {
		x := &s.n[i]
		if !x.in && m.raft.epoch(x.view) < x.acted {
			x.view = m.raft.before(x.acted, s.raft)
		}
	}
	s.rank()
}

func (c *modelClient) compare(o *modelClient) int {
	synced := func(c *modelClient) int {
		if c.synced {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(c.stamp, o.stamp), cmp.Compare(c.at, o.at), cmp.Compare(synced(c), synced(o)))
}

// before is the newest State on the way to now that is older than an epoch.
func (r *modelRaft) before(epoch, now uint8) uint8 {
	for r.epoch(now) >= epoch {
		now = r.parent[now]
	}
	return now
}

// stamps calls f with all records there are, as 1 + their stamps, and sets what it returns.
func (s *modelState) stamps(f func(record uint8) uint8) {
	for i := range s.n {
		x := &s.n[i]
		x.file, x.mem, x.staged = f(x.file), f(x.mem), f(x.staged)
	}
	for i, frame := range s.pipe {
		s.pipe[i] = frame&^0xf + modelFrame(f(uint8(frame&0xf)))
	}
	for i := range s.clients {
		s.clients[i].stamp = f(s.clients[i].stamp+1) - 1
	}
	s.shown = f(s.shown+1) - 1
}

// newest is the newest record.
func (s *modelState) newest() (record uint8) {
	s.stamps(func(r uint8) uint8 { record = max(record, r); return r })
	return record
}

// rank makes the stamps 0, 1, 2 … in their order. No record, 0, and the one of stamp 0
// stay.
func (s *modelState) rank() {
	used := uint32(0b11)
	s.stamps(func(r uint8) uint8 { used |= 1 << r; return r })
	if used&(used+1) == 0 {
		return // no gap
	}
	s.stamps(func(r uint8) uint8 { return uint8(bits.OnesCount32(used & (1<<r - 1))) })
}
