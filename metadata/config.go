package metadata

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Config says how a Store runs. Dir, Self, Listener, Dial and Caller are required.
type Config struct {
	Dir       string // the cluster's folder: raft/ and state.json lie in it; made if missing
	ClusterID string // checked against what is found; "" for any
	Self      Member // this node: id, name, addresses, incarnation

	Capabilities []Capability // of this node, besides Metadata; Self.Caps has their Claims

	// Listener brings raft's connections from other members; the Store closes it.
	Listener net.Listener
	// Dial opens a raft connection to a member and verifies whom it has reached.
	Dial   func(ctx context.Context, node ring.NodeID) (net.Conn, error)
	Caller Caller
	Up     func(ring.NodeID) bool // whether a node can probably be reached; all can if nil

	// VoterPatience is for how long a voter may be silent before another member votes in
	// its place, if one can and the other voters are a majority: 30 s if zero, for ever
	// if negative. It stays a member, and keeps what it owns.
	VoterPatience time.Duration
	Timing        Timing       // LAN if zero
	Logger        *slog.Logger // slog.Default() if nil

	Failpoint func(wire.Failpoint) error // of a test; see there

	disk func(raftDisk) raftDisk // for tests: one that hangs; nil for none
}

// raftDisk is where raft keeps its log, its term and its vote: one file.
type raftDisk interface {
	raft.LogStore
	raft.StableStore
}

// wrapDisk is the disk that raft gets.
func (c *Config) wrapDisk(l raftDisk) raftDisk {
	if c.disk == nil {
		return l
	}
	return c.disk(l)
}

// Caller carries requests to other nodes. Any goroutine calls it.
type Caller interface {
	// Call sends one request and waits for its reply, until ctx ends. What the other
	// node answered as an error is a *wire.Error; any other error means that the
	// answer is unknown. epoch goes into the header.
	Call(ctx context.Context, node ring.NodeID, op wire.Op, epoch uint64, body []byte) (reply []byte, err error)
}

// Timing is a profile of waits.
type Timing uint8

// The profiles.
const (
	LAN  Timing = iota // nodes on machines of one network
	Fast               // nodes of one process or machine: tests, dev clusters
)

// waits are the durations of a profile.
type waits struct {
	heartbeat time.Duration // without word from the leader until a voter stands for election
	lease     time.Duration // a leader without a quorum steps down
	commit    time.Duration // a follower learns of a commit at the latest
	rpc       time.Duration // for one answer of another node
	hold      time.Duration // a watch is answered at the latest; bounds the age of LeaderContact outside raft
	tick      time.Duration // the leader looks at the world at the latest
	hung      time.Duration // a leader whose log is not written for so long gives up leadership
	stalled   time.Duration // a transfer that needs a node which is not up is given up
	snapshot  time.Duration // between raft's looks whether to snapshot
}

func (t Timing) waits() waits {
	if t == Fast {
		return waits{
			heartbeat: time.Second, lease: 700 * time.Millisecond, commit: 5 * time.Millisecond,
			rpc: 2 * time.Second, hold: 100 * time.Millisecond, tick: 50 * time.Millisecond,
			stalled: 3 * time.Second, hung: 2 * time.Second, snapshot: 20 * time.Second,
		}
	}
	return waits{
		heartbeat: time.Second, lease: 500 * time.Millisecond, commit: 20 * time.Millisecond,
		rpc: 5 * time.Second, hold: 150 * time.Millisecond, tick: 100 * time.Millisecond,
		stalled: 10 * time.Second, hung: 3 * time.Second, snapshot: 2 * time.Minute,
	}
}

// withDefaults fills in what zero stands for.
func (c Config) withDefaults() Config {
	if c.Up == nil {
		c.Up = func(ring.NodeID) bool { return true }
	}
	if c.VoterPatience == 0 {
		c.VoterPatience = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}
