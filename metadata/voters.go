package metadata

import (
	"cmp"
	"slices"

	"github.com/ringcore/ringcore/metadata/ring"
)

// actionKind says how raft's configuration is to change.
type actionKind string

const (
	stay    actionKind = "stay"
	enlist  actionKind = "enlist"  // make listeners, which receive the log and do not vote
	promote actionKind = "promote" // make listeners voters, all of them together
	demote  actionKind = "demote"  // make voters listeners
	dismiss actionKind = "dismiss" // take listeners out of raft
	yield   actionKind = "yield"   // hand leadership to nodes[0]
)

// action is one change of raft's configuration.
type action struct {
	kind  actionKind
	nodes []ring.NodeID
}

// electorate is what the leader knows when it decides who votes.
type electorate struct {
	members           []Member
	self              ring.NodeID   // the leader
	voters, listeners []ring.NodeID // raft's configuration
	up                func(ring.NodeID) bool
}

// votersFor is how many of n members vote: always odd.
func votersFor(n int) int {
	switch {
	case n >= 7:
		return 5
	case n >= 3:
		return 3
	}
	return 1
}

// nextElectorate is the next change on the way to the voters that the members call
// for. The order is what keeps a majority of live voters at every point: new ones
// receive the log before any of them votes, they begin to vote before others stop,
// and the leader goes last, after another one leads.
func nextElectorate(e electorate) action {
	want := wantedVoters(e)
	lack := without(want, e.voters)
	if fresh := without(lack, e.listeners); len(fresh) > 0 {
		return action{enlist, fresh}
	}
	if len(lack) > 0 {
		return action{promote, lack}
	}
	if surplus := without(e.voters, want); len(surplus) > 0 {
		// Who cannot agree to anything goes first: without a live one before it, too few might be left.
		slices.SortStableFunc(surplus, func(a, b ring.NodeID) int { return cmp.Compare(e.usable(a), e.usable(b)) })
		if !slices.Contains(surplus, e.self) {
			return action{demote, surplus}
		}
		if i := slices.IndexFunc(want, e.up); i >= 0 {
			return action{yield, want[i : i+1]}
		}
		return action{kind: stay}
	}
	if idle := without(e.listeners, want); len(idle) > 0 {
		return action{dismiss, idle}
	}
	return action{kind: stay}
}

// wantedVoters chooses who should vote: the leader, then who votes already, then
// valid members that are up, from zones with few voters first. A voter that is
// down keeps its vote as long as it is a member: nobody is removed for silence.
func wantedVoters(e electorate) []ring.NodeID {
	type candidate struct {
		m    *Member
		rank int
	}
	var list []candidate
	total := 0
	for i := range e.members {
		m := &e.members[i]
		if m.Status == StatusExiting || m.Gone() || m.Staged {
			continue
		}
		total++
		if r := candidacy(&e, m); r >= 0 {
			list = append(list, candidate{m, r})
		}
	}
	n := min(votersFor(total), (len(list)-1)|1) // the latter: the largest odd number of candidates
	zones := make(map[string]int)
	var want []ring.NodeID
	for len(want) < n && len(list) > 0 {
		best := slices.MinFunc(list, func(a, b candidate) int {
			return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(zones[a.m.Zone], zones[b.m.Zone]), cmp.Compare(a.m.ID, b.m.ID))
		})
		want = append(want, best.m.ID)
		zones[best.m.Zone]++
		list = slices.DeleteFunc(list, func(c candidate) bool { return c.m == best.m })
	}
	return want
}

// candidacy ranks a member as voter, lowest first; -1 if it cannot be one.
func candidacy(e *electorate, m *Member) int {
	up, fit := e.up(m.ID), m.Status == StatusValid
	switch {
	case m.ID == e.self && slices.Contains(e.voters, m.ID):
		return 0
	case slices.Contains(e.voters, m.ID) && up:
		return 1
	case slices.Contains(e.voters, m.ID):
		return 2
	case fit && up && slices.Contains(e.listeners, m.ID):
		return 3
	case fit && up:
		return 4
	}
	return -1
}

// usable is 1 for a member that is up, else 0.
func (e *electorate) usable(id ring.NodeID) int {
	if e.up(id) && slices.ContainsFunc(e.members, func(m Member) bool { return m.ID == id && !m.Gone() }) {
		return 1
	}
	return 0
}

// voterFlags are the members that the State says vote, sorted.
func voterFlags(s *State) []ring.NodeID {
	var ids []ring.NodeID
	for i := range s.Members {
		if s.Members[i].Voter {
			ids = append(ids, s.Members[i].ID)
		}
	}
	return ids
}

// without is a's items that are not in b, in a's order.
func without(a, b []ring.NodeID) []ring.NodeID {
	var out []ring.NodeID
	for _, id := range a {
		if !slices.Contains(b, id) {
			out = append(out, id)
		}
	}
	return out
}

func sorted(ids []ring.NodeID) []ring.NodeID { return slices.Sorted(slices.Values(ids)) }
