package vnodes

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// driver is the goroutine that carries out one session of which this node is the
// driving side, or the clean-up of a partition that has left this node.
type driver struct {
	session Session
	phase   atomic.Pointer[string]
	records atomic.Int64
	bytes   atomic.Int64
	total   atomic.Int64 // records expected
	handing *handing     // that goes on from attempt to attempt; the driver's goroutine's alone
	begun   time.Time
	beat    atomic.Pointer[time.Time] // when it last got on
	cancel  context.CancelFunc
}

func (d *driver) enter(phase string) {
	d.phase.Store(&phase)
	d.getsOn()
}

func (d *driver) getsOn() {
	now := time.Now()
	d.beat.Store(&now)
}

// moved counts records that d has brought to where they go.
func (d *driver) moved(writes []Write) {
	d.records.Add(int64(len(writes)))
	d.bytes.Add(int64(bytesOf(writes)))
	d.getsOn()
}

// Progress is where a transfer stands that this node drives.
type Progress struct {
	Session Session   `json:"session"`
	Phase   string    `json:"phase"`
	Records int64     `json:"records"`
	Bytes   int64     `json:"bytes"`
	Total   int64     `json:"total"` // records expected in all; grows with the data
	Begun   time.Time `json:"begun"`
	// Still is for how long nothing has happened with it: no record was sent, no step made, no
	// attempt begun. Attempts that fail, one after the other, are not still.
	Still time.Duration `json:"still,omitempty"`
}

// Progress lists the transfers that this node drives now.
func (m *Manager) Progress() []Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Progress
	for _, d := range m.drivers {
		all = append(all, Progress{
			Session: d.session, Phase: *d.phase.Load(), Records: d.records.Load(), Bytes: d.bytes.Load(),
			Total: d.total.Load(), Begun: d.begun, Still: time.Since(*d.beat.Load()),
		})
	}
	return all
}

// schedule starts a driver for every open session that this node drives and has
// none for, stops those whose session has ended, and cleans up what has left.
func (m *Manager) schedule() {
	if m.ring().Epoch == 0 {
		return // the sessions known here may have ended long ago
	}
	m.discardEnded()
	open := make(map[ring.Partition]Session)
	for _, s := range m.transfers.Sessions() {
		if s.drives(m.node) {
			open[s.Partition] = s
		}
	}
	m.mu.Lock()
	for p, s := range m.proposals {
		open[p] = s // whatever became of it: this node must find out, and before anything else
	}
	for _, d := range m.drivers {
		if id := d.session.ID; id != "" && open[d.session.Partition].ID != id {
			d.cancel()
		}
	}
	m.mu.Unlock()
	for p, s := range open {
		m.drive(fmt.Sprintf("session-%d", p), s, m.carryOut) // one at a time: they seal the same vnodes
	}
	m.scheduleCleaning()
}

// drive runs fn for s in a goroutine of its own, unless one runs under that key; it
// reports whether it does.
func (m *Manager) drive(key string, s Session, fn func(context.Context, *driver)) (begun bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, running := m.drivers[key]; running {
		return false
	}
	ctx, cancel := context.WithCancel(m.ctx)
	d := &driver{session: s, begun: m.now(), cancel: cancel}
	d.enter("begun")
	m.drivers[key] = d
	started := m.spawn(func() {
		defer cancel()
		fn(ctx, d)
		m.mu.Lock()
		delete(m.drivers, key)
		m.mu.Unlock()
		if s.Kind != kindHinted {
			m.prod() // what came up while the key was taken
			return
		}
		nudge(m.handing)
	})
	if !started {
		cancel()
		delete(m.drivers, key)
	}
	return started
}

// The kinds of work that drivers do beside the steps of the ring.
const (
	kindHinted  ring.StepKind = "hinted"   // hints on their way to their owner
	kindCatchUp ring.StepKind = "catch-up" // a restarted slot takes records from the others
	kindClean   ring.StepKind = "clean"    // a copy that has left goes
	kindRepair  ring.StepKind = "repair"   // a damaged slot takes records from the others
)

// carryOut tries the session until it has ended one way or the other.
func (m *Manager) carryOut(ctx context.Context, d *driver) {
	s := d.session
	stall := newStandstill(m.cfg.StallTime)
	for wait := newBackoff(50*time.Millisecond, 2*time.Second); ; {
		err := m.attempt(ctx, d)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			break
		}
		m.log.Info("transfer attempt ended", "transfer", s.ID, "partition", s.Partition, "kind", s.Kind, "to", s.To, "err", err)
		d.enter("waiting")
		if stall.over(d.records.Load(), time.Now()) {
			m.giveUp(ctx, &s, err)
		}
		if !wait.sleep(ctx) {
			break
		}
	}
	if d.handing != nil {
		d.handing.forget()
	}
	// An attempt whose proposal could not be noted has left the gates sealed.
	if committed, over := m.ended(&s); over && !committed {
		m.unseal(&s)
	}
}

func (m *Manager) attempt(ctx context.Context, d *driver) error {
	s := d.session
	m.mu.Lock()
	prior, proposes := m.proposals[s.Partition]
	m.mu.Unlock()
	switch {
	case proposes && prior.ID == s.ID:
		return m.settle(ctx, d)
	case proposes:
		return fmt.Errorf("the outcome of the partition's earlier session %s is not known yet", prior.ID)
	}
	if _, over := m.ended(&s); over {
		return nil
	}
	if s.Kind == ring.StepAdd {
		d.records.Store(0)
		d.bytes.Store(0)
		d.total.Store(0)
		return m.fill(ctx, d)
	}
	return m.hand(ctx, d)
}

// ended says how s has ended. over is false while s is open, or may be for all
// that is known here.
func (m *Manager) ended(s *Session) (committed, over bool) {
	if m.ring().Epoch == 0 {
		return false, false // the metadata may be older than s
	}
	if slices.ContainsFunc(m.transfers.Sessions(), func(o Session) bool { return o.ID == s.ID }) {
		return false, false
	}
	if committed, known := m.transfers.Outcome(s.ID); known {
		return committed, true
	}
	// So long ago that it is forgotten. The source gets its old place back only by a
	// session of which it knows.
	return m.rings.Ring().Place(s.Partition, s.From) != s.Slot, true
}

// settle proposes the switch and finds out what became of it. Until then the
// gates stay proposed, also over a restart.
func (m *Manager) settle(ctx context.Context, d *driver) error {
	d.enter("proposed")
	s := d.session
	for wait := newBackoff(20*time.Millisecond, time.Second); ; {
		if committed, over := m.ended(&s); over {
			return m.conclude(d, committed)
		}
		err := m.passed(wire.SourceProposed)
		if err == nil {
			err = m.transfers.Commit(ctx, s)
		}
		if err == nil {
			return m.conclude(d, true)
		}
		if committed, over := m.ended(&s); over {
			return m.conclude(d, committed)
		}
		m.log.Info("transfer outcome not known yet", "transfer", s.ID, "partition", s.Partition, "err", err)
		if !wait.sleep(ctx) {
			return ctx.Err()
		}
	}
}

// conclude opens or closes the gates for good. The note of a committed session
// stays until the files are gone.
func (m *Manager) conclude(d *driver, committed bool) error {
	s := d.session
	point := wire.SourceAborted
	if committed {
		point = wire.SourceCommitted
	}
	if err := m.passed(point); err != nil {
		return err
	}
	if committed {
		if d.handing != nil {
			d.handing.tell()
		}
		m.install()
		m.log.Info("partition handed off", "transfer", s.ID, "partition", s.Partition, "kind", s.Kind, "to", s.To,
			"items", d.records.Load(), "bytes", d.bytes.Load(), "elapsed", m.now().Sub(d.begun))
	} else if err := m.journal.DeleteSession(s.ID); err != nil {
		return fmt.Errorf("forget the aborted session: %w", err)
	}
	m.mu.Lock()
	delete(m.proposals, s.Partition)
	m.mu.Unlock()
	r := m.ring()
	for _, svc := range m.involved(&s, r) {
		v := svc.vnodes[s.Partition].Load()
		if v == nil {
			continue
		}
		v.do(func(v *vnode) {
			v.setGate(m.gateOf(svc, s.Partition))
			v.tellHandoff(s.To, committed)
		})
	}
	if committed && len(m.leftovers(r, s.Partition)) == 0 {
		m.forgetSources(r, s.Partition) // there is nothing to clean
	}
	return m.passed(wire.SourceConcluded)
}

// tellHandoff calls the user's hooks. Worker only.
func (v *vnode) tellHandoff(to ring.NodeID, committed bool) {
	user := *v.user.Load()
	if f, ok := user.(HandoffFinisher); ok && committed {
		v.hook("HandoffFinished", func() error { f.HandoffFinished(to); return nil })
	}
	if c, ok := user.(HandoffCanceller); ok && !committed {
		v.hook("HandoffCancelled", func() error { c.HandoffCancelled(to); return nil })
	}
}
