package metadata

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// maxPlan bounds State.Plan.
const maxPlan = 256

// stage adds a change to the plan, if the State would allow it after those before.
func (s *State) stage(c *Command) (bool, error) {
	if len(c.Changes) != 1 {
		return false, wire.Errorf(wire.BadRequest, "stage: one change at a time, not %d", len(c.Changes))
	}
	fresh := c.Changes[0]
	if fresh.Kind == ChangeJoin {
		if known, err := s.stageJoin(c.Member, fresh.Node); known || err != nil {
			return false, err
		}
	}
	if slices.Contains(s.Plan, fresh) {
		return false, nil
	}
	staged := slices.DeleteFunc(slices.Clone(s.Plan), func(o Change) bool { return fresh.sameSubject(&o) })
	staged = append(staged, fresh)
	if len(staged) > maxPlan {
		return false, wire.Errorf(wire.Refused, "%d changes are staged, and more cannot: commit or clear them", maxPlan)
	}
	if err := s.tryOut(staged); err != nil {
		return false, err
	}
	s.Plan = staged
	return true, nil
}

// stageJoin makes m a staged member. known reports that it is one already.
func (s *State) stageJoin(m *Member, id ring.NodeID) (known bool, err error) {
	if m == nil || m.ID == "" || m.ID != id || m.Name == "" {
		return false, wire.Errorf(wire.BadRequest, "join: a member needs an id and a name")
	}
	old, ok := s.Member(m.ID)
	switch {
	case ok && old.Staged:
		return true, nil
	case ok && old.Gone() && !old.Home:
		return false, wire.Errorf(wire.Refused,
			"node %s (%s) has left this cluster; start it on an empty data directory to come back as a new node", m.ID, old.Name)
	case ok && !old.Gone():
		return false, wire.Errorf(wire.Refused, "%s is a member already", old.Name)
	}
	return false, s.enroll(m, true)
}

// joinStaged has a staged member's join take place now.
func (s *State) joinStaged(m *Member) error {
	m.Staged = false
	s.setMember(*m)
	s.Plan = slices.DeleteFunc(slices.Clone(s.Plan), func(c Change) bool { return c.Kind == ChangeJoin && c.Node == m.ID })
	if len(s.Plan) == 0 {
		s.Plan = nil
	}
	s.Roster = s.Epoch
	return nil
}

// tryOut reports why changes cannot take place, if so.
func (s *State) tryOut(changes []Change) error {
	next := *s
	return next.applyAll(changes)
}

// clearPlan forgets the plan, and sends staged members home.
func (s *State) clearPlan() (bool, error) {
	if len(s.Plan) == 0 {
		return false, nil
	}
	members := slices.Clone(s.Members)
	for i := range members {
		if members[i].Staged {
			members[i] = parted(&members[i])
			members[i].Home = true
		}
	}
	s.Members, s.Plan = members, nil
	return true, nil
}

// commitPlan has the plan take place, if it is still what its reader saw.
func (s *State) commitPlan(hash string) (bool, error) {
	switch {
	case len(s.Plan) == 0:
		return false, wire.Errorf(wire.Refused, "nothing is staged, so there is nothing to commit")
	case hash != s.PlanHash():
		return false, wire.Errorf(wire.Conflict, "the plan, the members or the ring have changed since that plan was shown: look at the plan again, and commit that")
	}
	changes := s.Plan
	s.Plan = nil
	return true, s.applyAll(changes)
}

// change has one change take place at once. Joins come by themselves.
func (s *State) change(c *Command) (bool, error) {
	if len(c.Changes) != 1 || c.Changes[0].Kind == ChangeJoin {
		return false, wire.Errorf(wire.BadRequest, "change: one change at a time, and not a join")
	}
	return true, s.applyAll(c.Changes)
}

// PlanHash stands for what a plan was computed from: what is staged, the roster and the
// ring. It is empty if nothing is staged.
func (s *State) PlanHash() string {
	if len(s.Plan) == 0 {
		return ""
	}
	type face struct {
		ID     ring.NodeID
		Status MemberStatus
		Zone   string
		Weight int
		Staged bool
		Heir   ring.NodeID
	}
	basis := struct {
		Cluster     string
		Plan        []Change
		Roster      ring.Epoch
		N, Replicas int
		Members     []face
		Gens        []ring.Gen // with the partition, each determines a list
	}{Cluster: s.ClusterID, Plan: s.Plan, Roster: s.Roster, N: s.Ring.N, Replicas: s.Replicas}
	for i := range s.Members {
		m := &s.Members[i]
		basis.Members = append(basis.Members, face{m.ID, m.Status, m.Zone, m.Weight, m.Staged, m.Heir})
	}
	for p := range s.Ring.Assignments {
		basis.Gens = append(basis.Gens, s.Ring.Gen(ring.Partition(p)))
	}
	b, err := json.Marshal(basis)
	if err != nil {
		panic(err) // strings and numbers
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:12])
}

// Wanted is how many replicas the cluster is to keep of each partition.
func (s *State) Wanted() int {
	if s.Replicas > 0 {
		return s.Replicas
	}
	return s.Ring.N
}

// arrive forgets a target that is reached. The lists are now as short as was wanted.
func (s *State) arrive() {
	s.Target = nil
	if s.Replicas > 0 {
		r := *s.Ring
		r.N = s.Replicas
		s.Ring, s.Replicas = &r, 0
	}
}

// parted is what stays of a member that is none any more: addresses go, id and name stay.
func parted(m *Member) Member {
	return Member{
		ID: m.ID, Name: m.Name, Zone: m.Zone, Weight: m.Weight,
		Status: StatusLeft, Incarnation: m.Incarnation, Version: m.Version,
	}
}

func stagedOnly(m *Member) error {
	return wire.Errorf(wire.Refused, "the join of %s is staged only: commit the plan, or clear it", m.Name)
}
