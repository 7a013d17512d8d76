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

// handing is one attempt to hand a partition's data on: the source's side of a
// move, a swap or a drop.
type handing struct {
	m        *Manager
	d        *driver
	vnodes   []*vnode
	tails    []*tail
	started  int // of vnodes: told that a handoff starts
	pipes    []*pipe
	proposed bool // what becomes of it is no longer this attempt's to say
}

// hand runs one attempt: fold, tail, seal, propose, settle.
func (m *Manager) hand(ctx context.Context, d *driver) error {
	h := &handing{m: m, d: d}
	defer h.release()
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
	for i := range h.vnodes {
		if err := h.fold(i); err != nil {
			return fmt.Errorf("send records: %w", err)
		}
	}
	if err := m.passed(wire.SourceFolded); err != nil {
		return err
	}
	d.enter("tail")
	for round := 0; round < tailRounds; round++ {
		n, err := h.sendTails()
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
	err := h.seal()
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

// open starts the tails and opens a stream to each target.
func (h *handing) open(ctx context.Context) error {
	s, r := h.d.session, h.m.rings.Ring()
	services := h.m.involved(&s, r)
	names := make([]string, 0, len(services))
	for _, svc := range services {
		v, werr := h.m.openSlot(svc, s.Partition, 0)
		if werr != nil {
			return werr
		}
		names = append(names, svc.Name)
		h.vnodes = append(h.vnodes, v)
		h.tails = append(h.tails, v.follow())
		if err := errors.Join(v.check(), h.mayStart(v, s.To)); err != nil {
			return err
		}
		h.started++
	}
	if len(services) == 0 {
		return nil // a change of places that moves nobody's data
	}
	mode := modeStage
	if s.Kind == ring.StepDrop {
		mode = modeMerge
	}
	body, err := json.Marshal(handoffOpen{Mode: mode, Session: s, Services: names, Bytes: h.size()})
	if err != nil {
		return err
	}
	for _, to := range s.targets(r) {
		p, err := h.m.dialPipe(ctx, to, wire.OpHandoff, s.Partition, s.Gen)
		if err != nil {
			return fmt.Errorf("reach %s: %w", to, err)
		}
		h.pipes = append(h.pipes, p)
		if _, err := p.ask(0, body, pipeTimeout); err != nil {
			return fmt.Errorf("%s: %w", to, err)
		}
	}
	return nil
}

// size is about how many bytes the records have.
func (h *handing) size() (n int64) {
	for _, v := range h.vnodes {
		n += v.store.Digest().Bytes
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

func (h *handing) release() {
	h.hangUp()
	for i, v := range h.vnodes {
		v.unfollow(h.tails[i])
		if i < h.started && !h.proposed {
			v.do(func(v *vnode) { v.tellHandoff(h.d.session.To, false) })
		}
	}
}

// fold sends every record that was durable when it passes. What changes
// meanwhile is in the tail.
func (h *handing) fold(i int) error {
	v := h.vnodes[i]
	if err := v.store.Sync(); err != nil { // what was appended before the tail began
		return err
	}
	h.d.total.Add(v.store.Digest().Records)
	b := batch{limit: h.m.cfg.ChunkBytes, flush: func(writes []Write) error { return h.send(v, writes) }}
	if err := v.store.Ascend(nil, b.add); err != nil {
		return err
	}
	return b.end()
}

// send sends writes to every target.
func (h *handing) send(v *vnode, writes []Write) error {
	if err := h.m.passed(wire.SourceChunk); err != nil {
		return err
	}
	for _, p := range h.pipes {
		if err := p.chunk(v.svc.id, writes); err != nil {
			return err
		}
	}
	h.d.moved(writes)
	return nil
}

// sendTails sends the records whose keys changed since the last call and returns
// how many they were.
func (h *handing) sendTails() (int, error) {
	total := 0
	for i, v := range h.vnodes {
		keys := h.tails[i].take()
		total += len(keys)
		if err := v.store.Sync(); err != nil { // then every key's record is durable
			return 0, err
		}
		b := batch{limit: h.m.cfg.ChunkBytes, flush: func(writes []Write) error { return h.send(v, writes) }}
		for k := range keys {
			r, ok, err := v.store.Get([]byte(k))
			if err != nil {
				return 0, err
			}
			if ok && !b.add([]byte(k), r) {
				break
			}
		}
		if err := b.end(); err != nil {
			return 0, err
		}
	}
	return total, nil
}

// seal holds the commands, sends the rest and waits until every target says that
// it has what is here. The writers wait meanwhile: it takes SealTimeout at most.
func (h *handing) seal() error {
	h.d.enter("sealed")
	late := time.AfterFunc(h.m.cfg.SealTimeout, h.hangUp)
	defer late.Stop()
	if err := errors.Join(h.change(serving, sealed), h.m.passed(wire.SourceSealed)); err != nil {
		return err
	}
	if _, err := h.sendTails(); err != nil {
		return err
	}
	end := handoffEnd{Digests: make(map[string]Digest)}
	for _, v := range h.vnodes {
		end.Digests[v.svc.Name] = v.store.Digest()
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
	for _, v := range h.vnodes {
		done := false
		if !v.do(func(v *vnode) { done = v.change(from, to) }) {
			return ErrClosed
		}
		if !done {
			return fmt.Errorf("the vnode of service %s is not in the phase that the transfer found it in", v.svc.Name)
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
	for _, v := range h.vnodes {
		note.Digests[v.svc.Name] = v.store.Digest()
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

// batch gathers copies of records and flushes them when they are many.
type batch struct {
	limit  int
	flush  func([]Write) error
	writes []Write
	size   int
	err    error
}

// add has the shape of Store.Ascend's callback; false after an error.
func (b *batch) add(key []byte, r Record) bool {
	k := append([]byte(nil), key...)
	r.Value = append([]byte(nil), r.Value...)
	b.writes = append(b.writes, Write{Key: k, Record: r})
	if b.size += len(key) + len(r.Value) + 64; b.size >= b.limit {
		b.out()
	}
	return b.err == nil
}

func (b *batch) out() {
	if b.err == nil && len(b.writes) > 0 {
		b.err = b.flush(b.writes)
	}
	b.writes, b.size = nil, 0
}

// end flushes the rest and returns the first error.
func (b *batch) end() error {
	b.out()
	return b.err
}
