package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// JoinRequest is the JSON body of OpJoin.
type JoinRequest struct {
	ClusterID string `json:"cluster_id,omitempty"` // the cluster that the caller means; "" for any
	Member    Member `json:"member"`
	Staged    bool   `json:"staged,omitempty"` // to be committed with the plan
	Follow    bool   `json:"follow,omitempty"` // a member that follows a recovery; it gets a State also while nobody leads
}

// JoinReply is its JSON reply.
type JoinReply struct {
	ClusterID string `json:"cluster_id"`
	State     []byte `json:"state"` // encoded, with the new member in it
}

// Serve answers the operations of this package for another node: OpRing, OpWatch,
// OpPropose and OpJoin. from is the calling node as its connection proved it,
// empty for a client; epoch is the caller's. Errors are *wire.Error.
func (s *Store) Serve(ctx context.Context, op wire.Op, from ring.NodeID, epoch uint64, body []byte) ([]byte, error) {
	switch op {
	case wire.OpRing:
		return s.serveRing(from, ring.Epoch(epoch), body)
	case wire.OpJoin:
		return s.serveJoin(ctx, body)
	case wire.OpWatch, wire.OpPropose:
		if _, ok := s.State().Member(from); !ok {
			return nil, wire.Errorf(wire.NotMember, "node %q is no member of this cluster, as far as this node knows", from)
		}
		if op == wire.OpWatch {
			return s.serveWatch(ctx, ring.Epoch(epoch), body)
		}
		return s.servePropose(ctx, body)
	}
	return nil, wire.Errorf(wire.BadRequest, "operation %d is not metadata's", op)
}

// serveRing answers OpRing: the State if it is newer than the caller's. Whoever is
// no member gets it without the gossip key.
func (s *Store) serveRing(from ring.NodeID, epoch ring.Epoch, body []byte) ([]byte, error) {
	var c watchCall
	if len(body) > 0 && json.Unmarshal(body, &c) != nil {
		c = watchCall{} // who says something else gets the whole State, as ever
	}
	st := s.State()
	if st.Epoch <= epoch {
		return nil, nil
	}
	_, member := st.Member(from)
	b, err := s.encoded(!member)
	if member && err == nil && c.Delta {
		b, err = s.changesSince(epoch, true)
	}
	if err != nil {
		return nil, wire.Errorf(wire.Internal, "encode state: %v", err)
	}
	return b, nil
}

// serveJoin answers OpJoin.
func (s *Store) serveJoin(ctx context.Context, body []byte) ([]byte, error) {
	var req JoinRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, wire.Errorf(wire.BadRequest, "join: %v", err)
	}
	reply, err := s.Admit(ctx, req)
	if err != nil {
		return nil, err
	}
	return json.Marshal(reply)
}

// Admit makes a node a member, through the leader, and returns the State that it
// begins with. Admitting the same node again changes nothing, so a joiner asks
// until it gets an answer. Errors as for Propose.
//
// A member that follows a recovery asks for no change: while nobody leads it gets what is
// known here, as any member has it that was away for a while. If it was removed since, the
// first that knows will tell it.
func (s *Store) Admit(ctx context.Context, req JoinRequest) (JoinReply, error) {
	id := s.State().ClusterID
	if req.ClusterID != "" && req.ClusterID != id {
		return JoinReply{}, wire.Errorf(wire.WrongCluster, "this is cluster %s, not %s", id, req.ClusterID)
	}
	join := Join(req.Member)
	if req.Staged {
		join = StageJoin(req.Member)
	}
	m, known := s.State().Member(req.Member.ID)
	follows := req.Follow && known && !m.Gone()
	if err := s.proposeJoin(ctx, join, follows); err != nil && !(follows && errors.Is(err, &wire.Error{Code: wire.Unavailable})) {
		return JoinReply{}, err
	}
	b, err := s.encoded(false)
	if err != nil {
		return JoinReply{}, wire.Errorf(wire.Internal, "encode state: %v", err)
	}
	return JoinReply{ClusterID: id, State: b}, nil
}

// proposeJoin gives up early for one that can be answered without.
func (s *Store) proposeJoin(ctx context.Context, join Command, follows bool) error {
	if follows {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 2*majorityPatience)
		defer cancel()
	}
	return s.Propose(ctx, join)
}

// behind is the message of a Fetch that found nothing.
func behind(want, have ring.Epoch, last error) string {
	if last == nil {
		return fmt.Sprintf("no member has epoch %d, newest %d", want, have)
	}
	return fmt.Sprintf("epoch %d cannot be fetched, have %d: %v", want, have, last)
}
