package metadata

import (
	"slices"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// step is the whole state machine: the State after c. It is pure: no clock, map
// order, randomness or I/O, so that every node computes the same. It returns s
// itself if c changes nothing, and then the error says why, if there is one to
// tell: a *wire.Error of code Refused (a rule forbids it), Conflict (what c compares
// has changed), BadRequest or NotSupported. s is nil before the cluster's birth, and
// then it is Unavailable.
func step(s *State, c *Command) (*State, error) {
	if s == nil {
		return born(c)
	}
	if can, least := s.common(MetadataCapability, ""); least != nil && c.Version > can {
		return s, wire.Errorf(wire.NotSupported, "%s needs version %d of metadata, and %s can do %d: upgrade that member first", c.Op, c.Version, least.Name, can)
	}
	if c.ReqID != "" && slices.Contains(s.Recent, c.ReqID) {
		return s, nil
	}
	next := *s
	next.Epoch++
	changed, err := next.apply(c)
	if err != nil || !changed {
		return s, err
	}
	if c.ReqID != "" {
		next.Recent = appendBounded(s.Recent, c.ReqID, recentKept)
	}
	next.Format = max(next.Format, c.Version)
	next.Ring = next.Ring.WithEpoch(next.Epoch)
	return &next, nil
}

// born answers a command to a cluster that is not born: only its birth will do.
func born(c *Command) (*State, error) {
	if c.Op != opBirth || c.Birth == nil {
		return nil, wire.Errorf(wire.Unavailable, "the cluster is not born yet")
	}
	if err := c.Birth.check(); err != nil {
		return nil, wire.Errorf(wire.BadRequest, "birth: %v", err)
	}
	return c.Birth, nil
}

// apply changes s, a fresh copy of its predecessor that already has its new epoch.
// The operations replace what s points to and never write through it.
func (s *State) apply(c *Command) (changed bool, err error) {
	switch c.Op {
	case opBirth:
		return false, wire.Errorf(wire.Conflict, "cluster %s is born already", s.ClusterID)
	case opJoin:
		return s.join(c.Member)
	case opAddress:
		return s.address(c.Member)
	case opLeave:
		return s.leave(c.Node)
	case opExit:
		return s.exit(c.Node)
	case opLeft:
		return s.left(c.Node)
	case opDown:
		return s.turn(c.Node, StatusValid, StatusDown)
	case opUp:
		return s.turn(c.Node, StatusDown, StatusValid)
	case opVoters:
		return s.voters(c.Voters)
	case opRebalance:
		return s.rebalance(c.Basis, c.Target)
	case opBegin:
		return s.begin(c.Begin, c.At)
	case opCommit:
		return s.commit(c)
	case opAbort:
		return s.abort(c)
	case opSettle:
		return s.settle()
	case opFloor:
		return s.raiseFloors(c.Floors, c.Asked)
	case opLimits:
		return s.limits(c.Node, c.Limits, c.Reset)
	case opBucket:
		return s.bucket(c.Bucket, c.Props)
	case opStage:
		return s.stage(c)
	case opClear:
		return s.clearPlan()
	case opCommitPlan:
		return s.commitPlan(c.Plan)
	case opChange:
		return s.change(c)
	case opUse:
		return s.use(c.Cap, c.CapVer)
	}
	return false, wire.Errorf(wire.NotSupported, "unknown command %q", c.Op)
}

// appendBounded is list with x behind it, without its oldest items if they are
// more than limit. It never writes to list's memory.
func appendBounded[T any](list []T, x T, limit int) []T {
	if drop := len(list) + 1 - limit; drop > 0 {
		list = list[drop:]
	}
	return append(slices.Clone(list), x)
}

// setMember puts m in the place of the member with its id, or adds it.
func (s *State) setMember(m Member) {
	i, ok := slices.BinarySearchFunc(s.Members, m.ID, compareMember)
	members := slices.Clone(s.Members)
	if ok {
		members[i] = m
	} else {
		members = slices.Insert(members, i, m)
	}
	s.Members = members
}

// known is the member that a command names.
func (s *State) known(id ring.NodeID) (Member, error) {
	m, ok := s.Member(id)
	if !ok {
		return m, wire.Errorf(wire.Refused, "node %q is no member of this cluster", id)
	}
	return m, nil
}
