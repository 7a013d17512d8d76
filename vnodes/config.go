package vnodes

import (
	"context"
	"log/slog"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Rings tells which ring is in force.
type Rings interface {
	Ring() *ring.Ring
	// Changed is closed when something newer than at the time of the call is in force.
	Changed() <-chan struct{}
	// Fetch makes the ring at least epoch, asking from first if it is not empty.
	Fetch(ctx context.Context, epoch ring.Epoch, from ring.NodeID) error
}

// Session is an open transfer: one step of the ring, under way.
type Session struct {
	ID string `json:"id"`
	ring.Step
	Gen     ring.Gen `json:"gen"`               // of the partition since the transfer began
	Service string   `json:"service,omitempty"` // of hints: the only one that it concerns
}

// Transfers is the committed record of transfers.
type Transfers interface {
	// Sessions are the open ones, as of the ring in force.
	Sessions() []Session
	// Outcome says how a session that is not open has ended; known is false if that is not recorded.
	Outcome(id string) (committed, known bool)
	// Commit ends s as done. A nil error means that it is committed and known here; any other
	// tells nothing about whether it was.
	Commit(ctx context.Context, s Session) error
	// Abort asks for the end of s without effect; reason is for people.
	Abort(ctx context.Context, s Session, reason string) error
	// LeaderContact is the time since a leader was last heard of.
	LeaderContact() time.Duration
	// Others are the other members, up or not, that may hold hints for this node.
	Others() []ring.NodeID
	// Keepers are the other members that stay, up or not: they may keep hints for others.
	Keepers() []ring.NodeID
	// Alone reports whether this node is surely the only member, as of now.
	Alone() bool
	// Leaving reports whether this node is on its way out of the cluster.
	Leaving() bool
}

// Stream is a conversation with another node, on a connection of its own.
type Stream interface {
	ReadFrame() (wire.Frame, error)
	WriteFrame(h *wire.Header, body []byte) error
	Flush() error
	SetDeadline(t time.Time) error
	Close() error
}

// Dialer opens streams to other nodes.
type Dialer interface {
	Dial(ctx context.Context, node ring.NodeID) (Stream, error)
}

// Config says how a Manager runs. Only Logger, Now and the tuning may be zero.
type Config struct {
	ClusterID string
	Node      ring.NodeID
	Dir       string // folder of the vnodes' files; unused with Memory
	Memory    bool   // records live in memory only
	Fresh     bool   // the node has just been born or joined: it is right that it has no files yet
	Services  []Service
	Rings     Rings
	Transfers Transfers
	Floors    Floors // none ever rises if nil
	Dialer    Dialer
	Up        func(ring.NodeID) bool
	UpChanged func() <-chan struct{} // closed when Up next says something else; nil if nobody tells
	Logger    *slog.Logger           // slog.Default() if nil
	Now       func() time.Time       // time.Now if nil: the wall clock
	Cork      Cork                   // what answers are written with; none if nil
	Actor     func(id uint64) uint64 // what Tx.Actor says of a copy; as it is if nil. For tests that compare nodes

	DiskLow      Mark // free room below which partitions do not move here; see DiskOptions
	DiskCritical Mark // free room below which writes are refused

	Capability func(name string) int // what Tx.Capability says; always 0 if nil

	AcceptLoss bool  // slots with one replica do without hints that cannot be had
	HintBytes  int64 // of hints that the node sends in a second; 64 MiB if zero

	// Rates are the bytes of transfers that the node may receive and send in a second now;
	// less than 1 for as many as it can. Nil for no limit.
	Rates func() (in, out int64)

	StallTime   time.Duration // after which attempts that bring nothing end their session; 1 min if zero
	SealTimeout time.Duration // how long a seal waits for READY; 2 s if zero
	ChunkBytes  int           // of a handoff chunk; 128 KiB if zero
	SettleTime  time.Duration // after which no request is under way that a slot has answered; 5 s if zero
	ScrubBytes  int64         // that the scrub of the files reads in a second; 16 MiB if zero

	CompareEvery   time.Duration // between two comparisons of all replicas; 10 min if zero, none at all if negative
	CompareBytes   int64         // that comparisons send and receive in a second; 16 MiB if zero
	FloorAge       time.Duration // how far behind the clock floors stay, besides the clocks' bound; 1 min if zero
	RepairPatience time.Duration // how long a repair on request waits for one partition whose replicas cannot be compared; 30 s if zero

	Tracer wire.Tracer // is told of handoffs; nil if nobody is

	Failpoint func(wire.Failpoint) error // of a test; see there
	files     fileSystem                 // of tests; the operating system's if nil
}

// withDefaults fills in what the Config leaves open, and makes what follows from it.
func (m *Manager) withDefaults() {
	if m.log == nil {
		m.log = slog.Default()
	}
	if m.now == nil {
		m.now = time.Now
	}
	m.cfg.SealTimeout = defaulted(m.cfg.SealTimeout, 2*time.Second)
	m.cfg.StallTime = defaulted(m.cfg.StallTime, time.Minute)
	m.cfg.ChunkBytes = defaulted(m.cfg.ChunkBytes, 128<<10)
	if m.cfg.Rates == nil {
		m.cfg.Rates = func() (in, out int64) { return 0, 0 }
	}
	m.inRate = &throttle{limit: func() int64 { in, _ := m.cfg.Rates(); return in }}
	m.outRate = &throttle{limit: func() int64 { _, out := m.cfg.Rates(); return out }}
	m.hintRate = &rate{perSecond: defaulted(m.cfg.HintBytes, 64<<20)}
	m.cfg.SettleTime = defaulted(m.cfg.SettleTime, 5*time.Second)
	m.cfg.CompareEvery = defaulted(m.cfg.CompareEvery, 10*time.Minute)
	m.cfg.FloorAge = defaulted(m.cfg.FloorAge, time.Minute)
	m.cfg.RepairPatience = defaulted(m.cfg.RepairPatience, 30*time.Second)
	m.compares = newCompares(defaulted(m.cfg.CompareBytes, 16<<20))
	if m.floors == nil {
		m.floors = noFloors{}
	}
}

func defaulted[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Cork gathers what a node has to say while somebody works through a batch of requests.
// All methods may be called from any goroutine, and none blocks.
type Cork interface {
	// Hold has what is said written only at Release.
	Hold()
	Release()
	// Keep has wake called when all batches under way have come to an end, or soon; false
	// if there is none.
	Keep(wake func()) bool
}
