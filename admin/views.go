package admin

// RingView is the answer to GET /v1/ring. Owners and Gens have one entry for each
// partition.
type RingView struct {
	ClusterID  string     `json:"cluster_id"`
	Epoch      uint64     `json:"epoch"`
	Partitions int        `json:"partitions"`
	Replicas   int        `json:"replicas"` // wanted for each partition
	Owners     [][]string `json:"owners"`   // node names in slot order; the first is the owner
	Gens       []uint64   `json:"gens"`

	Pending map[int][]string `json:"pending,omitempty"` // by partition: the list when all transfers are done, where it differs
}

// MemberView is one entry of the answer to GET /v1/members.
type MemberView struct {
	Name         string `json:"name"`
	ID           string `json:"id"`
	Status       string `json:"status"` // joining, valid, leaving, exiting, down or left
	Up           bool   `json:"up"`     // as this node sees it
	Addr         string `json:"addr"`
	HTTP         string `json:"http"`
	RESP         string `json:"resp"` // empty if it does not listen
	Zone         string `json:"zone"`
	Weight       int    `json:"weight"`
	Owned        int    `json:"owned"`         // partitions whose first slot it holds
	Slots        int    `json:"slots"`         // places in all lists
	PendingOwned int    `json:"pending_owned"` // the same when all transfers are done
	PendingSlots int    `json:"pending_slots"`
	Voter        bool   `json:"voter"`
	Leader       bool   `json:"leader"`
	Draining     bool   `json:"draining,omitempty"` // about to stop: others coordinate in its place
	Version      string `json:"version"`            // of its software, as it says

	Capabilities []string `json:"capabilities"` // what it can do, "name=newest" or "name=oldest-newest"
}

// TransfersView is the answer to GET /v1/transfers.
type TransfersView struct {
	Active  []TransferView `json:"active"`
	Waiting int            `json:"waiting"` // steps towards the target that have not begun
	Ended   []EndedView    `json:"ended"`   // newest first, a hundred at most
	Limits  LimitsView     `json:"limits"`
}

// TransferView is one transfer under way.
type TransferView struct {
	Session   string  `json:"session"`
	Kind      string  `json:"kind"` // move, swap, add, drop, hinted, exchange, repair, catch-up or clean
	Service   string  `json:"service"`
	Partition int     `json:"partition"`
	Slot      int     `json:"slot"`
	From      string  `json:"from"` // node names
	To        string  `json:"to"`
	Phase     string  `json:"phase"`
	Records   int64   `json:"records"`
	Bytes     int64   `json:"bytes"`
	Percent   float64 `json:"percent"` // 0 to 100
	BytesPerS int64   `json:"bytes_per_s"`
	ETAS      int64   `json:"eta_s"`             // seconds left; 0 if unknown
	StillS    int64   `json:"still_s,omitempty"` // seconds since anything happened with it
}

// PreflistEntry is one place of a preference list.
type PreflistEntry struct {
	Partition int    `json:"partition"`
	Index     string `json:"index"` // of the partition: a 160-bit number in decimal
	Slot      int    `json:"slot"`
	Node      string `json:"node"`          // name
	Role      string `json:"role"`          // primary or fallback
	For       string `json:"for,omitempty"` // a fallback's: the node that it stands in for
}

// The roles of a PreflistEntry.
const (
	RolePrimary  = "primary"
	RoleFallback = "fallback"
)

// JoinRequest is the body of POST /v1/cluster/join.
type JoinRequest struct {
	Seed    string `json:"seed"`    // host:port, the --addr of any member
	Commit  bool   `json:"commit"`  // at once; else staged, for the cluster's plan
	Discard bool   `json:"discard"` // join even if this node holds data, and lose it
}

// Check is one thing that readiness depends on.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"` // for people; why not, if not OK
}

// readiness is the answer to GET /readyz.
type readiness struct {
	Ready  bool    `json:"ready"`
	Node   string  `json:"node"`
	Checks []Check `json:"checks"`
}

// The types of events.
const (
	EventRing     = "ring"
	EventMember   = "member"
	EventTransfer = "transfer"
)

// Event is one thing that happened, for GET /v1/events.
type Event struct {
	Type string // EventRing, EventMember or EventTransfer
	Data any    // becomes one line of JSON; must not change after it was published
}

// Metric is one sample of a counter, a gauge or, with Steps, a histogram. Samples of one name
// have the same label names and help.
type Metric struct {
	Name    string // without the prefix ringcore_; a counter's ends in _total
	Help    string
	Counter bool // else a gauge
	Labels  map[string]string
	Value   float64

	Steps map[float64]uint64 // of a histogram: how many were at most so large
	Count uint64             // of all; Value is their sum
}
