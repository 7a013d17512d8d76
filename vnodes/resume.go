package vnodes

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// How a handoff goes on after its stream broke. What the target has acknowledged is
// durable in the session's staging files, which it keeps until the session ends, also
// over a restart. The source knows how far it has folded and which keys have changed
// since: in memory after a broken stream or a restart of the target; after its own
// restart the target tells it how far it was, and its log what has changed since the
// tail began, if it still holds all of that. Else, and whenever the two copies turn out
// to differ, everything is sent again.

// openStage opens the stream to the target of a move or swap.
func (h *handing) openStage(ctx context.Context, to ring.NodeID) error {
	open := handoffOpen{Mode: modeStage, Resume: true, Since: make(map[string]logPoint)}
	for _, x := range h.parts {
		if x.since != nil {
			open.Since[x.v.svc.Name] = *x.since
		}
	}
	body, err := h.dial(ctx, to, open)
	if err != nil {
		return err
	}
	var kept handoffKept
	if len(body) > 0 {
		if err := json.Unmarshal(body, &kept); err != nil {
			return wire.Errorf(wire.BadRequest, "handoff: %v", err)
		}
	}
	fits, err := h.adopt(&kept)
	if fits || err != nil {
		return err
	}
	h.hangUp()
	h.pipes = nil
	for _, x := range h.parts {
		x.folded, x.whole = nil, false
	}
	h.d.records.Store(0)
	h.d.bytes.Store(0)
	h.d.total.Store(0)
	open.Resume = false
	_, err = h.dial(ctx, to, open)
	return err
}

// adopt takes what the target has kept for where this node goes on. It reports false
// if everything must be sent again.
func (h *handing) adopt(kept *handoffKept) (fits bool, err error) {
	for _, x := range h.parts {
		has, ok := kept.Services[x.v.svc.Name]
		switch {
		case !ok && x.folded == nil: // nothing was acknowledged
		case !ok:
			return false, nil
		case x.whole: // this node knows best
		case x.folded != nil:
			if bytes.Compare(has.Key, x.folded) > 0 { // acknowledged in vain
				x.folded = has.Key
			}
		default:
			known, err := h.m.changedSince(x, has)
			if !known || err != nil {
				return false, err
			}
			x.folded = has.Key
			h.m.log.Info("transfer goes on where an earlier life of this node was", "transfer", h.d.session.ID, "partition", h.d.session.Partition,
				"service", x.v.svc.Name)
		}
	}
	return true, nil
}

// changedSince puts into x's tail what has changed since an earlier life of this node
// began the tail of the records that the target has. It reports false if that is not
// known any more.
func (m *Manager) changedSince(x *part, has keptRecords) (known bool, err error) {
	if len(has.Key) == 0 || has.Since == nil || x.since == nil || has.Since.Log != x.since.Log || has.Since.File != x.since.File {
		return false, nil
	}
	at := position(has.Since.At)
	if !m.disk.log.reaches(at) {
		return false, nil
	}
	err = m.disk.log.salvage(has.Since.File, at, func(p position, writes []Write) error {
		if p >= at {
			x.tail.note(writes)
		}
		return nil
	})
	return err == nil && m.disk.log.reaches(at), err
}

// reaches reports whether the log still has everything from p on.
func (l *commitLog) reaches(p position) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return p.segment() >= l.oldest
}

// logPoint is where the log is now, for a vnode with records; nil without a log.
func (m *Manager) logPoint(v *vnode) *logPoint {
	if m.disk == nil || v.store.Digest().Records == 0 {
		return nil
	}
	return &logPoint{Log: hex.EncodeToString(m.disk.log.id[:]), File: v.store.ID(), At: uint64(m.disk.log.position())}
}

// usable reports whether the vnodes are still those that the tails follow.
func (h *handing) usable() bool {
	if len(h.parts) != len(h.m.involved(&h.d.session, h.m.rings.Ring())) {
		return false
	}
	for _, x := range h.parts {
		if x.v.svc.vnodes[h.d.session.Partition].Load() != x.v {
			return false
		}
	}
	return true
}

// resumes reports whether the next attempt may go on where this one ended, with err.
func (h *handing) resumes(err error) bool {
	if h.d.session.Kind == ring.StepDrop {
		return false
	}
	e, ok := errors.AsType[*wire.Error](err)
	return !ok || e.Code != wire.Conflict // the copies differ, or the session has ended
}

// forget gives up what was reached: the next attempt begins anew.
func (h *handing) forget() {
	for _, x := range h.parts {
		x.v.unfollow(x.tail)
	}
	h.d.handing = nil
}

// tell lets the target know that the session is committed.
func (h *handing) tell() {
	if h.d.session.Kind == ring.StepDrop {
		return // nothing becomes of what the targets have got
	}
	for _, p := range h.pipes {
		if err := p.tell(h.m.epoch()); err != nil {
			h.m.log.Debug("target not told of the switch", "transfer", h.d.session.ID, "err", err)
		}
	}
}

// onAck has fn called when the target has acknowledged all that is sent. Only a handing
// to one target resumes.
func (h *handing) onAck(fn func()) {
	if len(h.pipes) == 1 {
		h.pipes[0].whenHeard(fn)
	}
}
