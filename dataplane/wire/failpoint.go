package wire

import "slices"

// Failpoint names a moment of a transfer at which a test may have a node fail. The
// code that passes it calls the Failpoint hook of its Config (vnodes.Config,
// metadata.Config, ringcore.Config), which is nil outside of tests:
//
//	cfg.Failpoint = func(p wire.Failpoint) error { … }
//
// The hook runs on the goroutine that carries the step out, with no lock that
// serves requests held, and may block. An error that it returns ends the step as a
// failure of disk or network there would: the attempt breaks off and is made again. At
// the points of the FSM, which cannot fail, the error is ignored; at target-activating,
// target-renamed and target-activated the slot answers nothing until the node has been
// started again, as after a disk that fails there. A hook that wants a
// crash ends the process, or in a simulated world marks the node as dead and returns an
// error.
//
// In a process the environment variable RINGCORE_FAILPOINT, together with
// RINGCORE_TEST=1, sets the hook:
//
//	RINGCORE_FAILPOINT="source-proposed=kill,target-stored=error@3,fsm-commit=sleep:2s"
//	RINGCORE_FAILPOINT="file:PATH"    the same text, read again from PATH at each pass
//
// POINT=ACTION@N acts once, the N-th time (1 if left out) that the point is passed; with
// @every each time. Actions: kill (SIGKILL), stop (SIGSTOP), error, sleep:DURATION.
//
// The points lie in this order, a step's name being that of what has just been done:
//
//	source                     target                     leader, FSM
//	                                                      leader-begin fsm-begin fsm-begun
//	source-begun
//	                           target-asked
//	                           target-opened
//	source-opened
//	source-chunk …             target-chunk target-stored …
//	source-folded
//	source-tail …
//	source-sealed
//	source-ended               target-end
//	                           target-verified
//	                           target-ready
//	source-ready
//	source-proposing
//	source-proposed                                       fsm-commit fsm-committed
//	source-committed           target-activating          (or leader-abort fsm-abort fsm-aborted,
//	source-concluded           target-renamed              then source-aborted source-concluded)
//	source-confirmed           target-activated
//	source-dropped             target-confirming
type Failpoint string

// The source of a move, a swap or a drop.
const (
	SourceBegun     Failpoint = "source-begun"     // it has seen the session, and is about to ask the targets
	SourceOpened    Failpoint = "source-opened"    // all targets are ready to take records
	SourceChunk     Failpoint = "source-chunk"     // a chunk, of the fold or of the tail, is about to be sent
	SourceFolded    Failpoint = "source-folded"    // all that was there has been sent
	SourceTail      Failpoint = "source-tail"      // a round of what has changed since has been sent
	SourceSealed    Failpoint = "source-sealed"    // the gates hold requests; nothing has been sent since
	SourceEnded     Failpoint = "source-ended"     // the last tail is sent, the end is about to be
	SourceReady     Failpoint = "source-ready"     // every target holds all, verified
	SourceProposing Failpoint = "source-proposing" // the gates are proposed; the note is not durable
	SourceProposed  Failpoint = "source-proposed"  // the note is durable; the leader has not been asked
	SourceCommitted Failpoint = "source-committed" // it knows that the session was committed; gates still proposed
	SourceAborted   Failpoint = "source-aborted"   // it knows that the session was aborted; gates still proposed
	SourceConcluded Failpoint = "source-concluded" // the gates are open or closed for good
	SourceConfirmed Failpoint = "source-confirmed" // those who have the slot now have confirmed; the files are still there
	SourceDropped   Failpoint = "source-dropped"   // the files are gone; the notes of the session are still there
	SourceGivingUp  Failpoint = "source-giving-up" // attempts bring nothing; it is about to ask for the session's end
)

// The target of a move, a swap or a drop.
const (
	TargetAsked      Failpoint = "target-asked"      // a source has opened a stream; nothing has been looked at
	TargetOpened     Failpoint = "target-opened"     // what an earlier session has left is gone; not answered
	TargetChunk      Failpoint = "target-chunk"      // a chunk has come; nothing of it is written
	TargetStored     Failpoint = "target-stored"     // the chunk is durable; not acknowledged
	TargetEnd        Failpoint = "target-end"        // the end has come; nothing is verified
	TargetVerified   Failpoint = "target-verified"   // the copy equals the source's; the note is not durable
	TargetReady      Failpoint = "target-ready"      // the note is durable; the source does not know
	TargetActivating Failpoint = "target-activating" // the ring gives it the slot; the file is still staged
	TargetRenamed    Failpoint = "target-renamed"    // the file is the slot's; the note is still there
	TargetActivated  Failpoint = "target-activated"  // the note is gone; the gate is not open yet
	TargetConfirming Failpoint = "target-confirming" // it is asked whether it serves the slot
)

// The filling of an added slot: the newcomer, and the replicas that it asks.
const (
	FillBegun  Failpoint = "fill-begun"  // it has seen the session, and is about to ask the replicas
	FillChunk  Failpoint = "fill-chunk"  // a chunk has come; nothing of it is written
	FillStored Failpoint = "fill-stored" // the chunk is durable
	FillDone   Failpoint = "fill-done"   // every replica has given all; the leader has not been asked
	PullAsked  Failpoint = "pull-asked"  // a replica is asked for its records; it may not know the gen yet
	PullChunk  Failpoint = "pull-chunk"  // a replica is about to send a chunk
)

// The rebuilding of a damaged slot.
const (
	RepairNoted    Failpoint = "repair-noted"    // it is noted that the file goes aside
	RepairAside    Failpoint = "repair-aside"    // the file is out of the way
	RepairUnmarked Failpoint = "repair-unmarked" // the slot has no file
	RepairFilling  Failpoint = "repair-filling"  // it is noted that the slot is being filled
	RepairSalvaged Failpoint = "repair-salvaged" // what can be read of the old file is in the new one
	RepairWhole    Failpoint = "repair-whole"    // all replicas have given theirs
	RepairEnded    Failpoint = "repair-ended"    // the note is gone
)

// The leader and the state machine. Those of the FSM are passed on every node in raft,
// also when a restarted one reads the log again.
const (
	LeaderBegin  Failpoint = "leader-begin"  // it is about to propose the begin of transfers
	LeaderAbort  Failpoint = "leader-abort"  // it is about to propose the abort of one
	FSMBegin     Failpoint = "fsm-begin"     // a begin is in raft's log; not applied
	FSMBegun     Failpoint = "fsm-begun"     // it is applied and visible on this node; not answered
	FSMCommit    Failpoint = "fsm-commit"    // the same of a commit
	FSMCommitted Failpoint = "fsm-committed" //
	FSMAbort     Failpoint = "fsm-abort"     // and of an abort
	FSMAborted   Failpoint = "fsm-aborted"   //
)

// Failpoints lists them all, in the order above.
func Failpoints() []Failpoint {
	return []Failpoint{
		SourceBegun, SourceOpened, SourceChunk, SourceFolded, SourceTail, SourceSealed, SourceEnded, SourceReady,
		SourceProposing, SourceProposed, SourceCommitted, SourceAborted, SourceConcluded, SourceConfirmed, SourceDropped, SourceGivingUp,
		TargetAsked, TargetOpened, TargetChunk, TargetStored, TargetEnd, TargetVerified, TargetReady,
		TargetActivating, TargetRenamed, TargetActivated, TargetConfirming,
		FillBegun, FillChunk, FillStored, FillDone, PullAsked, PullChunk,
		RepairNoted, RepairAside, RepairUnmarked, RepairFilling, RepairSalvaged, RepairWhole, RepairEnded,
		LeaderBegin, LeaderAbort, FSMBegin, FSMBegun, FSMCommit, FSMCommitted, FSMAbort, FSMAborted,
	}
}

// Known reports whether p is one of Failpoints.
func (p Failpoint) Known() bool { return slices.Contains(Failpoints(), p) }
