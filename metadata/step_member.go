package metadata

import (
	"slices"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// join admits m as joining.
func (s *State) join(m *Member) (bool, error) {
	if m == nil || m.ID == "" || m.Name == "" {
		return false, wire.Errorf(wire.BadRequest, "join: a member needs an id and a name")
	}
	if why := s.fits(m); why != "" {
		return false, wire.Errorf(wire.Refused, "%s", why)
	}
	if old, ok := s.Member(m.ID); ok {
		switch {
		case old.Gone() && !old.Home:
			return false, wire.Errorf(wire.Refused,
				"node %s (%s) has left this cluster; start it on an empty data directory to come back as a new node", m.ID, old.Name)
		case old.Staged: // not with the plan, but now
			return true, s.joinStaged(&old)
		case !old.Gone():
			return s.address(m)
		}
	}
	if err := s.enroll(m, false); err != nil {
		return false, err
	}
	s.Roster = s.Epoch
	return true, nil
}

// enroll makes m a joining member.
func (s *State) enroll(m *Member, staged bool) error {
	if err := s.nameFree(m); err != nil {
		return err
	}
	fresh := *m
	fresh.Status, fresh.Voter, fresh.Weight, fresh.Staged = StatusJoining, false, max(m.Weight, 1), staged
	fresh.Home, fresh.Forced, fresh.Heir = false, false, ""
	s.setMember(fresh)
	return nil
}

// nameFree refuses a name that another member bears.
func (s *State) nameFree(m *Member) error {
	other, ok := s.MemberByName(m.Name)
	switch {
	case !ok || other.ID == m.ID || other.Gone():
	case other.Addr == m.Addr:
		return wire.Errorf(wire.Refused,
			"the name %q belongs to node %s, which was at this address, and this is another node: its data directory is new. Start it with "+
				"another --name and let it take that one's place (ringcore cluster force-replace %s NEW), or let that one be removed first",
			m.Name, other.ID, m.Name)
	default:
		return wire.Errorf(wire.Refused,
			"the name %q is in use by node %s at %s; start this node with another --name, or let that one leave first",
			m.Name, other.ID, other.Addr)
	}
	return nil
}

// address takes over how m is reached now. Zone and weight are not its business.
func (s *State) address(m *Member) (bool, error) {
	if m == nil {
		return false, wire.Errorf(wire.BadRequest, "address: no member given")
	}
	old, err := s.known(m.ID)
	if err != nil {
		return false, err
	}
	if old.Gone() {
		return false, wire.Errorf(wire.Refused, "node %s (%s) has left this cluster", m.ID, old.Name)
	}
	if m.Incarnation < old.Incarnation {
		return false, wire.Errorf(wire.Conflict, "node %s has started again since: incarnation %d, now %d",
			m.ID, m.Incarnation, old.Incarnation)
	}
	if why := s.fits(m); why != "" {
		return false, wire.Errorf(wire.NotSupported, "%s", why)
	}
	if sameFace(&old, m) && m.Incarnation == old.Incarnation {
		return false, nil
	}
	if err := s.nameFree(m); err != nil {
		return false, err
	}
	old.wear(m)
	s.setMember(old)
	return true, nil
}

// leave turns a member that stays into one that hands over.
func (s *State) leave(id ring.NodeID) (bool, error) {
	m, err := s.known(id)
	if err == nil && m.Staged {
		return false, stagedOnly(&m)
	}
	if err != nil || !m.Stays() {
		return false, err // leaving already, or gone
	}
	if !slices.ContainsFunc(s.Members, func(o Member) bool { return o.ID != id && o.Stays() }) {
		return false, wire.Errorf(wire.Refused,
			"%s is the last member: nobody is left to take over its data; to end the cluster, stop the node", m.Name)
	}
	m.Status = StatusLeaving
	s.setMember(m)
	s.Roster = s.Epoch
	return true, nil
}

// exit turns a leaving member that owns nothing into an exiting one.
func (s *State) exit(id ring.NodeID) (bool, error) {
	m, err := s.known(id)
	if err != nil {
		return false, err
	}
	switch m.Status {
	case StatusExiting, StatusLeft:
		return false, nil
	case StatusLeaving:
	default:
		return false, wire.Errorf(wire.Refused, "%s is %s, not leaving", m.Name, m.Status)
	}
	if s.Planned != s.Roster {
		return false, wire.Errorf(wire.Conflict, "%s: the plan without it is not made yet", m.Name)
	}
	if n := s.Holds(id); n > 0 {
		return false, wire.Errorf(wire.Conflict, "%s still holds %d slots", m.Name, n)
	}
	if slices.ContainsFunc(s.Transfers, func(t Transfer) bool { return t.From == id || t.To == id }) {
		return false, wire.Errorf(wire.Conflict, "%s still takes part in a transfer", m.Name)
	}
	m.Status = StatusExiting
	s.setMember(m)
	return true, nil
}

// left closes the life of an exiting member. Its addresses go, its id and name stay.
func (s *State) left(id ring.NodeID) (bool, error) {
	m, err := s.known(id)
	if err != nil || m.Gone() {
		return false, err
	}
	if m.Status != StatusExiting || m.Voter {
		return false, wire.Errorf(wire.Conflict, "%s is %s, voter %t", m.Name, m.Status, m.Voter)
	}
	s.setMember(parted(&m))
	return true, nil
}

// turn moves a member between two statuses that change nothing else.
func (s *State) turn(id ring.NodeID, from, to MemberStatus) (bool, error) {
	m, err := s.known(id)
	if err != nil || m.Status == to {
		return false, err
	}
	if m.Status != from {
		return false, wire.Errorf(wire.Refused, "%s is %s, not %s", m.Name, m.Status, from)
	}
	m.Status = to
	s.setMember(m)
	return true, nil
}

// voters writes down which members raft counts.
func (s *State) voters(ids []ring.NodeID) (bool, error) {
	for _, id := range ids {
		if m, err := s.known(id); err != nil {
			return false, err
		} else if m.Gone() {
			return false, wire.Errorf(wire.Conflict, "%s has left and cannot vote", m.Name)
		}
	}
	members, changed := slices.Clone(s.Members), false
	for i := range members {
		if v := slices.Contains(ids, members[i].ID); v != members[i].Voter {
			members[i].Voter, changed = v, true
		}
	}
	s.Members = members
	return changed, nil
}
