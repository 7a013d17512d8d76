package metadata

import (
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// The versions of Command. One that changes the State is in raft's log for ever, and
// each node must make of it what the others do: see the rules in docs/versions.md.
const (
	CommandVersion = 1 // of the commands that every version understands
	newestCommand  = 2 // of those that this version understands, and of State.Format
)

// The operations of a Command. They lie in raft's log: append only.
const (
	opBirth     = "birth"     // the first command of a log: the State of a cluster of one
	opJoin      = "join"      // admit a member
	opAddress   = "address"   // a member's new addresses
	opLeave     = "leave"     // a member is to hand over what it owns
	opRebalance = "rebalance" // set the target; joining members become valid
	opBegin     = "begin"     // begin transfers
	opCommit    = "commit"    // a transfer took place
	opAbort     = "abort"     // a transfer does not take place
	opSettle    = "settle"    // the target is reached
	opExit      = "exit"      // a leaving member owns nothing any more
	opLeft      = "left"      // an exiting member is out of raft
	opVoters    = "voters"    // which members vote
	opDown      = "down"      // an operator says that a member cannot be reached
	opUp        = "up"        // ... and that it can again
	opFloor     = "floor"     // tombstones below certain times are needed by nobody
	opBucket    = "bucket"    // properties of a bucket
	opLimits    = "limits"    // what transfers may take
	opUse       = "use"       // a lasting capability is in use

	opStage      = "stage"       // add a change to the plan
	opClear      = "clear"       // forget the plan
	opCommitPlan = "commit-plan" // the plan takes place
	opChange     = "change"      // a change takes place at once
)

// Command is one entry of raft's log. Each compares what it relies on, so a
// command that arrives twice, or late, changes nothing. Use the constructors.
type Command struct {
	Version int    `json:"v"`
	ReqID   string `json:"req_id,omitempty"` // applied once; Propose draws it
	Op      string `json:"op"`

	Birth   *State             `json:"birth,omitempty"`   // birth
	Member  *Member            `json:"member,omitempty"`  // join, address
	Node    ring.NodeID        `json:"node,omitempty"`    // leave, exit, left, down, up; commit: who says so
	Basis   ring.Epoch         `json:"basis,omitempty"`   // rebalance: the Roster it was computed for
	Target  [][]ring.NodeID    `json:"target,omitempty"`  // rebalance
	Begin   []Transfer         `json:"begin,omitempty"`   // begin: ID and Step
	Session string             `json:"session,omitempty"` // commit, abort
	From    ring.NodeID        `json:"from,omitempty"`    // commit, abort: compared
	To      ring.NodeID        `json:"to,omitempty"`      // commit, abort: compared
	Reason  string             `json:"reason,omitempty"`  // abort: for people
	Voters  []ring.NodeID      `json:"voters,omitempty"`  // voters
	Floors  []FloorRise        `json:"floors,omitempty"`  // floor
	Asked   []ring.NodeID      `json:"asked,omitempty"`   // floor: who has said that it keeps nothing older
	Bucket  string             `json:"bucket,omitempty"`  // bucket: its name
	Props   *wire.BucketChange `json:"props,omitempty"`   // bucket: what is to change
	Changes []Change           `json:"changes,omitempty"` // stage, change: one; stage: Member too, of a join
	Plan    string             `json:"plan,omitempty"`    // commit-plan: the hash
	Cap     string             `json:"cap,omitempty"`     // use: its name
	CapVer  int                `json:"cap_ver,omitempty"` // use: its version
	Limits  *Limits            `json:"limits,omitempty"`  // limits: what is to change, of Node or of the cluster
	Reset   bool               `json:"reset,omitempty"`   // limits: forget what was said before
	At      int64              `json:"at,omitempty"`      // begin, commit, abort: the proposer's wall clock in ms, for people only
	Records int64              `json:"records,omitempty"` // commit: what was moved, for people only
	Bytes   int64              `json:"bytes,omitempty"`   // commit
}

// Join asks to admit m. Refused for a name in use and for the id of a member that
// left; of a member it updates the addresses.
func Join(m Member) Command { return Command{Op: opJoin, Member: &m} }

// Address tells how member m.ID is reached now. Ignored if m.Incarnation is older
// than what is known.
func Address(m Member) Command { return Command{Op: opAddress, Member: &m} }

// Leave asks id to hand over what it owns and go.
func Leave(id ring.NodeID) Command { return Command{Op: opLeave, Node: id} }

// Exit says that leaving member id has handed over all that it kept for others.
// Refused while the ring gives it a slot.
func Exit(id ring.NodeID) Command { return Command{Op: opExit, Node: id} }

// Down says that member id cannot be reached: it keeps what it owns, and is not
// chosen to vote.
func Down(id ring.NodeID) Command { return Command{Op: opDown, Node: id} }

// Up undoes Down.
func Up(id ring.NodeID) Command { return Command{Op: opUp, Node: id} }

// Bucket changes properties of a bucket, whose name must be UTF-8. Refused if a number
// is more than the replicas that the cluster keeps.
func Bucket(name string, c wire.BucketChange) Command {
	return Command{Op: opBucket, Bucket: name, Props: &c}
}

// Commit says that t took place; by must be t.Driver().
func Commit(t *Transfer, by ring.NodeID) Command {
	return Command{Op: opCommit, Session: t.ID, From: t.From, To: t.To, Node: by}
}

// Abort gives t up. It fails with Conflict if t was committed before.
func Abort(t *Transfer, reason string) Command {
	return Command{Op: opAbort, Session: t.ID, From: t.From, To: t.To, Reason: reason}
}

// RaiseFloors says that all replicas of some partitions have compared since certain
// times, and that the members asked, by their own word, keep nothing older for them
// and issue no older stamps any more.
func RaiseFloors(rises []FloorRise, asked []ring.NodeID) Command {
	return Command{Op: opFloor, Floors: rises, Asked: asked}
}

// The rest is the leader's.

func birthCommand(s *State) Command         { return Command{Op: opBirth, Birth: s} }
func beginCommand(ts []Transfer) Command    { return Command{Op: opBegin, Begin: ts} }
func settleCommand() Command                { return Command{Op: opSettle} }
func leftCommand(id ring.NodeID) Command    { return Command{Op: opLeft, Node: id} }
func votersCommand(v []ring.NodeID) Command { return Command{Op: opVoters, Voters: v} }
func useCommand(name string, version int) Command {
	return Command{Op: opUse, Cap: name, CapVer: version}
}

func rebalanceCommand(basis ring.Epoch, target [][]ring.NodeID) Command {
	return Command{Op: opRebalance, Basis: basis, Target: target}
}

// version is the version of metadata from which on a node understands c. An operation
// that is not listed came with the newest; a new field of an old one must be listed too.
func (c *Command) version() int {
	switch c.Op {
	case opBirth, opJoin, opAddress, opLeave, opRebalance, opBegin, opCommit, opAbort,
		opSettle, opExit, opLeft, opVoters, opDown, opUp, opFloor, opBucket:
		return CommandVersion
	}
	return newestCommand
}

// stamped is c with its version and a request id.
func (c Command) stamped() Command {
	c.Version = c.version()
	if c.ReqID == "" {
		c.ReqID = randomHex(8)
		switch c.Op {
		case opBegin, opCommit, opAbort:
			c.At = millis(time.Now())
		}
	}
	return c
}
