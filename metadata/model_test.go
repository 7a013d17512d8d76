package metadata

import (
	"fmt"

	"github.com/ringcore/ringcore/metadata/ring"
)

// The model of one partition with one replica that moves between two nodes while two
// clients write and read its only key. The third node leads raft: what it decides, and
// the answers of its that get lost, are choices of the explorer. The state machine is
// the real step; sender, receiver and gate are those of vnodes (driver, sender,
// receiver, install, cleaner, gate), reduced to what they make durable, what they
// answer, and in which order. What a node does up to the next moment at which others may
// see it, or a crash tell the difference, is one transition.
//
// A record is its stamp alone: the n-th write. So the histories of both clients are
// linearizable if no operation shows a stamp below what one that had ended before it
// began has shown; of all begins the latest counts most, so that a read is one transition.

// modelPhase is that of a gate; see vnodes/gate.go.
type modelPhase uint8

const (
	mServing modelPhase = iota
	mSealed
	mProposed
	mGone
	mLost
)

// modelStage is how far the source's attempt has come; see vnodes/sender.go.
type modelStage uint8

const (
	mIdle   modelStage = iota
	mOpened            // the target has an empty staging file
	mFolded            // what was durable has been sent
	mHeld              // sealed
	mEnded             // the last tail and the end are sent
	mAsking            // the leader is asked, until the outcome is known
	modelStages
)

// modelNode is a node of the model. A record is 1 + its stamp; 0 is no file.
type modelNode struct {
	up   bool
	view uint8 // State that it knows; of one that is down, when it died

	// durable
	acted  uint8 // newest epoch that it has acted on
	file   uint8
	staged uint8
	ready  uint8 // session of which it has noted that all of it is here; 0 is none
	notes  uint8 // sessions that it has proposed, as bits
	wanted bool  // it must have a file
	rotten bool  // what is staged cannot be read any more

	// volatile
	in       bool // its view is in force
	gate     modelPhase
	mem      uint8 // newest record, durable or not
	stage    modelStage
	session  uint8 // of stage
	tail     bool
	proposal uint8 // session whose outcome it must find out; 0 is none
	lost     bool  // its slot came without verified data
}

// modelFrame is a frame on the stream from the source to the target: mChunk or mEnd
// with a record, the end's being the digest of all. 0 is none.
type modelFrame uint8

const (
	mChunk modelFrame = 0x10
	mEnd   modelFrame = 0x20
)

// modelClient is a client: one operation at a time, without end.
type modelClient struct {
	stamp  uint8 // of the write under way; 0 is none
	at     uint8 // the node that has it
	synced bool
}

// modelState is everything; comparable, so that a state is met once. See canonical for
// those that count as one.
type modelState struct {
	raft    uint8 // index of the committed State
	n       [2]modelNode
	pipe    [3]modelFrame // from the source, oldest first
	ready   bool          // READY is on its way back
	broken  bool          // the stream is, and the source has not noticed
	clients [2]modelClient
	shown   uint8 // the newest stamp that an ended operation has shown
	sent    uint8 // sessions whose commit may arrive at the leader at any time, as bits
	begun   uint8 // sessions
	turned  bool  // the slot is wanted back where it came from
	aborts  uint8 // left
	crashes uint8 // left
	rots    uint8 // left
}

// mutant is what a wrong protocol would do.
type mutant int

const (
	faithful mutant = iota
	noSeal
	proposeBeforeReady
	dropBeforeConfirmed
	unsealAfterProposed
	serveWhenReady
	forgetProposal
	forgetEpoch
	forgetReady
	ackBeforeSync
	noTailNoDigest
	keepOldArrival
	mutants
)

func (m mutant) String() string {
	return [...]string{
		"faithful", "the source does not seal", "proposes before READY", "drops its copy before the target confirms", "unseals by itself after it has proposed",
		"the target serves when it is ready", "a restarted source forgets that it has proposed", "a restarted node installs an older ring than it has acted on",
		"the target forgets that it is ready", "acknowledges before the sync", "no tail, and no digest that would show it",
		"the target keeps what an aborted session has brought",
	}[m]
}

// modelRaft interns the States that commands lead to.
type modelRaft struct {
	states []*State
	parent []uint8
	known  map[raftStep]uint8
}

type raftStep struct {
	from    uint8
	op      string
	session uint8
}

// apply is the State after a command about a session; from itself if it changes nothing.
func (r *modelRaft) apply(from uint8, op string, session uint8) uint8 {
	key := raftStep{from, op, session}
	if to, ok := r.known[key]; ok {
		return to
	}
	s := r.states[from]
	next := s
	for _, c := range r.commands(s, op, session) {
		if after, err := step(next, &c); err == nil {
			next = after
		}
	}
	to := from
	if next != s {
		to = uint8(len(r.states))
		r.states, r.parent = append(r.states, next), append(r.parent, from)
	}
	r.known[key] = to
	return to
}

// opTurn has the slot go back: its new owner is to leave.
const opTurn = "turn"

func (r *modelRaft) commands(s *State, op string, session uint8) []Command {
	switch op {
	case opBegin:
		if next, more := s.nextStep(0); more {
			return []Command{beginCommand([]Transfer{{ID: modelSession(session), Step: next}})}
		}
		return nil
	case opTurn:
		back := s.Ring.Lists()
		back[0] = []ring.NodeID{nodeID("a")}
		return []Command{Leave(nodeID("b")), rebalanceCommand(s.Epoch+1, back)}
	}
	t, _ := s.Transfer(0)
	if op == opCommit {
		return []Command{Commit(&t, t.Driver())}
	}
	return []Command{Abort(&t, "the explorer's choice")}
}

// epoch is that of a State.
func (r *modelRaft) epoch(state uint8) uint8 { return uint8(r.states[state].Epoch) }

func modelSession(n uint8) string { return fmt.Sprint("s", n) }

// newModelRaft is a cluster of three nodes whose partition 0 is to move from the first to the second.
func newModelRaft() *modelRaft {
	birth := birthCommand(Birth(testMember("a"), ring.MinPartitions, 1))
	s, err := step(nil, &birth)
	do := func(c Command) {
		if err == nil {
			s, err = step(s, &c)
		}
	}
	do(Join(testMember("b")))
	do(Join(testMember("c")))
	target := s.Ring.Lists()
	target[0] = []ring.NodeID{nodeID("b")}
	do(rebalanceCommand(s.Roster, target))
	if err != nil {
		panic(err)
	}
	return &modelRaft{states: []*State{s}, parent: []uint8{0}, known: map[raftStep]uint8{}}
}

// after is the State that follows view on the way to now.
func (r *modelRaft) after(view, now uint8) uint8 {
	for r.parent[now] != view {
		now = r.parent[now]
	}
	return now
}

func modelNodeID(i int) ring.NodeID { return nodeID(string(rune('a' + i))) }

// owns reports whether node i has the slot by a State.
func (r *modelRaft) owns(state uint8, i int) bool {
	return r.states[state].Ring.Place(0, modelNodeID(i)) == 0
}

// open is the open session that node i drives by a State; 0 is none.
func (r *modelRaft) open(state uint8, i int) uint8 {
	t, ok := r.states[state].Transfer(0)
	if !ok || i >= 0 && t.Driver() != modelNodeID(i) {
		return 0
	}
	return t.ID[1] - '0'
}

// gen is the partition's when a session began, by a State that knows it.
func (r *modelRaft) gen(state, session uint8) ring.Gen {
	for ; state > 0; state = r.parent[state] {
		if t, ok := r.states[state].Transfer(0); ok && t.ID == modelSession(session) {
			return t.Gen
		}
	}
	return 0
}

// over is vnodes' Manager.ended: how a session has ended for all that a State says.
func (r *modelRaft) over(state, session uint8, source int) (committed, over bool) {
	s := r.states[state]
	if r.open(state, -1) == session {
		return false, false
	}
	if committed, known := s.Outcome(modelSession(session)); known {
		return committed, true
	}
	return !r.owns(state, source), true // forgotten, or not heard of yet
}
