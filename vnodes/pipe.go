package vnodes

import (
	"context"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

const (
	pipeWindow  = 16
	pipeTimeout = 30 * time.Second      // without an answer the stream counts as broken
	lastWords   = 50 * time.Millisecond // for answers that are here already
)

// pipe is the sending end of a handoff stream.
type pipe struct {
	st          Stream
	unwatch     func() bool // stops watching the context that st ends with
	head        wire.Header // what all frames have in common
	sent, heard uint64      // ids of the last frame sent and answered
	waits       []ackWait   // in the order of their ids
}

// dialPipe opens a stream to node that asks for op, and breaks when ctx ends.
func (m *Manager) dialPipe(ctx context.Context, node ring.NodeID, op wire.Op, p ring.Partition, gen ring.Gen) (*pipe, error) {
	st, err := m.cfg.Dialer.Dial(ctx, node)
	if err != nil {
		return nil, err
	}
	return &pipe{
		st: st, unwatch: context.AfterFunc(ctx, func() { _ = st.Close() }), // the reader learns of it
		head: wire.Header{Op: op, Partition: uint16(p), Gen: uint64(gen), Epoch: m.epoch()},
	}, nil
}

// close ends the conversation; whoever waits for an answer stops. It may be called
// twice, and from any goroutine.
func (p *pipe) close() {
	p.unwatch()
	_ = p.st.Close() // it has said what it had to say
}

// ackWait is called when the frame id is answered.
type ackWait struct {
	id uint64
	fn func()
}

// whenHeard calls fn when all that is sent is answered, on the goroutine that sends.
func (p *pipe) whenHeard(fn func()) {
	if p.heard == p.sent {
		fn()
		return
	}
	p.waits = append(p.waits, ackWait{p.sent, fn})
}

// drain waits until everything sent is answered.
func (p *pipe) drain() error {
	for p.heard < p.sent {
		if err := p.st.SetDeadline(time.Now().Add(pipeTimeout)); err != nil {
			return err
		}
		if _, err := p.hear(); err != nil {
			return err
		}
	}
	return nil
}

// hearOut takes what has been answered before the stream broke, so that it need not be sent
// again: answers are read only when the window is full, which is megabytes of records.
func (p *pipe) hearOut() {
	if p.st.SetDeadline(time.Now().Add(lastWords)) != nil {
		return
	}
	for p.heard < p.sent {
		if _, err := p.hear(); err != nil {
			return
		}
	}
}

// chunk sends a body of writes of a service; it is not kept.
func (p *pipe) chunk(service uint32, body []byte) error {
	h := p.head
	h.Kind, h.Service = wire.KindChunk, service
	return p.send(&h, body)
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
func (p *pipe) ask(flags wire.Flags, body []byte, timeout time.Duration) (wire.Frame, error) {
	h := p.head
	h.Kind, h.Flags = wire.KindRequest, flags
	if err := p.send(&h, body); err != nil {
		return wire.Frame{}, err
	}
	if err := p.st.SetDeadline(time.Now().Add(timeout)); err != nil {
		return wire.Frame{}, err
	}
	for {
		if f, err := p.hear(); err != nil || p.heard == p.sent {
			return f, err
		}
	}
}

// tell says that epoch is in force, to one who is ready; what it answers is not heard.
func (p *pipe) tell(epoch uint64) error {
	h := p.head
	h.Kind, h.Flags, h.Epoch = wire.KindRequest, wire.FlagLast, epoch
	return p.send(&h, nil)
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
	for len(p.waits) > 0 && p.waits[0].id <= p.heard {
		p.waits[0].fn()
		p.waits = p.waits[1:]
	}
	return f, nil
}
