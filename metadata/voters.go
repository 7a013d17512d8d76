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
	relieve actionKind = "relieve" // make voters listeners that have long been silent, and listeners voters in their places
)

// action is one change of raft's configuration.
type action struct {
	kind  actionKind
	nodes []ring.NodeID
	dead  []ring.NodeID // relieve: whose votes nodes take over, as many as those
}

// electorate is what the leader knows when it decides who votes.
type electorate struct {
	members           []Member
	self              ring.NodeID   // the leader
	voters, listeners []ring.NodeID // raft's configuration
	up                func(ring.NodeID) bool
	silent            func(ring.NodeID) bool // not up for so long that another member should vote instead; may be nil
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
// and the leader goes last, after another one leads. Only a dead voter stops before
// its successor begins: four voters of which two live have no majority, two of two have.
func nextElectorate(e electorate) action {
	want := wantedVoters(e)
	lack, surplus := without(want, e.voters), without(e.voters, want)
	if fresh := without(lack, e.listeners); len(fresh) > 0 {
		return action{kind: enlist, nodes: fresh}
	}
	if dead := e.dead(surplus); len(lack) > 0 && len(dead) > 0 {
		n := min(len(lack), len(dead))
		return action{relieve, lack[:n], dead[:n]}
	}
	if len(lack) > 0 {
		return action{kind: promote, nodes: lack}
	}
	if len(surplus) > 0 {
		// Who cannot agree to anything goes first: without a live one before it, too few might be left.
		slices.SortStableFunc(surplus, func(a, b ring.NodeID) int { return cmp.Compare(e.usable(a), e.usable(b)) })
		if !slices.Contains(surplus, e.self) {
			return action{kind: demote, nodes: surplus}
		}
		if i := slices.IndexFunc(want, e.up); i >= 0 {
			return action{kind: yield, nodes: want[i : i+1]}
		}
		return action{kind: stay}
	}
	if idle := e.idle(want); len(idle) > 0 {
		return action{kind: dismiss, nodes: idle}
	}
	if e.draining(e.self) {
		heir := func(id ring.NodeID) bool { return id != e.self && e.up(id) && !e.draining(id) }
		if i := slices.IndexFunc(want, heir); i >= 0 {
			return action{kind: yield, nodes: want[i : i+1]}
		}
	}
	return action{kind: stay}
}

// dead are those of some voters that have long been silent, if the voters that are
// up are a majority: nobody's vote goes while it may be the one that decides.
func (e *electorate) dead(of []ring.NodeID) []ring.NodeID {
	up := 0
	for _, id := range e.voters {
		if e.up(id) {
			up++
		}
	}
	if e.silent == nil || 2*up <= len(e.voters) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(of), func(id ring.NodeID) bool { return !e.silent(id) })
}

// draining reports whether a member is about to stop.
func (e *electorate) draining(id ring.NodeID) bool {
	return slices.ContainsFunc(e.members, func(m Member) bool { return m.ID == id && m.Draining })
}

// idle are the listeners that may go. One that is away stays until it is back, or is
// to leave: it may have voted, and learns from the log that it does no longer.
func (e *electorate) idle(want []ring.NodeID) []ring.NodeID {
	return slices.DeleteFunc(without(e.listeners, want), func(id ring.NodeID) bool {
		return !e.up(id) && slices.ContainsFunc(e.members, func(m Member) bool {
			return m.ID == id && m.Status != StatusExiting && !m.Gone()
		})
	})
}

// wantedVoters chooses who should vote: the leader, then who votes already, then
// valid members that are up, from zones with few voters first. A voter that is
// down keeps its vote for a while, and for good if no other member can take it.
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
	case slices.Contains(e.voters, m.ID) && len(e.dead([]ring.NodeID{m.ID})) > 0:
		return 5 // behind all who can take its vote
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
