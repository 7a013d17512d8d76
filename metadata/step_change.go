package metadata

import (
	"errors"
	"maps"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// maxZone bounds a zone's name, in bytes.
const maxZone = 63

// upheaval is what changes that take place together mean for the ring.
type upheaval struct {
	claims bool                 // shares are to be computed anew
	heirs  map[ring.NodeID]bool // who gets the very places of another
	lost   map[ring.NodeID]bool // who is out without handing over
}

// applyAll makes all changes on s, a fresh copy that is thrown away if there is an error.
//
// Who gets shares anew is for Claim to say, so a rebalance is due afterwards; if all that
// happens to places is that they are inherited, nothing else moves and the target is set here.
func (s *State) applyAll(changes []Change) error {
	u := &upheaval{heirs: make(map[ring.NodeID]bool), lost: make(map[ring.NodeID]bool)}
	for i := range changes {
		if changes[i].New != "" {
			u.heirs[changes[i].New] = true
		}
	}
	for i := range changes {
		if err := s.applyChange(&changes[i], u); err != nil {
			if e, ok := errors.AsType[*wire.Error](err); ok && len(changes) > 1 {
				return wire.Errorf(e.Code, "change %d of %d (%s): %s", i+1, len(changes), changes[i].Words(s.nameOf), e.Message)
			}
			return err
		}
	}
	switch inherits := len(u.heirs) > 0; {
	case inherits && !u.claims && s.Planned == s.Roster:
		lists := s.Target
		if lists == nil {
			lists = s.Ring.Lists()
		}
		s.Target = s.inherited(lists)
		s.Roster, s.Planned = s.Epoch, s.Epoch
	case inherits || u.claims:
		s.Roster = s.Epoch
		if len(u.lost) > 0 {
			s.Target = nil // it may count on them, and nothing may begin before the next one
		}
	}
	if len(u.lost) > 0 {
		s.expel(u.lost)
	}
	return nil
}

func (s *State) nameOf(id ring.NodeID) string {
	if m, ok := s.Member(id); ok {
		return m.Name
	}
	return string(id)
}

func (s *State) applyChange(c *Change, u *upheaval) error {
	if c.Kind == ChangeReplicas {
		return s.setReplicas(c.Number, u)
	}
	m, err := s.known(c.Node)
	switch {
	case err != nil:
		return err
	case m.Gone():
		return wire.Errorf(wire.Refused, "%s is no member any more", m.Name)
	case m.Staged && c.Kind != ChangeJoin:
		return stagedOnly(&m)
	}
	switch c.Kind {
	case ChangeJoin:
		if m.Staged = false; m.Status != StatusJoining {
			return wire.Errorf(wire.Refused, "%s is a member already", m.Name)
		}
		s.setMember(m)
		u.claims = u.claims || !u.heirs[m.ID]
	case ChangeLeave:
		return s.plannedLeave(&m, u)
	case ChangeReplace:
		return s.replace(&m, c.New, u)
	case ChangeForceRemove, ChangeForceReplace:
		return s.force(c, &m, u)
	case ChangeDown:
		_, err = s.turn(m.ID, StatusValid, StatusDown)
		return err
	case ChangeWeight:
		return s.setWeight(&m, c.Number, u)
	case ChangeZone:
		return s.setZone(&m, c.Zone, u)
	default:
		return wire.Errorf(wire.NotSupported, "unknown change %q", c.Kind)
	}
	return nil
}

// plannedLeave is leave, but for refusing one who leaves already.
func (s *State) plannedLeave(m *Member, u *upheaval) error {
	if !m.Stays() {
		return wire.Errorf(wire.Refused, "%s is %s already", m.Name, m.Status)
	}
	u.claims = true
	_, err := s.leave(m.ID)
	return err
}

// replace has id get the places of m, which leaves.
func (s *State) replace(m *Member, id ring.NodeID, u *upheaval) error {
	switch {
	case !m.Stays():
		return wire.Errorf(wire.Refused, "%s is %s already", m.Name, m.Status)
	case m.Status == StatusDown:
		return wire.Errorf(wire.Refused, "%s is marked as down and cannot hand over: start it, or replace it by force, if it is lost", m.Name)
	}
	if err := s.appointHeir(m, id); err != nil {
		return err
	}
	m.Status, m.Heir = StatusLeaving, id
	s.setMember(*m)
	return nil
}

// appointHeir checks that id can take over from m, and makes it a full member.
func (s *State) appointHeir(m *Member, id ring.NodeID) error {
	heir, err := s.known(id)
	switch {
	case err != nil:
		return err
	case id == m.ID:
		return wire.Errorf(wire.Refused, "%s cannot replace itself", m.Name)
	case heir.Staged:
		return stagedOnly(&heir)
	case heir.Status != StatusJoining && heir.Status != StatusValid:
		return wire.Errorf(wire.Refused, "%s is %s and cannot replace %s: let a new node join for that", heir.Name, heir.Status, m.Name)
	case s.Holds(id) > 0 || s.targeted(id):
		return wire.Errorf(wire.Refused, "%s has places of its own, or is to get some, and cannot take those of %s: let a new node join for that (staged), or let %s leave",
			heir.Name, m.Name, m.Name)
	case slices.ContainsFunc(s.Members, func(o Member) bool { return o.Heir == id }):
		return wire.Errorf(wire.Refused, "%s replaces another node already", heir.Name)
	}
	heir.Status = StatusValid
	s.setMember(heir)
	return nil
}

// targeted reports whether the target gives id a place.
func (s *State) targeted(id ring.NodeID) bool {
	return slices.ContainsFunc(s.Target, func(list []ring.NodeID) bool { return slices.Contains(list, id) })
}

// force ends the membership of m, which hands nothing over.
func (s *State) force(c *Change, m *Member, u *upheaval) error {
	if !c.Stopped {
		return wire.Errorf(wire.Refused, "%s of %s: say that it is stopped and stays so (--stopped): while it runs it serves what it has to those who reach it", c.Kind, m.Name)
	}
	if c.Kind == ChangeForceReplace {
		if err := s.appointHeir(m, c.New); err != nil {
			return err
		}
	} else {
		if !slices.ContainsFunc(s.Members, func(o Member) bool { return o.ID != m.ID && o.Stays() }) {
			return wire.Errorf(wire.Refused, "%s is the last member that stays: nobody is left to take its places", m.Name)
		}
		u.claims = true
	}
	u.lost[m.ID] = true
	gone := parted(m)
	gone.Forced, gone.Heir = true, c.New
	s.setMember(gone)
	return nil
}

// expel takes lost out of every list, and gives up the transfers that this upsets.
func (s *State) expel(lost map[ring.NodeID]bool) {
	was := s.Ring
	s.Ring = s.Ring.Expel(func(id ring.NodeID) bool { return lost[id] }, func(p ring.Partition) ring.NodeID { return s.heirOf(was, p) })
	var open []Transfer
	for i := range s.Transfers {
		t := &s.Transfers[i]
		changed := s.Ring.Gen(t.Partition) != was.Gen(t.Partition)
		if !changed && !lost[t.From] && !lost[t.To] {
			open = append(open, *t)
			continue
		}
		s.Ended = appendBounded(s.Ended, Ended{ID: t.ID, Step: t.Step, Reason: "a node of it is out of the cluster", Epoch: s.Epoch}, endedKept(s.Ring.Q()))
	}
	s.Transfers = open
}

// heirOf is who gets p, of which nobody is left: the heir of one who had it, else who
// would have stood in, the next clockwise.
func (s *State) heirOf(was *ring.Ring, p ring.Partition) ring.NodeID {
	for _, x := range was.Assignments[p].Replicas {
		if m, ok := s.Member(x.Node); ok && m.Heir != "" {
			return m.Heir
		}
	}
	for i := 1; i < was.Q(); i++ {
		for _, x := range was.Assignments[(int(p)+i)%was.Q()].Replicas {
			if m, ok := s.Member(x.Node); ok && m.Stays() {
				return x.Node
			}
		}
	}
	i := slices.IndexFunc(s.Members, func(m Member) bool { return m.Stays() })
	return s.Members[i].ID // force has made sure of one
}

// inherited is lists with the heirs of those that go in their places.
func (s *State) inherited(lists [][]ring.NodeID) [][]ring.NodeID {
	for i := range s.Members {
		m := &s.Members[i]
		if m.Heir == "" {
			continue
		}
		heir, ok := s.Member(m.Heir)
		if !ok || !heir.Stays() {
			continue
		}
		lists = slices.Clone(lists)
		for p, list := range lists {
			if at := slices.Index(list, m.ID); at >= 0 && !slices.Contains(list, heir.ID) {
				lists[p] = slices.Clone(list)
				lists[p][at] = heir.ID
			}
		}
	}
	return lists
}

func (s *State) setWeight(m *Member, weight int, u *upheaval) error {
	switch {
	case !m.Stays():
		return wire.Errorf(wire.Refused, "%s is %s: its weight counts no more", m.Name, m.Status)
	case weight < 1 || weight > ring.MaxWeight:
		return wire.Errorf(wire.BadRequest, "weight %d: must be 1 to %d; to take everything from a node, let it leave", weight, ring.MaxWeight)
	}
	u.claims = u.claims || m.Weight != weight
	m.Weight = weight
	s.setMember(*m)
	return nil
}

func (s *State) setZone(m *Member, zone string, u *upheaval) error {
	switch {
	case !m.Stays():
		return wire.Errorf(wire.Refused, "%s is %s: its zone counts no more", m.Name, m.Status)
	case len(zone) > maxZone || !utf8.ValidString(zone) || slices.ContainsFunc([]rune(zone), func(r rune) bool { return !unicode.IsPrint(r) }):
		return wire.Errorf(wire.BadRequest, "a zone's name is printable text of at most %d bytes", maxZone)
	}
	u.claims = u.claims || m.Zone != zone
	m.Zone = zone
	s.setMember(*m)
	return nil
}

// number is q if it is one, 0 if it is symbolic.
func number(q wire.Quorum) int {
	if q > wire.MaxQuorum {
		return 0
	}
	return int(q)
}

// setReplicas has the cluster keep n replicas. More are wanted at once; of fewer, the
// ring knows when no list is longer any more, because services use Ring.N places.
func (s *State) setReplicas(n int, u *upheaval) error {
	if n < 1 || n > ring.MaxReplicas {
		return wire.Errorf(wire.BadRequest, "%d replicas: must be 1 to %d", n, ring.MaxReplicas)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Buckets)) {
		props := s.Buckets[name]
		if q := max(number(props.R), number(props.W), number(props.PR), number(props.PW)); q > n {
			return wire.Errorf(wire.Refused, "%d replicas: bucket %q asks for %d answers; change that first", n, name, q)
		}
	}
	if n == s.Wanted() {
		return nil
	}
	s.Replicas = 0
	if n < s.Ring.N {
		s.Replicas = n
	} else {
		r := *s.Ring
		r.N = n
		s.Ring = &r
	}
	u.claims = true
	return nil
}
