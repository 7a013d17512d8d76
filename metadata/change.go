package metadata

import (
	"fmt"

	"github.com/ringcore/ringcore/metadata/ring"
)

// ChangeKind says what a Change changes.
type ChangeKind string

// The kinds of changes. They lie in raft's log: append only.
const (
	ChangeJoin         ChangeKind = "join"          // Node, which is staged, gets a share
	ChangeLeave        ChangeKind = "leave"         // Node hands over what it owns, and goes
	ChangeReplace      ChangeKind = "replace"       // New gets the very places of Node, which hands them over and goes
	ChangeForceRemove  ChangeKind = "force-remove"  // Node, which is stopped for good, goes without handing over
	ChangeForceReplace ChangeKind = "force-replace" // likewise, and New gets its places
	ChangeDown         ChangeKind = "down"          // Node cannot be reached
	ChangeWeight       ChangeKind = "weight"        // Node's is Number
	ChangeZone         ChangeKind = "zone"          // Node's is Zone
	ChangeReplicas     ChangeKind = "replicas"      // the cluster keeps Number of each partition
)

// Change is one change of who should own what.
type Change struct {
	Kind   ChangeKind  `json:"kind"`
	Node   ring.NodeID `json:"node,omitempty"` // the one that it is about; that goes, of a replacement
	New    ring.NodeID `json:"new,omitempty"`  // of a replacement
	Number int         `json:"number,omitempty"`
	Zone   string      `json:"zone,omitempty"`
	// Stopped is the operator's word that Node is stopped and will not be started again:
	// force-remove and force-replace need it, as a node that runs on serves what it has.
	Stopped bool `json:"stopped,omitempty"`
}

// String is c in words, with ids.
func (c *Change) String() string { return c.Words(func(id ring.NodeID) string { return string(id) }) }

// Words is c in words; name tells a node's name.
func (c *Change) Words(name func(ring.NodeID) string) string {
	switch c.Kind {
	case ChangeReplace, ChangeForceReplace:
		return fmt.Sprintf("%s %s by %s", c.Kind, name(c.Node), name(c.New))
	case ChangeWeight:
		return fmt.Sprintf("weight of %s: %d", name(c.Node), c.Number)
	case ChangeZone:
		return fmt.Sprintf("zone of %s: %q", name(c.Node), c.Zone)
	case ChangeReplicas:
		return fmt.Sprintf("replicas: %d", c.Number)
	}
	return fmt.Sprintf("%s %s", c.Kind, name(c.Node))
}

// sameSubject reports whether a later c takes the place of o in a plan.
func (c *Change) sameSubject(o *Change) bool {
	if c.Kind != o.Kind || c.Node != o.Node {
		return false
	}
	return c.Kind == ChangeWeight || c.Kind == ChangeZone || c.Kind == ChangeReplicas
}

// Forces reports whether a member goes by c without handing over.
func (c *Change) Forces() bool { return c.Kind == ChangeForceRemove || c.Kind == ChangeForceReplace }

// Stage adds c to the staged plan, of which nothing takes place before CommitPlan. It is
// Refused if c does not fit the State as the staged changes before it would make it.
// Staging the same twice changes nothing.
func Stage(c Change) Command { return Command{Op: opStage, Changes: []Change{c}} }

// StageJoin admits m as a member that gets nothing before its join is committed; when the
// plan is cleared it is none any more, and may come again.
func StageJoin(m Member) Command {
	return Command{Op: opStage, Member: &m, Changes: []Change{{Kind: ChangeJoin, Node: m.ID}}}
}

// Make has c take place at once. What is staged stays staged.
func Make(c Change) Command { return Command{Op: opChange, Changes: []Change{c}} }

// ClearPlan forgets what is staged.
func ClearPlan() Command { return Command{Op: opClear} }

// CommitPlan has the staged plan take place, all of it or nothing. hash is State.PlanHash
// of the State that its reader saw: it is a Conflict if what that covers has changed.
func CommitPlan(hash string) Command { return Command{Op: opCommitPlan, Plan: hash} }
