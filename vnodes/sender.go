package vnodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

const (
	shortTail     = 256                    // keys: few enough to send while sealed
	tailRounds    = 50                     // then the seal is tried anyway; it holds the writers
	leaderContact = 500 * time.Millisecond // a switch is proposed only with a leader heard of since
)

// handing is the source's side of a move, a swap or a drop. When an attempt breaks off
// it stays, so that the next one goes on where the target has acknowledged the records;
// see resume.go. Its driver's alone.
type handing struct {
	m     *Manager
	d     *driver
	parts []*part

	// of the attempt under way
	pipes    []*pipe
	started  int  // of parts: told that a handoff starts
	sealed   bool // writers wait
	unseal   func()
	proposed bool // what becomes of it is no longer this attempt's to say
	span     wire.Span
}

// part is one service's share of a handing.
type part struct {
	v      *vnode
	tail   *tail
	since  *logPoint           // before the tail began; nil if there is no log
	folded []byte              // all up to this key is acknowledged by the target
	whole  bool                // everything has been folded and acknowledged
	taken  map[string]struct{} // keys of the tail that are sent and not acknowledged yet
}

// hand runs one attempt: fold, tail, seal, propose, settle.
func (m *Manager) hand(ctx context.Context, d *driver) error {
	if d.handing != nil && !d.handing.usable() {
		d.handing.forget()
	}
	if d.handing == nil {
		d.handing = &handing{m: m, d: d}
		d.records.Store(0)
		d.bytes.Store(0)
		d.total.Store(0)
	}
	h := d.handing
	h.pipes, h.started, h.sealed, h.proposed, h.unseal = nil, 0, false, false, func() {}
	h.span = h.trace()
	err := h.attempt(ctx)
	endSpan(h.span, err)
	h.unseal()
	h.release(ctx, err)
	return err
}

func (h *handing) attempt(ctx context.Context) error {
	m, d := h.m, h.d
	if err := m.hold(m.rings.Ring().Epoch); err != nil { // in which the session is open: without it a restart could not judge how it ended
		return err
	}
	if err := m.passed(wire.SourceBegun); err != nil {
		return err
	}
	if err := errors.Join(h.open(ctx), m.passed(wire.SourceOpened)); err != nil {
		return err
	}
	d.enter("fold")
	for _, x := range h.parts {
		if err := h.fold(ctx, x); err != nil {
			return fmt.Errorf("send records: %w", err)
		}
	}
	if err := m.passed(wire.SourceFolded); err != nil {
		return err
	}
	d.enter("tail")
	for round := 0; round < tailRounds; round++ {
		n, err := h.sendTails(ctx)
		if err = errors.Join(err, m.passed(wire.SourceTail)); err != nil {
			return fmt.Errorf("send changes: %w", err)
		}
		if n < shortTail {
			break
		}
	}
	for m.transfers.LeaderContact() > leaderContact {
		if !pause(ctx, 50*time.Millisecond) {
			return ctx.Err()
		}
	}
	for _, x := range h.parts {
		x.v.store.Digest() // of what there is to count, little is left for the seal
	}
	err := h.seal(ctx)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		m.unseal(&d.session)
		return fmt.Errorf("seal: %w", err)
	}
	if err := h.propose(); err != nil {
		return err
	}
	return m.settle(ctx, d)
}

// open starts the tails, unless an attempt before has, and opens a stream to each target.
func (h *handing) open(ctx context.Context) error {
	s, r := h.d.session, h.m.rings.Ring()
	if h.parts == nil {
		for _, svc := range h.m.involved(&s, r) {
			v, werr := h.m.openSlot(svc, s.Partition, 0)
			if werr != nil {
				h.forget()
				return werr
			}
			h.parts = append(h.parts, &part{v: v, since: h.m.logPoint(v), tail: v.follow(), taken: make(map[string]struct{})})
		}
	}
	for _, x := range h.parts {
		if err := errors.Join(x.v.check(), h.mayStart(x.v, s.To)); err != nil {
			return err
		}
		h.started++
	}
	if len(h.parts) == 0 {
		return nil // a change of places that moves nobody's data
	}
	if s.Kind != ring.StepDrop {
		return h.openStage(ctx, s.To)
	}
	for _, to := range s.targets(r) {
		if _, err := h.dial(ctx, to, handoffOpen{Mode: modeMerge}); err != nil {
			return err
		}
	}
	return nil
}

// dial opens a stream to a target and returns what that answers.
func (h *handing) dial(ctx context.Context, to ring.NodeID, open handoffOpen) ([]byte, error) {
	s := h.d.session
	open.Session, open.Bytes = s, h.size()
	if h.span != nil {
		open.Trace = h.span.Trace().String()
	}
	for _, x := range h.parts {
		open.Services = append(open.Services, x.v.svc.Name)
	}
	body, err := json.Marshal(open)
	if err != nil {
		return nil, err
	}
	p, err := h.m.dialPipe(ctx, to, wire.OpHandoff, s.Partition, s.Gen)
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", to, err)
	}
	h.pipes = append(h.pipes, p)
	f, err := p.ask(0, body, pipeTimeout)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", to, err)
	}
	return f.Body, nil
}

// size is about how many bytes the records have.
func (h *handing) size() (n int64) {
	for _, x := range h.parts {
		n += x.v.store.Digest().Bytes
	}
	return n
}

// mayStart asks the user's vnode whether its state may move now.
func (h *handing) mayStart(v *vnode, to ring.NodeID) error {
	starter, ok := (*v.user.Load()).(HandoffStarter)
	if !ok {
		return nil
	}
	var err error
	ran := v.do(func(v *vnode) {
		_, err = v.call(func() ([]byte, error) { return nil, starter.HandoffStarting(to) })
	})
	if !ran {
		return ErrClosed
	}
	if err != nil {
		return fmt.Errorf("service %s refuses for now: %w", v.svc.Name, err)
	}
	return nil
}

// hangUp breaks the streams, so that whoever waits for them stops.
func (h *handing) hangUp() {
	for _, p := range h.pipes {
		p.close()
	}
}

// release ends an attempt, which ended with err.
func (h *handing) release(ctx context.Context, err error) {
	if err != nil && !h.proposed && h.resumes(err) {
		for _, p := range h.pipes {
			p.hearOut()
		}
	}
	h.hangUp()
	for _, x := range h.parts[:h.started] {
		if !h.proposed {
			x.v.do(func(v *vnode) { v.tellHandoff(h.d.session.To, false) })
		}
	}
	if err == nil || h.proposed || ctx.Err() != nil || !h.resumes(err) {
		h.forget()
		return
	}
	for _, x := range h.parts {
		x.tail.give(x.taken)
		x.taken = make(map[string]struct{})
	}
}

// seal holds the commands, sends the rest and waits until every target says that
// it has what is here. The writers wait meanwhile: it takes SealTimeout at most.
func (h *handing) seal(ctx context.Context) error {
	h.d.enter("sealed")
	h.sealed, h.unseal = true, h.m.bulk.seal(h.m.cfg.SealTimeout)
	for _, p := range h.pipes {
		p.head.Flags |= wire.FlagSealed
	}
	late := time.AfterFunc(h.m.cfg.SealTimeout, h.hangUp)
	defer late.Stop()
	if err := errors.Join(h.change(serving, sealed), h.m.passed(wire.SourceSealed)); err != nil {
		return err
	}
	if _, err := h.sendTails(ctx); err != nil {
		return err
	}
	end := handoffEnd{Digests: make(map[string]Digest)}
	for _, x := range h.parts {
		end.Digests[x.v.svc.Name] = x.v.store.Digest()
	}
	body, err := json.Marshal(end)
	if err = errors.Join(err, h.m.passed(wire.SourceEnded)); err != nil {
		return err
	}
	for _, p := range h.pipes {
		if _, err := p.ask(wire.FlagLast, body, h.m.cfg.SealTimeout); err != nil {
			return err
		}
	}
	return h.m.passed(wire.SourceReady)
}

// change brings all vnodes from one phase to the next; those that have made the
// step before stay where they are.
func (h *handing) change(from, to phase) error {
	for _, x := range h.parts {
		done := false
		if !x.v.do(func(v *vnode) { done = v.change(from, to) }) {
			return ErrClosed
		}
		if !done {
			return fmt.Errorf("the vnode of service %s is not in the phase that the transfer found it in", x.v.svc.Name)
		}
	}
	return nil
}

// unseal lets the vnodes that s has sealed serve again.
func (m *Manager) unseal(s *Session) {
	for _, svc := range m.involved(s, m.ring()) {
		if v := svc.vnodes[s.Partition].Load(); v != nil {
			v.do(func(v *vnode) { v.change(sealed, serving) })
		}
	}
}

// propose makes the point of no return durable: from here on the vnodes answer
// nothing until the outcome is known.
func (h *handing) propose() error {
	s := h.d.session
	if err := h.change(sealed, proposed); err != nil {
		_ = h.change(proposed, sealed) // those that made the step
		h.m.unseal(&s)
		return err
	}
	note := SessionNote{Session: s, State: noteProposed, Digests: make(map[string]Digest)}
	for _, x := range h.parts {
		note.Digests[x.v.svc.Name] = x.v.store.Digest()
	}
	err := h.m.passed(wire.SourceProposing)
	if err == nil {
		err = h.m.journal.PutSession(note)
	}
	if err != nil {
		// It may be on the disk or not: stay sealed, and try again from the start.
		return errors.Join(fmt.Errorf("note the proposal: %w", err), h.change(proposed, sealed))
	}
	h.m.mu.Lock()
	h.m.proposals[s.Partition] = s
	h.m.mu.Unlock()
	h.proposed = true
	return nil
}
