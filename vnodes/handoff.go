package vnodes

import (
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
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
	Session  Session     `json:"session"`       // of stage and merge
	Services []string    `json:"services"`      // that send records
	For      ring.NodeID `json:"for,omitempty"` // of keep
}

type handoffEnd struct {
	Digests map[string]Digest `json:"digests,omitempty"` // by service: what the receiver must hold now, with stage
}

// pullOpen asks a replica for its records of a partition: OpPull. It answers with
// chunks and a last one whose body is a pullEnd.
type pullOpen struct {
	Services []string `json:"services"`
}

type pullEnd struct {
	Records map[string]int64 `json:"records"` // sent, by service
}

// confirmOpen asks whether a node serves a partition with verified data: OpConfirm.
type confirmOpen struct {
	Services []string `json:"services"`
}

const (
	pipeWindow  = 16
	pipeTimeout = 30 * time.Second // without an answer the stream counts as broken
)

// pipe is the sending end of a handoff stream.
type pipe struct {
	st          Stream
	head        wire.Header // what all frames have in common
	sent, heard uint64      // ids of the last frame sent and answered
}

// chunk sends writes of a service.
func (p *pipe) chunk(service uint32, writes []Write) error {
	h := p.head
	h.Kind, h.Service = wire.KindChunk, service
	return p.send(&h, AppendWrites(nil, writes))
}

func (p *pipe) send(h *wire.Header, body []byte) error {
	for p.sent-p.heard >= pipeWindow {
		if _, err := p.hear(); err != nil {
			return err
		}
	}
	p.sent++
	h.ID = p.sent
	if err := p.st.SetDeadline(time.Now().Add(pipeTimeout)); err != nil {
		return err
	}
	if err := p.st.WriteFrame(h, body); err != nil {
		return err
	}
	return p.st.Flush()
}

// ask sends a request and waits for its answer, at most for timeout.
func (p *pipe) ask(flags wire.Flags, body []byte, timeout time.Duration) error {
	h := p.head
	h.Kind, h.Flags = wire.KindRequest, flags
	if err := p.send(&h, body); err != nil {
		return err
	}
	if err := p.st.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	for p.heard < p.sent {
		if _, err := p.hear(); err != nil {
			return err
		}
	}
	return nil
}

// hear reads one answer.
func (p *pipe) hear() (wire.Frame, error) {
	f, err := p.st.ReadFrame()
	if err != nil {
		return f, err
	}
	if f.Code != wire.OK {
		return f, &wire.Error{Code: f.Code, Message: string(f.Body), Epoch: f.Epoch}
	}
	if f.ID != p.heard+1 {
		return f, wire.Errorf(wire.Internal, "answer %d instead of %d", f.ID, p.heard+1)
	}
	p.heard++
	return f, nil
}
