package metadata

import (
	"cmp"
	"context"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// watchCall is the JSON body of OpWatch; an empty body stands for its zero value.
type watchCall struct {
	Probe bool `json:"probe,omitempty"` // answer at once and without a State
	Delta bool `json:"delta,omitempty"` // rather what has changed than a whole State; for OpRing too
}

// watchReply is the JSON reply of OpWatch. With its ages the caller computes when
// the leader was surely there, without comparing clocks.
type watchReply struct {
	State   json.RawMessage `json:"state,omitempty"` // or a delta; only if newer than the caller's
	Leader  ring.NodeID     `json:"leader,omitempty"`
	HeldMS  int64           `json:"held_ms"`    // from the request's arrival to the answer
	Contact int64           `json:"contact_ms"` // age of the last word from the leader at the answer
	Applied uint64          `json:"applied"`    // raft's log index that the answering node has applied
}

// follow keeps State new while raft does not: it watches another member. It ends
// with the Store.
func (s *Store) follow() {
	defer s.wg.Done()
	for fails := 0; s.ctx.Err() == nil; {
		if s.raftDelivers() {
			s.sleep(s.ctx, s.waits.tick)
			fails = 0
			continue
		}
		others := s.others()
		if len(others) == 0 {
			s.sleep(s.ctx, s.waits.tick)
			continue
		}
		if err := s.watch(others[fails%len(others)]); err == nil {
			fails = 0
			continue
		}
		s.sleep(s.ctx, backoff(fails))
		fails++
	}
}

// raftDelivers reports whether raft brings this node what is committed: it leads,
// or has lately heard from the leader.
func (s *Store) raftDelivers() bool {
	return s.raft.leads() || s.raftContact() < 2*s.waits.heartbeat
}

// raftContact is the age of the last word from the leader through raft.
func (s *Store) raftContact() time.Duration {
	if t := s.raft.LastContact(); !t.IsZero() {
		return time.Since(t)
	}
	return math.MaxInt64
}

// others are the members to ask, best first: those that are up before the rest,
// voters before the rest, and who starts is different for every node.
func (s *Store) others() []ring.NodeID {
	st := s.State()
	type candidate struct {
		id   ring.NodeID
		rank int
	}
	var list []candidate
	own := 0
	for i := range st.Members {
		m := &st.Members[i]
		switch {
		case m.ID == s.self:
			own = i
			continue
		case m.Gone():
			continue
		}
		rank := 0
		if !s.cfg.Up(m.ID) {
			rank += 2
		}
		if !m.Voter {
			rank++
		}
		list = append(list, candidate{m.ID, rank})
	}
	if len(list) > 0 {
		own %= len(list)
		list = slices.Concat(list[own:], list[:own])
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return cmp.Compare(a.rank, b.rank) })
	ids := make([]ring.NodeID, len(list))
	for i, c := range list {
		ids[i] = c.id
	}
	return ids
}

// watch asks one member for something newer and learns what it answers.
func (s *Store) watch(from ring.NodeID) error {
	asked := time.Now()
	var r watchReply
	body, err := json.Marshal(watchCall{Delta: s.wantsDelta()})
	if err != nil {
		return err
	}
	if err := s.call(s.ctx, from, wire.OpWatch, body, &r); err != nil {
		return err
	}
	if r.Contact >= 0 && r.HeldMS >= 0 {
		// The answer left no earlier than asked + held.
		s.hear(r.Leader, asked.Add(time.Duration(r.HeldMS-r.Contact)*time.Millisecond))
	}
	if len(r.State) == 0 {
		return nil
	}
	return s.learn(r.State)
}

// wantsDelta reports whether the next answer may be a delta.
func (s *Store) wantsDelta() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.whole
}

// learn takes an answer; one that does not fit is not asked for again.
func (s *Store) learn(b []byte) error {
	err := s.learnChanges(b)
	s.mu.Lock()
	s.whole = err != nil
	s.mu.Unlock()
	return err
}

// probe asks a member which raft log index it has applied.
func (s *Store) probe(id ring.NodeID) (uint64, error) {
	body, err := json.Marshal(watchCall{Probe: true})
	if err != nil {
		return 0, err
	}
	var r watchReply
	err = s.call(s.ctx, id, wire.OpWatch, body, &r)
	return r.Applied, err
}

// hear takes note that leader was surely there at t.
func (s *Store) hear(leader ring.NodeID, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.toldHead = leader
	if t.After(s.heard) {
		s.heard = t
	}
}

// serveWatch answers OpWatch: when State is newer than the caller's, or after the
// profile's hold, or at once for a probe.
func (s *Store) serveWatch(ctx context.Context, epoch ring.Epoch, body []byte) ([]byte, error) {
	var c watchCall
	if len(body) > 0 {
		if err := json.Unmarshal(body, &c); err != nil {
			return nil, wire.Errorf(wire.BadRequest, "watch: %v", err)
		}
	}
	arrived := time.Now()
	var r watchReply
	if !c.Probe {
		hold, cancel := context.WithTimeout(ctx, s.waits.hold)
		defer cancel()
		if s.WaitEpoch(hold, epoch+1) == nil {
			b, err := s.changesSince(epoch, c.Delta)
			if err != nil {
				return nil, wire.Errorf(wire.Internal, "encode state: %v", err)
			}
			r.State = b
		}
	}
	r.Leader, _ = s.Leader()
	r.HeldMS = time.Since(arrived).Milliseconds() // rounded down, the next up: never too fresh
	r.Contact = contactMS(s.LeaderContact())
	r.Applied = s.raft.AppliedIndex()
	return json.Marshal(r)
}

// contactMS rounds an age up to milliseconds; -1 if there never was contact.
func contactMS(d time.Duration) int64 {
	if d == math.MaxInt64 {
		return -1
	}
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

// Leader is the node that leads raft, as far as is known here.
func (s *Store) Leader() (ring.NodeID, bool) {
	if id, ok := s.raft.leader(); ok {
		return id, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.toldHead, s.toldHead != ""
}

// LeaderContact is how long ago this node surely heard from the leader, by raft or
// through another node's answer: 0 on the leader itself, math.MaxInt64 if never.
func (s *Store) LeaderContact() time.Duration {
	if s.raft.leads() {
		return 0
	}
	age := s.raftContact()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.heard.IsZero() {
		age = min(age, time.Since(s.heard))
	}
	return age
}

// Fetch brings State to at least that epoch: from the given member if it is not
// empty, else, or if that one cannot, from any. Concurrent calls share the work. The
// error is Behind if nobody has that epoch.
func (s *Store) Fetch(ctx context.Context, epoch ring.Epoch, from ring.NodeID) error {
	if s.State().Epoch >= epoch {
		return nil
	}
	select {
	case s.fetching <- struct{}{}:
		defer func() { <-s.fetching }()
	case <-ctx.Done():
		return wire.Errorf(wire.Behind, "fetch epoch %d: %v", epoch, context.Cause(ctx))
	case <-s.ctx.Done():
		return errClosed()
	}
	ask := s.others()
	if from != "" && from != s.self {
		ask = slices.Insert(ask, 0, from)
	}
	var last error
	for _, id := range ask {
		if s.State().Epoch >= epoch || ctx.Err() != nil {
			break
		}
		if err := s.fetchFrom(ctx, id); err != nil {
			last = err
		}
	}
	have := s.State().Epoch
	if have >= epoch {
		return nil
	}
	return &wire.Error{Code: wire.Behind, Epoch: uint64(have), Message: behind(epoch, have, last)}
}

// fetchFrom learns what one member has, if it is newer.
func (s *Store) fetchFrom(ctx context.Context, id ring.NodeID) error {
	ctx, cancel := context.WithTimeout(ctx, s.waits.rpc)
	defer cancel()
	body, err := json.Marshal(watchCall{Delta: s.wantsDelta()})
	if err != nil {
		return err
	}
	b, err := s.cfg.Caller.Call(ctx, id, wire.OpRing, uint64(s.State().Epoch), body)
	if err != nil || len(b) == 0 {
		return err
	}
	return s.learn(b)
}
