package vnodes

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

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
	begun   time.Time
	cancel  context.CancelFunc
}

func (d *driver) enter(phase string) { d.phase.Store(&phase) }

// Progress is where a transfer stands that this node drives.
type Progress struct {
	Session Session   `json:"session"`
	Phase   string    `json:"phase"`
	Records int64     `json:"records"`
	Bytes   int64     `json:"bytes"`
	Total   int64     `json:"total"` // records expected in all; grows with the data
	Begun   time.Time `json:"begun"`
}

// Progress lists the transfers that this node drives now.
func (m *Manager) Progress() []Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Progress
	for _, d := range m.drivers {
		all = append(all, Progress{
			Session: d.session, Phase: *d.phase.Load(), Records: d.records.Load(), Bytes: d.bytes.Load(),
			Total: d.total.Load(), Begun: d.begun,
		})
	}
	return all
}

// schedule starts a driver for every open session that this node drives and has
// none for, stops those whose session has ended, and cleans up what has left.
func (m *Manager) schedule() {
	open := make(map[string]Session)
	for _, s := range m.transfers.Sessions() {
		if s.drives(m.node) {
			open[s.ID] = s
		}
	}
	m.mu.Lock()
	for _, s := range m.proposals {
		open[s.ID] = s // whatever became of it: this node must find out
	}
	for id, d := range m.drivers {
		if _, ok := open[id]; !ok && d.session.ID != "" {
			d.cancel()
		}
	}
	m.mu.Unlock()
	for _, s := range open {
		m.drive(s.ID, s, m.carryOut)
	}
	m.scheduleCleaning()
}

// drive runs fn for s in a goroutine of its own, unless one runs under that key.
func (m *Manager) drive(key string, s Session, fn func(context.Context, *driver)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, running := m.drivers[key]; running {
		return
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
		if s.ID != "" {
			m.scheduleCleaning() // the ring may have changed for the last time before this was decided
		}
	})
	if !started {
		cancel()
		delete(m.drivers, key)
	}
}

// carryOut tries the session until it has ended one way or the other.
func (m *Manager) carryOut(ctx context.Context, d *driver) {
	s := d.session
	for wait := newBackoff(50*time.Millisecond, 2*time.Second); ; {
		err := m.attempt(ctx, d)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			return
		}
		m.log.Info("transfer attempt ended", "transfer", s.ID, "partition", s.Partition, "kind", s.Kind, "to", s.To, "err", err)
		d.enter("waiting")
		if !wait.sleep(ctx) {
			return
		}
	}
}

func (m *Manager) attempt(ctx context.Context, d *driver) error {
	s := d.session
	m.mu.Lock()
	_, proposes := m.proposals[s.Partition]
	m.mu.Unlock()
	switch {
	case proposes:
		return m.settle(ctx, d)
	case s.Kind == ring.StepAdd:
		return m.fill(ctx, d)
	}
	return m.hand(ctx, d)
}

// settle proposes the switch and finds out what became of it. Until then the
// gates stay proposed, also over a restart.
func (m *Manager) settle(ctx context.Context, d *driver) error {
	d.enter("proposed")
	s := d.session
	for wait := newBackoff(20*time.Millisecond, time.Second); ; {
		err := m.transfers.Commit(ctx, s)
		committed, known := m.transfers.Outcome(s.ID)
		if err == nil {
			committed, known = true, true
		}
		if known {
			return m.conclude(d, committed)
		}
		m.log.Info("transfer outcome not known yet", "transfer", s.ID, "partition", s.Partition, "err", err)
		if !wait.sleep(ctx) {
			return ctx.Err()
		}
	}
}

// conclude opens or closes the gates for good. The note of a committed session
// stays until the files are gone, so that a restart on an old ring serves nothing.
func (m *Manager) conclude(d *driver, committed bool) error {
	s := d.session
	if committed {
		m.install()
		m.log.Info("partition handed off", "transfer", s.ID, "partition", s.Partition, "kind", s.Kind, "to", s.To,
			"items", d.records.Load(), "bytes", d.bytes.Load(), "elapsed", m.now().Sub(d.begun))
	} else if err := m.journal.DeleteSession(s.ID); err != nil {
		return fmt.Errorf("forget the aborted session: %w", err)
	}
	m.mu.Lock()
	delete(m.proposals, s.Partition)
	m.mu.Unlock()
	r := m.rings.Ring()
	for _, svc := range m.involved(&s, r) {
		v := svc.vnodes[s.Partition].Load()
		if v == nil {
			continue
		}
		v.do(func(v *vnode) {
			m.mu.Lock()
			g := m.slotGate(svc, m.installed, s.Partition)
			m.mu.Unlock()
			v.setGate(g)
			m.tellHandoff(v, s.To, committed)
		})
	}
	return nil
}

// tellHandoff calls the user's hooks. Worker only.
func (m *Manager) tellHandoff(v *vnode, to ring.NodeID, committed bool) {
	user := *v.user.Load()
	if f, ok := user.(HandoffFinisher); ok && committed {
		f.HandoffFinished(to)
	}
	if c, ok := user.(HandoffCanceller); ok && !committed {
		c.HandoffCancelled(to)
	}
}
