package vnodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// noteState says how far a session has come on this node.
type noteState string

const (
	noteReady    noteState = "ready"    // the target holds everything, verified
	noteProposed noteState = "proposed" // the source may have committed
)

// SessionNote is what a node must not forget of a session.
type SessionNote struct {
	Session Session           `json:"session"`
	State   noteState         `json:"state"`
	Digests map[string]Digest `json:"digests"` // of each service that moves, as verified
}

// moves reports whether the session moves data of the service.
func (n *SessionNote) moves(service string) bool {
	_, ok := n.Digests[service]
	return ok
}

// incoming is a stream that fills staging files; at most one per session.
type incoming struct {
	st   Stream
	done chan struct{}
}

// receiver is the target's side of one handoff stream.
type receiver struct {
	m        *Manager
	open     handoffOpen
	p        ring.Partition
	services map[uint32]*service
	staging  *staged           // of modeStage
	merging  map[string]*vnode // of modeMerge: as they were at the beginning
	ready    bool              // all is verified and noted: nothing may follow
}

// receive serves a handoff stream.
func (m *Manager) receive(ctx context.Context, answer *answerer, first *wire.Frame) {
	rc := &receiver{m: m, p: ring.Partition(first.Partition), services: make(map[uint32]*service), staging: newStaged()}
	if err := rc.begin(ctx, answer.st, first); err != nil {
		answer.fail(first, err)
		return
	}
	span := rc.trace()
	defer func() { endSpan(span, rc.outcome()) }()
	var kept []byte
	if rc.open.Mode == modeStage {
		leave, err := m.enterSession(rc, answer.st)
		if err != nil {
			answer.fail(first, err)
			return
		}
		defer leave()
		kept = rc.kept()
	}
	if err := m.passed(wire.TargetOpened); err != nil {
		answer.fail(first, err)
		return
	}
	if err := answer.ok(first, kept); err != nil {
		return
	}
	acks := newAcks(answer, rc)
	defer acks.end()
	for {
		if err := answer.st.SetDeadline(time.Now().Add(2 * pipeTimeout)); err != nil {
			return
		}
		f, err := answer.st.ReadFrame()
		if err != nil {
			return // the sender has what it wanted, or tries again
		}
		many := f.Kind == wire.KindChunk && f.Flags&wire.FlagSealed == 0 && rc.open.Session.ID != ""
		if !acks.add(&f, rc.inTurn(ctx, &f, many)) {
			return
		}
		if many && !m.inRate.pass(ctx, len(f.Body)) {
			return
		}
	}
}

// begin reads and checks what the stream is for.
func (rc *receiver) begin(ctx context.Context, st Stream, first *wire.Frame) error {
	if err := json.Unmarshal(first.Body, &rc.open); err != nil {
		return wire.Errorf(wire.BadRequest, "handoff: %v", err)
	}
	if err := rc.passed(wire.TargetAsked); err != nil {
		return err
	}
	for _, name := range rc.open.Services {
		svc := rc.m.services[wire.ServiceID(name)]
		if svc == nil {
			return wire.Errorf(wire.Refused, "service %s is not registered on this node; start it with the same services as the others", name)
		}
		rc.services[svc.id] = svc
	}
	switch rc.open.Mode {
	case modeStage:
		if err := rc.m.takes("the partition was not taken", rc.open.Bytes); err != nil {
			return err
		}
		return rc.checkSession(ctx, ring.Epoch(first.Epoch))
	case modeMerge:
		if err := rc.m.takes("the partition was not taken", rc.open.Bytes); err != nil {
			return err
		}
		if err := rc.checkSession(ctx, ring.Epoch(first.Epoch)); err != nil {
			return err
		}
		return rc.checkCopies()
	case modeHints:
		return nil // each chunk passes the gate
	case modeKeep:
		if rc.open.For == "" || rc.open.For == rc.m.node {
			return wire.Errorf(wire.BadRequest, "hints to keep for whom")
		}
		return nil
	}
	return wire.Errorf(wire.BadRequest, "handoff mode %q", rc.open.Mode)
}

// checkSession admits only a session that is open in the ring in force, so that
// the stream of an aborted one can have no effect.
func (rc *receiver) checkSession(ctx context.Context, epoch ring.Epoch) error {
	fctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := rc.m.fetch(fctx, epoch); err != nil {
		return err
	}
	if rc.open.Session.Partition != rc.p || !slices.Contains(rc.m.transfers.Sessions(), rc.open.Session) {
		return wire.Errorf(wire.Conflict, "session %s is not open", rc.open.Session.ID)
	}
	return rc.m.hold(rc.m.ring().Epoch) // in which it is open: without it a restart could not judge how it ended
}

// checkCopies admits a session that takes a replica away only if this node's own is
// whole, which may be the only one that is left afterwards.
func (rc *receiver) checkCopies() error {
	rc.merging = make(map[string]*vnode)
	for _, svc := range rc.services {
		v, werr := rc.m.openSlot(svc, rc.p, 0)
		if werr != nil {
			return werr
		}
		rc.merging[svc.Name] = v
		if rc.m.disk != nil {
			found, err := rc.m.disk.scrubFile(v.name, nil)
			if err := errors.Join(found, err); err != nil {
				return err
			}
		}
	}
	return rc.stillWhole()
}

// stillWhole reports whether no copy was found damaged since checkCopies: what was
// merged may be in a file that is out of the way by now.
func (rc *receiver) stillWhole() error {
	for name, v := range rc.merging {
		if now := v.svc.vnodes[rc.p].Load(); now != v || rc.m.damagedHere(v.id) {
			return wire.Errorf(wire.Unavailable, "service %s: this copy is damaged, and is rebuilt first", name)
		}
	}
	return nil
}

// take handles one frame. What it returns tells when that is done, and how.
func (rc *receiver) take(f *wire.Frame) (done <-chan error) {
	if f.Kind == wire.KindRequest && f.Flags&wire.FlagLast != 0 {
		if rc.ready {
			return settled(rc.m.told(rc.open.Session.From, ring.Epoch(f.Epoch)))
		}
		return settled(rc.end(f))
	}
	svc, writes, err := rc.records(f)
	if err != nil {
		return settled(err)
	}
	if rc.open.Mode == modeStage {
		return rc.stage(svc, writes)
	}
	return settled(rc.merge(svc, writes))
}

// told installs the ring of epoch, in which a session is committed, as its source from
// says: writers wait for that. The ring would come by itself, a little later.
func (m *Manager) told(from ring.NodeID, epoch ring.Epoch) error {
	ctx, cancel := context.WithTimeout(m.ctx, 2*time.Second)
	defer cancel()
	err := m.rings.Fetch(ctx, epoch, from)
	m.install()
	return err
}

// records are those of a chunk.
func (rc *receiver) records(f *wire.Frame) (*service, []Write, error) {
	svc := rc.services[f.Service]
	switch {
	case rc.ready:
		return nil, nil, wire.Errorf(wire.BadRequest, "a frame behind the end")
	case f.Kind != wire.KindChunk || svc == nil:
		return nil, nil, wire.Errorf(wire.BadRequest, "unexpected frame of kind %d for service %d", f.Kind, f.Service)
	}
	writes, err := ParseWrites(f.Body)
	if err != nil {
		return nil, nil, wire.Errorf(wire.BadRequest, "%v", err)
	}
	for i := range writes {
		rc.m.follow(svc, writes[i].Record.Stamp.Time)
	}
	return svc, writes, rc.passed(wire.TargetChunk)
}

// passed is Manager.passed for a session, as against hints.
func (rc *receiver) passed(p wire.Failpoint) error {
	if rc.open.Mode != modeStage && rc.open.Mode != modeMerge {
		return nil
	}
	return rc.m.passed(p)
}

func appendWait(st Store, writes []Write) error {
	done := make(chan error, 1)
	st.Append(writes, func(err error) { done <- err })
	return <-done
}

// merge merges a chunk into this node's own slot, or its hint store for another.
func (rc *receiver) merge(svc *service, writes []Write) error {
	if rc.open.Mode == modeKeep {
		return rc.m.keepHints(svc, rc.p, rc.open.For, writes)
	}
	v, err := rc.m.openSlot(svc, rc.p, 0)
	if err != nil {
		return err
	}
	if rc.open.Mode == modeMerge {
		return v.mergeFrom(replica, writes)
	}
	return v.mergeWait(writes)
}

// mergeWait merges writes that were kept for the vnode through the worker and waits
// until they are durable.
func (v *vnode) mergeWait(writes []Write) error { return v.mergeFrom(kept, writes) }

// mergeFrom is mergeWait for writes of any origin but an effect.
func (v *vnode) mergeFrom(from origin, writes []Write) error {
	done := make(chan error, 1)
	ok := v.post(func(v *vnode) {
		switch g := v.gate.Load(); g.phase {
		case gone, proposed:
			done <- wire.Errorf(wire.Moved, "")
			return
		case lost:
			done <- wire.Errorf(wire.Unavailable, "%s", g.reason)
			return
		case sealed: // all that will be handed on has been read
			done <- wire.Errorf(wire.Unavailable, "the partition is about to move")
			return
		}
		if err := v.writable("the records were not taken"); err != nil {
			done <- err
			return
		}
		v.merge(writes, from, func(_ Stamp, err error) { done <- err })
	})
	if !ok {
		return ErrClosed
	}
	return <-done
}

// end verifies that everything is here and makes it survive a crash.
func (rc *receiver) end(f *wire.Frame) error {
	if err := rc.passed(wire.TargetEnd); err != nil {
		return err
	}
	if rc.open.Mode != modeStage {
		if rc.open.Mode == modeHints {
			rc.m.askAgain() // a slot may have waited for these
		}
		return rc.stillWhole() // and every chunk was durable before it was answered
	}
	var end handoffEnd
	if err := json.Unmarshal(f.Body, &end); err != nil {
		return wire.Errorf(wire.BadRequest, "%v", err)
	}
	if err := rc.staging.finish(); err != nil {
		return err
	}
	for name, want := range end.Digests {
		var have Digest
		if st := rc.staging.stores[name]; st != nil {
			have = st.Digest()
		}
		if have != want {
			rc.staging.wrote(name, nil, errors.New("it differs from the source's")) // nobody goes on with it
			return wire.Errorf(wire.Conflict, "service %s: the copy has %d records (sum %x), the source %d (%x)",
				name, have.Records, have.Sum, want.Records, want.Sum)
		}
	}
	note := SessionNote{Session: rc.open.Session, State: noteReady, Digests: end.Digests}
	err := rc.m.passed(wire.TargetVerified)
	if err == nil {
		err = rc.m.journal.PutSession(note)
	}
	if err != nil {
		return fmt.Errorf("note that the session is ready: %w", err)
	}
	rc.m.mu.Lock()
	rc.m.arrived[note.Session.ID] = &arrival{note: note, stores: rc.staging.stores, unseal: rc.m.bulk.seal(rc.m.cfg.SealTimeout)}
	rc.m.mu.Unlock()
	rc.staging, rc.ready = newStaged(), true
	if err := rc.m.passed(wire.TargetReady); err != nil {
		return err
	}
	// If the session was aborted meanwhile, nobody else looks at what has arrived.
	if committed, over := rc.m.ended(&note.Session); over && !committed {
		return errors.Join(wire.Errorf(wire.Conflict, "session %s was aborted", note.Session.ID), rc.m.discard(note.Session.ID))
	}
	return nil
}
