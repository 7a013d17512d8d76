package metadata

import (
	"cmp"
	"slices"

	"github.com/ringcore/ringcore/metadata/ring"
)

// MemberStatus is where a member stands in its life:
//
//	joining ─rebalance→ valid ─leave→ leaving ─exit→ exiting ─left→ left
//	                      └─down→ down ─up→ valid (or ─leave→ leaving)
type MemberStatus string

// The statuses.
const (
	StatusJoining MemberStatus = "joining" // admitted; the next target counts it in
	StatusValid   MemberStatus = "valid"   // owns its share, or will
	StatusDown    MemberStatus = "down"    // an operator says that it cannot be reached; keeps what it owns
	StatusLeaving MemberStatus = "leaving" // hands over what it owns
	StatusExiting MemberStatus = "exiting" // owns nothing; the leader takes it out of raft
	StatusLeft    MemberStatus = "left"    // gone for good; its id is never admitted again
)

// Member is a node as the cluster knows it.
type Member struct {
	ID          ring.NodeID  `json:"id"`
	Name        string       `json:"name"`        // unique among those that have not left
	Addr        string       `json:"addr"`        // host:port of requests, streams and raft
	GossipAddr  string       `json:"gossip_addr"` // host:port
	HTTPAddr    string       `json:"http_addr,omitempty"`
	RESPAddr    string       `json:"resp_addr,omitempty"`
	Zone        string       `json:"zone,omitempty"`
	Weight      int          `json:"weight"` // share relative to the others', at least 1
	Status      MemberStatus `json:"status"`
	Incarnation uint64       `json:"incarnation"` // counts the node's starts: older addresses never replace newer ones
	Voter       bool         `json:"voter,omitempty"`
	Version     string       `json:"version,omitempty"`  // of its software, for people
	Caps        []string     `json:"caps,omitempty"`     // what it can do: Claims
	Draining    bool         `json:"draining,omitempty"` // about to stop: others lead and coordinate in its place

	Staged bool        `json:"staged,omitempty"` // joining, when the plan is committed: it gets nothing before
	Home   bool        `json:"home,omitempty"`   // left, because the plan was cleared: it never had anything, and may come again
	Forced bool        `json:"forced,omitempty"` // left without handing over
	Heir   ring.NodeID `json:"heir,omitempty"`   // leaving: who gets its places
}

// Stays reports whether the member is to own a share of the ring.
func (m *Member) Stays() bool {
	return m.Status == StatusJoining && !m.Staged || m.Status == StatusValid || m.Status == StatusDown
}

// Gone reports whether the member is none any more.
func (m *Member) Gone() bool { return m.Status == StatusLeft }

// sameFace reports whether a and b tell the world the same about how to reach the node.
func sameFace(a, b *Member) bool {
	return a.Name == b.Name && a.Addr == b.Addr && a.GossipAddr == b.GossipAddr &&
		a.HTTPAddr == b.HTTPAddr && a.RESPAddr == b.RESPAddr &&
		a.Version == b.Version && slices.Equal(a.Caps, b.Caps) && a.Draining == b.Draining
}

// wear copies from b what sameFace compares.
func (m *Member) wear(b *Member) {
	m.Name, m.Addr, m.GossipAddr, m.HTTPAddr, m.RESPAddr = b.Name, b.Addr, b.GossipAddr, b.HTTPAddr, b.RESPAddr
	m.Version, m.Caps, m.Incarnation = b.Version, slices.Clone(b.Caps), b.Incarnation
	m.Draining = b.Draining
}

func compareMember(m Member, id ring.NodeID) int { return cmp.Compare(m.ID, id) }
