package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ringcore/ringcore/metadata/ring"
)

// simulation is a cluster that exists on paper.
type simulation struct {
	members  []ring.Claimant // who claims; Node is the id where one is known, else the name
	leaving  []ring.Claimant // who holds places and claims none any more
	names    map[ring.NodeID]string
	replicas int
	lists    [][]ring.NodeID
	joined   int // nodes that have come without a name
}

// simStep is what one commit would do, and its JSON.
type simStep struct {
	Changes    []string      `json:"changes"`
	Replicas   int           `json:"replicas"`
	Members    []simMember   `json:"members"`
	Places     int           `json:"places"` // in all lists, afterwards
	Moves      int           `json:"moves"`  // places whose node does not hold that partition now: all of the adds too
	Least      int           `json:"least"`  // no target that gives each member as much takes fewer
	Adds       int           `json:"adds"`
	Swaps      int           `json:"swaps"`
	Drops      int           `json:"drops"`
	Transfers  []simTransfer `json:"transfers"`
	Violations simViolations `json:"violations"`
	Warnings   []string      `json:"warnings"`
}

// simMember is a member before and after. Shares are parts of all places.
type simMember struct {
	Name         string  `json:"name"`
	Zone         string  `json:"zone"`
	Weight       int     `json:"weight"`
	Owned        int     `json:"owned"`
	Slots        int     `json:"slots"`
	Share        float64 `json:"share"`
	PendingOwned int     `json:"pending_owned"`
	PendingSlots int     `json:"pending_slots"`
	PendingShare float64 `json:"pending_share"`
	Due          float64 `json:"due"` // exact share of the places, by weight, as far as nodes and zones allow
}

type simTransfer struct {
	Kind       string `json:"kind"`
	From       string `json:"from"`
	To         string `json:"to"`
	Partitions int    `json:"partitions"`
}

type simViolations struct {
	Now  ring.Violations `json:"now"`
	Then ring.Violations `json:"then"`
}

// newSimulation is a cluster of members who have joined one after another.
func newSimulation(members []ring.Claimant, q, n int) *simulation {
	s := &simulation{members: members, names: make(map[ring.NodeID]string), replicas: n}
	for i, m := range members {
		s.names[m.Node] = string(m.Node)
		s.lists = ring.Claim(members[:i+1], q, n, s.lists)
	}
	return s
}

// commit makes changes in one go, and says what that does.
func (s *simulation) commit(changes []simChange) (*simStep, error) {
	before, members := s.ring(), slices.Concat(s.members, s.leaving)
	step := &simStep{Changes: []string{}}
	current := slices.Clone(s.lists) // as heirs see it: who replaces another holds what that one had
	for _, c := range changes {
		step.Changes = append(step.Changes, c.String())
		if err := s.apply(&c, current); err != nil {
			return nil, fmt.Errorf("%s: %w", &c, err)
		}
	}
	if len(s.members) == 0 {
		return nil, fmt.Errorf("%s: nobody would be left to hold the partitions", strings.Join(step.Changes, ", "))
	}
	s.lists, s.leaving = ring.Claim(s.members, before.Q(), s.replicas, current), nil
	diff := ring.DiffOf(before, s.lists)
	step.Replicas, step.Places = s.replicas, before.Q()*min(s.replicas, len(s.members))
	step.Moves, step.Adds, step.Swaps, step.Drops = diff.Moves+diff.Adds, diff.Adds, diff.Swaps, diff.Drops
	step.Least = ring.Deficits(before.Lists(), s.lists)
	step.Members = s.compare(members, before)
	step.Transfers = []simTransfer{}
	for _, t := range diff.Transfers {
		step.Transfers = append(step.Transfers, simTransfer{string(t.Kind), s.name(t.From), s.name(t.To), t.Partitions})
	}
	step.Violations.Now = ring.ViolationsOf(before.Lists(), members, before.N)
	step.Violations.Then = ring.ViolationsOf(s.lists, s.members, s.replicas)
	step.Warnings = append([]string{}, ring.Warnings(s.lists, s.replicas, s.zone)...)
	return step, nil
}

// ring is the simulated ring. Its gens and epoch mean nothing.
func (s *simulation) ring() *ring.Ring {
	r := &ring.Ring{Epoch: 1, N: s.replicas, Assignments: make([]ring.Assignment, len(s.lists))}
	for p, list := range s.lists {
		r.Assignments[p].Gen = 1
		for _, node := range list {
			r.Assignments[p].Replicas = append(r.Assignments[p].Replicas, ring.Replica{Node: node})
		}
	}
	return r
}

func (s *simulation) name(id ring.NodeID) string { return cmp.Or(s.names[id], string(id)) }

func (s *simulation) zone(id ring.NodeID) string {
	for i := range s.members {
		if s.members[i].Node == id {
			return s.members[i].Zone
		}
	}
	return ""
}

// compare lists who is a member before or after, by name.
func (s *simulation) compare(members []ring.Claimant, before *ring.Ring) []simMember {
	all := slices.Clone(s.members)
	for _, m := range members {
		if !slices.ContainsFunc(all, func(x ring.Claimant) bool { return x.Node == m.Node }) {
			all = append(all, m)
		}
	}
	now, then := ring.Shares(before), ring.SharesOf(s.lists)
	due := ring.Due(s.members, before.Q(), s.replicas)
	placesNow, placesThen := places(now), places(then)
	rows := make([]simMember, 0, len(all))
	for _, m := range all {
		rows = append(rows, simMember{
			Name: s.name(m.Node), Zone: m.Zone, Weight: m.Weight,
			Owned: now[m.Node].Owned, Slots: now[m.Node].Slots, Share: float64(now[m.Node].Slots) / float64(placesNow),
			PendingOwned: then[m.Node].Owned, PendingSlots: then[m.Node].Slots, PendingShare: float64(then[m.Node].Slots) / float64(placesThen),
			Due: due[m.Node],
		})
	}
	slices.SortFunc(rows, func(a, b simMember) int {
		return cmp.Or(cmp.Compare(len(a.Name), len(b.Name)), cmp.Compare(a.Name, b.Name)) // n10 after n9
	})
	return rows
}

func places(shares map[ring.NodeID]ring.Share) int {
	sum := 0
	for _, s := range shares {
		sum += s.Slots
	}
	return sum
}

// apply makes one change to the members. current is what Claim is to take for the lists of now.
func (s *simulation) apply(c *simChange, current [][]ring.NodeID) error {
	switch c.kind {
	case "join":
		return s.join(c.arg)
	case "leave":
		i, err := s.find(c.arg)
		if err == nil {
			s.members = slices.Delete(slices.Clone(s.members), i, i+1)
		}
		return err
	case "replace":
		return s.replace(c.arg, current)
	case "replicas":
		n, err := strconv.Atoi(c.arg)
		if err != nil || n < 1 || n > ring.MaxReplicas {
			return fmt.Errorf("replicas can be 1 to %d", ring.MaxReplicas)
		}
		s.replicas = n
		return nil
	}
	name, value, ok := strings.Cut(c.arg, "=")
	if !ok {
		return fmt.Errorf("pass for example --%s n1=2", c.kind)
	}
	i, err := s.find(name)
	if err != nil {
		return err
	}
	s.members = slices.Clone(s.members)
	if c.kind == "set-zone" {
		s.members[i].Zone = value
		return nil
	}
	s.members[i].Weight, err = weight(value)
	return err
}

// join takes in as many as arg says, or the one that it names: NAME[:ZONE[:WEIGHT]]. Who has no zone
// stands in the one with fewest members.
func (s *simulation) join(arg string) error {
	if count, err := strconv.Atoi(arg); err == nil {
		if count < 1 || count > maxSimulated {
			return fmt.Errorf("1 to %d nodes can join", maxSimulated)
		}
		for range count {
			if err := s.admit(ring.Claimant{Node: s.freeName(), Weight: 1, Zone: s.emptiestZone()}); err != nil {
				return err
			}
		}
		return nil
	}
	parts := strings.SplitN(arg, ":", 3)
	m := ring.Claimant{Node: ring.NodeID(parts[0]), Weight: 1}
	if len(parts) > 1 {
		m.Zone = parts[1]
	} else {
		m.Zone = s.emptiestZone()
	}
	if len(parts) > 2 {
		var err error
		if m.Weight, err = weight(parts[2]); err != nil {
			return err
		}
	}
	return s.admit(m)
}

func (s *simulation) admit(m ring.Claimant) error {
	if m.Node == "" {
		return fmt.Errorf("the node that joins has no name")
	}
	if _, err := s.find(string(m.Node)); err == nil {
		return fmt.Errorf("%s is a member already", m.Node)
	}
	s.names[m.Node] = string(m.Node)
	s.members = append(slices.Clone(s.members), m)
	return nil
}

// replace has new, with the weight and zone of old unless it is a member already, take old's places.
func (s *simulation) replace(arg string, current [][]ring.NodeID) error {
	from, to, ok := strings.Cut(arg, ":")
	if !ok || to == "" {
		return fmt.Errorf("pass for example --replace n2:n6")
	}
	i, err := s.find(from)
	if err != nil {
		return err
	}
	old := s.members[i]
	fresh := ring.Claimant{Node: ring.NodeID(to), Weight: old.Weight, Zone: old.Zone}
	s.members = slices.Delete(slices.Clone(s.members), i, i+1)
	if j, err := s.find(to); err == nil {
		fresh = s.members[j]
	} else if err := s.admit(fresh); err != nil {
		return err
	}
	for p, list := range current {
		at := slices.Index(list, old.Node)
		if at < 0 {
			continue
		}
		list = slices.Clone(list)
		if slices.Contains(list, fresh.Node) {
			list = slices.Delete(list, at, at+1)
		} else {
			list[at] = fresh.Node
		}
		current[p] = list
	}
	return nil
}

// find is the index of the member of that name or id.
func (s *simulation) find(name string) (int, error) {
	i := slices.IndexFunc(s.members, func(m ring.Claimant) bool { return s.name(m.Node) == name || string(m.Node) == name })
	if i < 0 {
		return 0, fmt.Errorf("no member is called %q: there are %s", name, strings.Join(s.memberNames(), ", "))
	}
	return i, nil
}

func (s *simulation) memberNames() []string {
	names := make([]string, len(s.members))
	for i, m := range s.members {
		names[i] = s.name(m.Node)
	}
	return names
}

func (s *simulation) freeName() ring.NodeID {
	for {
		s.joined++
		name := fmt.Sprintf("n%d", s.joined)
		taken := false
		for _, n := range s.names { // those that have left too
			taken = taken || n == name
		}
		if !taken {
			return ring.NodeID(name)
		}
	}
}

func (s *simulation) emptiestZone() string {
	sizes := make(map[string]int)
	for _, m := range s.members {
		sizes[m.Zone]++
	}
	best := ""
	for zone, size := range sizes {
		if least := sizes[best]; least == 0 || size < least || size == least && zone < best {
			best = zone
		}
	}
	return best
}

func weight(s string) (int, error) {
	w, err := strconv.Atoi(s)
	if err != nil || w < 1 || w > ring.MaxWeight {
		return 0, fmt.Errorf("weight %q: it can be 1 to %d", s, ring.MaxWeight)
	}
	return w, nil
}
