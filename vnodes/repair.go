package vnodes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// repair is a slot whose file is damaged and that is rebuilt from the partition's
// other replicas:
//
//	found ─another replica serves─→ aside ─file renamed─→ filled ─all others asked─→ serving
//
// From aside on it is noted in the journal, and the slot is catching.
type repair struct {
	svc    *service
	id     vnodeID
	name   string // of the slot's file
	reason string
	since  time.Time

	stage       repairStage // Manager.mu guards this and what follows up to salvaged
	still       func() bool // whether the file is still the damaged one
	again       bool        // the new file is damaged too
	quarantined bool        // there may be a file aside
	salvaged    bool        // what could be read of the damaged file is in the new one

	aside   *aside // the driver's, like what follows; nil if it is of an earlier run
	settled time.Time
	asked   map[ring.NodeID]bool // replicas whose records are here
	whole   bool                 // one of those was whole itself
}

// errNobody says that a slot cannot be rebuilt for now.
var errNobody = errors.New("no other replica serves the partition")

// beginRepair starts the rebuilding of slot id, unless that is under way.
func (m *Manager) beginRepair(svc *service, id vnodeID, r report) {
	m.mu.Lock()
	if have := m.repairs[id]; have != nil {
		if have.stage == repairFilled {
			have.again, have.still = true, r.still
		}
		m.mu.Unlock()
		return
	}
	x := &repair{svc: svc, id: id, name: r.name, reason: r.err.Error(), since: m.now(), still: r.still}
	m.repairs[id] = x
	m.mu.Unlock()
	m.driveRepair(x)
}

// resumeRepairs takes up what an earlier run was about, before the first ring is
// installed, and deletes quarantined files that nobody needs any more.
func (m *Manager) resumeRepairs() ([]*repair, error) {
	notes, err := m.journal.repairs()
	if err != nil {
		return nil, err
	}
	asides, err := m.disk.asides()
	if err != nil {
		return nil, err
	}
	for _, name := range asides {
		if _, noted := notes[name]; noted {
			continue
		}
		if err := m.disk.removeAside(name); err != nil {
			return nil, fmt.Errorf("remove a quarantined file: %w", err)
		}
	}
	var all []*repair
	for name, n := range notes {
		svc, id, ok := m.named(name)
		if !ok {
			continue // of a service that is not registered in this run
		}
		x := &repair{
			svc: svc, id: id, name: name, reason: n.Reason, since: n.Since, stage: n.Stage, quarantined: true,
			still: func() bool { return true },
		}
		m.repairs[id] = x
		m.faults.add(Fault{
			Service: svc.Name, Partition: id.partition, File: name, State: FaultRebuilding, Reason: n.Reason, Since: n.Since,
		}, x.still)
		all = append(all, x)
	}
	return all, nil
}

func (m *Manager) driveRepair(x *repair) {
	key := fmt.Sprintf("repair-%d-%d-%d", x.id.service, x.id.partition, m.repairNo.Add(1))
	step := ring.Step{Kind: kindRepair, Partition: x.id.partition, To: m.node}
	m.drive(key, Session{Step: step}, func(ctx context.Context, d *driver) {
		for wait := newBackoff(50*time.Millisecond, 2*time.Second); ; {
			done, err := m.repairOnce(ctx, d, x)
			if done || ctx.Err() != nil {
				return
			}
			if err != nil {
				m.faults.failed.Add(1)
				m.log.Info("slot not rebuilt yet", "service", x.svc.Name, "partition", x.id.partition, "err", err)
			}
			d.enter("waiting")
			if !wait.sleep(ctx) {
				return
			}
		}
	})
}

// repairOnce goes as far as it can; done when there is nothing more to do.
func (m *Manager) repairOnce(ctx context.Context, d *driver, x *repair) (done bool, err error) {
	r := m.ring()
	switch {
	case r.Epoch == 0:
		return false, errors.New("no ring is in force yet")
	case !within(r.Place(x.id.partition, m.node), x.svc.replicas(r)):
		return m.endRepair(x, true)
	}
	stage, again := m.stageOf(x)
	if stage == repairFound {
		if !x.still() {
			return m.endRepair(x, false) // the file has been replaced meanwhile
		}
		d.enter("confirm")
		if err := m.othersServe(ctx, r, x); err != nil {
			return false, err
		}
	}
	if stage != repairFilled || again {
		d.enter("quarantine")
		if gone, err := m.setAside(x); gone || err != nil {
			return false, err
		}
	}
	d.enter("salvage")
	if err := m.salvage(x, d); err != nil {
		return false, err
	}
	d.enter("settle")
	if !pause(ctx, time.Until(x.settled)) {
		return false, ctx.Err()
	}
	d.enter("fill")
	if err := m.refill(ctx, d, x); err != nil {
		return false, err
	}
	if err := m.passed(wire.RepairWhole); err != nil {
		return false, err
	}
	if _, again := m.stageOf(x); again {
		return false, fmt.Errorf("the new file is damaged too: %w", ErrCorrupt)
	}
	return m.endRepair(x, false)
}

func (m *Manager) stageOf(x *repair) (s repairStage, again bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return x.stage, x.again
}

// othersServe reports nil if at least one other replica serves the partition, with
// a file that it can open and that is not known to be damaged. Else the slot keeps
// what it has: its undamaged records may be all that is left.
func (m *Manager) othersServe(ctx context.Context, r *ring.Ring, x *repair) error {
	err := errNobody
	for _, y := range r.Replicas(x.id.partition, x.svc.replicas(r)) {
		if y.Node == m.node || y.CatchingUp || !m.cfg.Up(y.Node) {
			continue
		}
		no := m.confirm(ctx, x.svc, r, x.id.partition, y.Node)
		if no == nil {
			return nil
		}
		err = fmt.Errorf("%w: %s: %w", errNobody, y.Node, no)
	}
	return err
}

// refill takes the records of all other replicas. One that is catching up itself
// gives what it has, and does not count as whole; one that cannot be reached may be
// the only one that knows something, so that the slot waits for it.
func (m *Manager) refill(ctx context.Context, d *driver, x *repair) error {
	r := m.ring()
	p := x.id.partition
	if _, werr := m.openSlot(x.svc, p, 0); werr != nil {
		return werr
	}
	var missing error
	for _, y := range r.Replicas(p, x.svc.replicas(r)) {
		if y.Node == m.node || x.asked[y.Node] {
			continue
		}
		whole, err := m.pull(ctx, d, y.Node, []*service{x.svc}, true)
		if err != nil {
			missing = fmt.Errorf("from %s: %w", y.Node, err)
			continue
		}
		x.asked[y.Node] = true
		x.whole = x.whole || whole
	}
	switch {
	case missing != nil:
		return missing
	case !x.whole:
		clear(x.asked)
		return fmt.Errorf("%w: all that have answered are incomplete themselves", errNobody)
	}
	return nil
}

// endRepair forgets the repair: the slot is whole again, or is not this node's any
// more, and lets it serve.
func (m *Manager) endRepair(x *repair, gone bool) (done bool, err error) {
	m.installMu.Lock()
	defer m.installMu.Unlock()
	r := m.ring()
	if isGone := !within(r.Place(x.id.partition, m.node), x.svc.replicas(r)); isGone != gone {
		return false, errors.New("the ring has changed meanwhile")
	}
	m.mu.Lock()
	stage := x.stage
	m.mu.Unlock()
	if stage != repairFound {
		if gone {
			if err := m.hold(r.Epoch); err != nil {
				return false, err
			}
		}
		if err := errors.Join(m.journal.deleteRepair(x.name), m.passed(wire.RepairEnded)); err != nil {
			return false, err
		}
	}
	m.mu.Lock()
	delete(m.repairs, x.id)
	m.mu.Unlock()
	m.faults.clear(x.name)
	m.regate(x.svc, x.id.partition)
	if stage == repairFound {
		return true, nil
	}
	if err := m.disk.removeAside(x.name); err != nil { // the next start tries again
		m.log.Warn("quarantined file not removed", "service", x.svc.Name, "partition", x.id.partition, "err", err)
	}
	if !gone {
		m.log.Warn("slot rebuilt", "service", x.svc.Name, "partition", x.id.partition, "elapsed", m.now().Sub(x.since))
		m.faults.rebuilt.Add(1)
	}
	return true, nil
}
