package vnodes

import (
	"github.com/ringcore/ringcore/metadata/ring"
)

// A handoff stream: the sender's frames, and the receiver's answer to each, in
// order, with the frame's id.
//
//	sender                                  receiver
//	request OpHandoff  handoffOpen (JSON)   OK, or why not
//	chunk   OpHandoff  writes of a service  OK when they are durable
//	…
//	request OpHandoff  handoffEnd (JSON), FlagLast
//	                                        OK (READY) when all is verified and noted durably
//
// Up to pipeWindow frames are unanswered at a time.

// handoffMode says what the receiver does with the records.
type handoffMode string

const (
	modeStage handoffMode = "stage" // into an empty file that goes live with the commit
	modeMerge handoffMode = "merge" // into the receiver's own slot: the sender's goes away
	modeHints handoffMode = "hints" // into the receiver's own slot: kept for it while it was down
	modeKeep  handoffMode = "keep"  // into the receiver's hint store for another node
)

type handoffOpen struct {
	Mode     handoffMode `json:"mode"`
	Session  Session     `json:"session"`         // of stage and merge
	Services []string    `json:"services"`        // that send records
	Bytes    int64       `json:"bytes,omitempty"` // of stage and merge: about how much
	For      ring.NodeID `json:"for,omitempty"`   // of keep
	Trace    string      `json:"trace,omitempty"` // the sender's span, as in a traceparent header

	// Resume, of stage, asks the receiver to keep what an earlier stream of the session has
	// brought, and to answer with a handoffKept.
	Resume bool                `json:"resume,omitempty"`
	Since  map[string]logPoint `json:"since,omitempty"` // by service: from where on the sender's log has what it will send as tail
}

// handoffKept tells the sender what it need not send again.
type handoffKept struct {
	Services map[string]keptRecords `json:"services,omitempty"`
}

// keptRecords is what a receiver has of a service from earlier streams.
type keptRecords struct {
	Key   []byte    `json:"key,omitempty"`   // all that the sender folded up to this key; empty if that is not known any more
	Since *logPoint `json:"since,omitempty"` // what changed at the sender before this is in it too; nil if not known
}

// logPoint is a place in a node's commit log, as of one store's file.
type logPoint struct {
	Log  string `json:"log"`
	File uint64 `json:"file,string"`
	At   uint64 `json:"at,string"`
}

type handoffEnd struct {
	Digests map[string]Digest `json:"digests,omitempty"` // by service: what the receiver must hold now, with stage
}

// pullOpen asks a replica for its records of a partition: OpPull. It answers with
// chunks and a last one whose body is a pullEnd.
type pullOpen struct {
	Services []string `json:"services"`
	Partial  bool     `json:"partial,omitempty"` // take also what a replica has that is catching up itself
}

type pullEnd struct {
	Records map[string]int64 `json:"records"`           // sent, by service
	Partial bool             `json:"partial,omitempty"` // the sender is catching up itself
}

// confirmOpen asks whether a node serves a partition with verified data: OpConfirm.
type confirmOpen struct {
	Services []string `json:"services"`
}
