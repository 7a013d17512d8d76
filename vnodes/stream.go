package vnodes

import (
	"context"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// ServeStream answers a stream that another node has opened with the request
// first: OpHandoff, OpPull, OpConfirm, OpHintsFor, OpHolds, OpCompare or OpKeeps. It returns when the stream has ended.
func (m *Manager) ServeStream(ctx context.Context, st Stream, first wire.Frame) {
	if !m.enter() {
		return
	}
	defer m.tasks.Done()
	stop := context.AfterFunc(m.ctx, func() { _ = st.Close() })
	defer stop()
	answer := answerer{m: m, st: st}
	if int(first.Partition) >= m.rings.Ring().Q() {
		answer.fail(&first, wire.Errorf(wire.BadRequest, "no such partition"))
		return
	}
	switch first.Op {
	case wire.OpHandoff:
		m.receive(ctx, &answer, &first)
	case wire.OpPull:
		m.servePull(ctx, &answer, &first)
	case wire.OpConfirm:
		m.serveConfirm(ctx, &answer, &first)
	case wire.OpHintsFor:
		m.serveHintsFor(&answer, &first)
	case wire.OpHolds:
		m.serveHolds(ctx, &answer, &first)
	case wire.OpCompare:
		m.serveCompare(ctx, &answer, &first)
	case wire.OpKeeps:
		m.serveKeeps(&answer, &first)
	default:
		answer.fail(&first, wire.Errorf(wire.BadRequest, "operation %d on a stream", first.Op))
	}
}

// answerer writes the answers of a stream.
type answerer struct {
	m  *Manager
	st Stream
}

func (a *answerer) ok(f *wire.Frame, body []byte) error {
	return a.write(f, wire.OK, body)
}

// give ends a conversation of one question: with body, or with err if there is one.
func (a *answerer) give(f *wire.Frame, body []byte, err error) {
	if err != nil {
		a.fail(f, err)
		return
	}
	if err := a.ok(f, body); err != nil {
		a.m.log.Debug("stream broke", "err", err)
	}
}

func (a *answerer) fail(f *wire.Frame, err error) {
	e := asError(err)
	if werr := a.write(f, e.Code, []byte(e.Message)); werr != nil {
		a.m.log.Debug("stream broke", "err", werr)
	}
}

func (a *answerer) write(f *wire.Frame, code wire.Code, body []byte) error {
	h := wire.Header{Kind: wire.KindReply, Op: f.Op, Code: code, ID: f.ID, Partition: f.Partition, Epoch: a.m.epoch()}
	if err := a.st.SetDeadline(time.Now().Add(pipeTimeout)); err != nil {
		return err
	}
	if err := a.st.WriteFrame(&h, body); err != nil {
		return err
	}
	return a.st.Flush()
}
