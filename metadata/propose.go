package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

const (
	proposeTimeout   = 10 * time.Second // for callers whose context has no deadline
	backoffFirst     = 10 * time.Millisecond
	backoffMost      = 250 * time.Millisecond
	majorityPatience = 2 * time.Second // for voters that are not up, when no leader can be without them
	maxHops          = 1               // a proposal is passed on at most once
)

// proposal is the JSON body of OpPropose.
type proposal struct {
	Command Command `json:"command"`
	Hops    int     `json:"hops"` // how often it may still be passed on
}

// proposalReply is the JSON reply: the epoch that holds the command's effect.
type proposalReply struct {
	Epoch ring.Epoch `json:"epoch"`
}

// Propose has c applied, whichever node leads, and returns when State here holds
// its effect. It tries again while no leader can be found, until ctx ends or, without
// a deadline, for proposeTimeout. Errors are *wire.Error: Refused, Conflict,
// BadRequest and NotSupported as step says; Unavailable when no leader answered in
// time, and then c may yet be applied; Behind when c was applied and State here
// could not be brought up to it. With a refusal comes the epoch that it was decided
// on, and State here is as new as that unless no member can be reached.
func (s *Store) Propose(ctx context.Context, c Command) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, proposeTimeout)
		defer cancel()
	}
	c = c.stamped() // once: every try is the same request
	began := time.Now()
	var hint ring.NodeID
	for try := 0; ; try++ {
		at, epoch, err := s.proposeOnce(ctx, c, s.proposeTo(hint, try))
		if err == nil {
			return s.Fetch(ctx, epoch, at)
		}
		again, next := retry(err)
		if !again {
			s.catchUp(ctx, err, at)
			return err
		}
		if hint = next; hint == "" || try > 0 {
			s.sleep(ctx, backoff(try))
		}
		switch {
		case s.ctx.Err() != nil:
			return errClosed()
		case time.Since(began) > majorityPatience && s.lostMajority() != "":
			return wire.Errorf(wire.Unavailable, "%s", s.lostMajority())
		case ctx.Err() != nil:
			return wire.Errorf(wire.Unavailable, "no leader has taken the %s command: %v", c.Op, err)
		}
	}
}

// lostMajority says which voters are not up if too few are for a leader; else it is empty.
func (s *Store) lostMajority() string {
	var voters int
	var down []string
	for _, m := range s.State().Members {
		if !m.Voter {
			continue
		}
		if voters++; m.ID != s.self && !s.cfg.Up(m.ID) {
			down = append(down, m.Name)
		}
	}
	if 2*(voters-len(down)) > voters {
		return ""
	}
	return fmt.Sprintf("the ring cannot change: %d of raft's %d voters cannot be reached (%s), and it takes a majority; data is served on. "+
		"Start them again, or, if they are lost for good, stop one of the others and run ringcore recover on it", len(down), voters, strings.Join(down, ", "))
}

// catchUp brings State to the epoch at which a command was refused, if it can, so
// that the caller sees why: a transfer that it meant to commit is aborted, say.
func (s *Store) catchUp(ctx context.Context, refusal error, at ring.NodeID) {
	if e, ok := errors.AsType[*wire.Error](refusal); ok && e.Epoch > 0 {
		if err := s.Fetch(ctx, ring.Epoch(e.Epoch), at); err != nil {
			s.log.Debug("state of a refusal not fetched", "epoch", e.Epoch, "err", err)
		}
	}
}

// retry reports whether another try may do better, and whom the error names as leader.
func retry(err error) (again bool, leader ring.NodeID) {
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		return true, ""
	}
	switch e.Code {
	case wire.NotLeader:
		return true, ring.NodeID(e.Message)
	case wire.Refused, wire.Conflict, wire.BadRequest, wire.NotSupported:
		return false, ""
	}
	return true, ""
}

// backoff is the wait after the n-th failed try.
func backoff(n int) time.Duration { return min(backoffFirst<<min(n, 8), backoffMost) }

// proposeTo picks the node to try: this one if it leads, else whom the last answer
// named, else the leader that is known, else the members in turn.
func (s *Store) proposeTo(hint ring.NodeID, try int) ring.NodeID {
	if s.raft.leads() {
		return s.self
	}
	if _, ok := s.State().Member(hint); ok && hint != s.self {
		return hint
	}
	// A leader that did not answer must not be the only one tried.
	if id, ok := s.Leader(); ok && id != s.self && try%2 == 0 {
		return id
	}
	others := s.others()
	if len(others) == 0 {
		return s.self
	}
	return others[try%len(others)]
}

// proposeOnce hands c to one node.
func (s *Store) proposeOnce(ctx context.Context, c Command, to ring.NodeID) (at ring.NodeID, epoch ring.Epoch, err error) {
	if to == s.self {
		epoch, err = s.raft.propose(c)
		return to, epoch, err
	}
	epoch, err = s.passOn(ctx, c, to, maxHops)
	return to, epoch, err
}

// passOn calls OpPropose of another node.
func (s *Store) passOn(ctx context.Context, c Command, to ring.NodeID, hops int) (ring.Epoch, error) {
	body, err := json.Marshal(proposal{c, hops})
	if err != nil {
		return 0, wire.Errorf(wire.BadRequest, "encode command: %v", err)
	}
	var r proposalReply
	if err := s.call(ctx, to, wire.OpPropose, body, &r); err != nil {
		return 0, err
	}
	return r.Epoch, nil
}

// servePropose answers OpPropose.
func (s *Store) servePropose(ctx context.Context, body []byte) ([]byte, error) {
	var p proposal
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, wire.Errorf(wire.BadRequest, "propose: %v", err)
	}
	var epoch ring.Epoch
	var err error
	leader, known := s.Leader()
	switch {
	case s.raft.leads():
		epoch, err = s.raft.propose(p.Command)
	case known && leader != s.self && p.Hops > 0:
		epoch, err = s.passOn(ctx, p.Command, leader, min(p.Hops, maxHops)-1)
	default:
		err = wire.Errorf(wire.NotLeader, "%s", leader)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(proposalReply{epoch})
}

// call sends a request with a JSON reply, which must not be empty, and waits for it
// no longer than the profile says.
func (s *Store) call(ctx context.Context, to ring.NodeID, op wire.Op, body []byte, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, s.waits.rpc)
	defer cancel()
	b, err := s.cfg.Caller.Call(ctx, to, op, uint64(s.State().Epoch), body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, reply); err != nil {
		return wire.Errorf(wire.BadRequest, "reply of node %s: %v", to, err)
	}
	return nil
}
