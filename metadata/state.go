package metadata

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// State is all that raft has committed up to one epoch. Nobody changes a State or
// anything that it points to; step makes a new one that shares what stayed.
type State struct {
	Format    int        `json:"format"`               // the newest version of a Command that went into it
	ClusterID string     `json:"cluster_id"`           // 32 hexadecimal digits
	GossipKey []byte     `json:"gossip_key,omitempty"` // 32 bytes; clients do not get it
	Epoch     ring.Epoch `json:"epoch"`                // +1 for each command that changed anything; Ring.Epoch is the same
	Ring      *ring.Ring `json:"ring"`
	Members   []Member   `json:"members"` // sorted by ID

	// Roster is the epoch at which it last changed who should own a share; Planned
	// is the Roster that Target was computed for. They differ while a plan is due.
	Roster  ring.Epoch `json:"roster"`
	Planned ring.Epoch `json:"planned"`

	Plan     []Change `json:"plan,omitempty"`     // staged, in order; nothing of it has taken place
	Replicas int      `json:"replicas,omitempty"` // wanted for each partition, while they are fewer than Ring.N; else 0

	Buckets map[string]wire.BucketProps `json:"buckets,omitempty"` // those with properties of their own

	Target     [][]ring.NodeID        `json:"target,omitempty"`      // the lists wanted, by partition; nil when reached
	Transfers  []Transfer             `json:"transfers,omitempty"`   // open ones, sorted by partition, at most one each
	Ended      []Ended                `json:"ended,omitempty"`       // newest last, at most endedKept(Q)
	Limits     *Limits                `json:"limits,omitempty"`      // of transfers; nil while nobody has set any
	NodeLimits map[ring.NodeID]Limits `json:"node_limits,omitempty"` // ... of nodes that have their own
	Floors     []Floor                `json:"floors,omitempty"`      // by partition; nil while none has risen
	Recoveries []Recovery             `json:"recoveries,omitempty"`  // oldest first; their number is the generation of Epoch
	Used       map[string]int         `json:"used,omitempty"`        // lasting capabilities in use, by name: their versions

	Recent []string `json:"recent,omitempty"` // ids of applied requests, newest last; only in raft's snapshots
}

// Transfer is one step of one partition's list between its begin and its end.
type Transfer struct {
	ID string `json:"id"` // the session
	ring.Step
	Gen   ring.Gen   `json:"gen"`             // of the partition, right after the begin
	Begun ring.Epoch `json:"begun"`           // the epoch that began it
	Since int64      `json:"since,omitempty"` // by the leader's wall clock, in ms: for people
}

// Driver is the node that works the transfer and alone may commit it: the source,
// except for an add, which has no single one.
func (t *Transfer) Driver() ring.NodeID {
	if t.Kind == ring.StepAdd {
		return t.To
	}
	return t.From
}

// Ended is what became of a transfer.
type Ended struct {
	ID string `json:"id"`
	ring.Step
	Committed bool       `json:"committed,omitempty"`
	Reason    string     `json:"reason,omitempty"` // of an abort
	Epoch     ring.Epoch `json:"epoch"`            // that ended it
	Since     int64      `json:"since,omitempty"`  // when it was begun and ended, by wall clocks, in ms: for people
	Until     int64      `json:"until,omitempty"`
	Records   int64      `json:"records,omitempty"` // that its driver has moved, of a commit
	Bytes     int64      `json:"bytes,omitempty"`
}

// recentKept bounds State.Recent.
const recentKept = 1024

// endedKept bounds State.Ended for a ring of q partitions.
func endedKept(q int) int { return max(256, 4*q) }

// Member is the member with that id, also one that has left.
func (s *State) Member(id ring.NodeID) (Member, bool) {
	i, ok := slices.BinarySearchFunc(s.Members, id, compareMember)
	if !ok {
		return Member{}, false
	}
	return s.Members[i], true
}

// MemberByName is the member of that name: the one that has not left, if any.
func (s *State) MemberByName(name string) (Member, bool) {
	var found Member
	ok := false
	for i := range s.Members {
		m := &s.Members[i]
		if m.Name == name && (!ok || !m.Gone()) {
			found, ok = *m, true
		}
	}
	return found, ok
}

// Transfer is the open transfer of p.
func (s *State) Transfer(p ring.Partition) (Transfer, bool) {
	i, ok := slices.BinarySearchFunc(s.Transfers, p, comparePartition)
	if !ok {
		return Transfer{}, false
	}
	return s.Transfers[i], true
}

// Outcome says how a session ended. known is false while it is open, and when it
// ended so long ago that State no longer remembers it.
func (s *State) Outcome(session string) (committed, known bool) {
	for _, e := range slices.Backward(s.Ended) {
		if e.ID == session {
			return e.Committed, true
		}
	}
	return false, false
}

// Settled reports whether nothing is moving and nothing is to move.
func (s *State) Settled() bool {
	return s.Target == nil && len(s.Transfers) == 0 && s.Planned == s.Roster
}

// Holds counts the slots that the ring gives to id.
func (s *State) Holds(id ring.NodeID) int {
	n := 0
	for p := range s.Ring.Assignments {
		if s.Ring.Place(ring.Partition(p), id) >= 0 {
			n++
		}
	}
	return n
}

func comparePartition(t Transfer, p ring.Partition) int { return cmp.Compare(t.Partition, p) }

// open is the index in Transfers of a session, -1 if it is not open.
func (s *State) open(session string) int {
	return slices.IndexFunc(s.Transfers, func(t Transfer) bool { return t.ID == session })
}

// Encode is the State as it travels between nodes and lies in state.json: JSON
// without Recent, which concerns only raft's own snapshots.
func (s *State) Encode() ([]byte, error) {
	c := *s
	c.Recent = nil
	return json.Marshal(&c)
}

// encodePublic is Encode without what clients must not see.
func (s *State) encodePublic() ([]byte, error) {
	c := *s
	c.GossipKey = nil
	return c.Encode()
}

// Decode reads an encoded State and checks that it is whole.
func Decode(b []byte) (*State, error) {
	s := new(State)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("decode state: %w", err)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("decode state: %w", err)
	}
	return s, nil
}

// ErrNewer reports metadata that a newer version has written, which this one does not
// understand.
var ErrNewer = errors.New("made by a newer version")

// check reports what makes s unfit to be served from.
func (s *State) check() error {
	switch {
	case s.Format > newestCommand:
		return fmt.Errorf("%w: it is of format %d, this one knows %d: start the newer version", ErrNewer, s.Format, newestCommand)
	case s.Format < CommandVersion:
		return fmt.Errorf("format %d, this version knows %d to %d", s.Format, CommandVersion, newestCommand)
	case s.ClusterID == "":
		return fmt.Errorf("no cluster id")
	case len(s.GossipKey) != gossipKeySize:
		return fmt.Errorf("gossip key of %d bytes, want %d", len(s.GossipKey), gossipKeySize)
	case s.Ring == nil || !ring.ValidPartitions(s.Ring.Q()):
		return fmt.Errorf("no valid ring")
	case s.Ring.Epoch != s.Epoch:
		return fmt.Errorf("ring of epoch %d in a state of epoch %d", s.Ring.Epoch, s.Epoch)
	case s.Epoch.Generation() != uint64(len(s.Recoveries)):
		return fmt.Errorf("epoch %d is of generation %d, and there were %d recoveries", s.Epoch, s.Epoch.Generation(), len(s.Recoveries))
	case len(s.Members) == 0:
		return fmt.Errorf("no members")
	case !slices.IsSortedFunc(s.Members, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) }):
		return fmt.Errorf("members are not sorted")
	case !slices.IsSortedFunc(s.Transfers, func(a, b Transfer) int { return cmp.Compare(a.Partition, b.Partition) }):
		return fmt.Errorf("transfers are not sorted")
	case s.Floors != nil && len(s.Floors) != s.Ring.Q():
		return fmt.Errorf("floors of %d partitions, ring of %d", len(s.Floors), s.Ring.Q())
	case s.Target != nil && len(s.Target) != s.Ring.Q():
		return fmt.Errorf("target of %d partitions, ring of %d", len(s.Target), s.Ring.Q())
	}
	return nil
}
