package vnodes

import (
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// A node that was stopped, starved or cut off for a while may have been stood in for,
// and would answer old values for slots with one replica. It learns of it before it
// answers:
//
//   - it has not run itself (SIGSTOP, a machine that was paused): the beat is late, which
//     every request for such a slot checks. A fallback takes nothing before the owner has
//     left a question unanswered for claimTimeout, which is longer than absentAfter;
//   - it was cut off: every member that has noted a holder says so with each request that
//     it passes on (FlagHeld), and as soon as it reaches the owner again (OpHolds).
//
// Then the slots wait, as after a restart, until the members have been asked.

const (
	beatEvery   = 100 * time.Millisecond
	absentAfter = 400 * time.Millisecond // without a beat: this node may have been stood in for
)

// watchAbsence beats until Close.
func (m *Manager) watchAbsence() {
	for pause(m.ctx, beatEvery) {
		m.beat()
	}
}

// beat notes that this node runs. If it has not for a while, its slots with one
// replica are in doubt before anybody sees that it does again.
func (m *Manager) beat() {
	m.beatMu.Lock()
	defer m.beatMu.Unlock()
	now := time.Since(m.born)
	if gap := now - time.Duration(m.beaten.Load()); gap > absentAfter {
		m.log.Info("this node did not run for a while; it asks the others whether they have stood in for it", "elapsed", gap)
		m.doubt(m.soleSlots())
	}
	up := int32(0)
	for _, node := range m.transfers.Others() {
		if m.cfg.Up(node) {
			up++
		}
	}
	m.upBefore.Store(up)
	m.beaten.Store(int64(now))
}

// noticeAbsence puts the slot that r is for in doubt if this node was away, or r's
// sender says that another may have stood in for it.
func (m *Manager) noticeAbsence(svc *service, r *wire.Request) {
	if r.Flags&wire.FlagFallback != 0 || svc.replicas(m.rings.Ring()) != 1 {
		return
	}
	m.noticeGap()
	if r.Flags&wire.FlagHeld != 0 {
		m.doubt([]vnodeID{{service: svc.id, partition: ring.Partition(r.Partition)}})
	}
}

// noticeGap beats if that is late.
func (m *Manager) noticeGap() {
	if time.Since(m.born)-time.Duration(m.beaten.Load()) > absentAfter {
		m.beat()
	}
}

// doubted reports whether the slot has come into doubt since its gate was made: then the
// gate counts no more.
func (v *vnode) doubted() bool { return v.doubts.Load() != v.heeded.Load() }

// heedDoubt makes the gate anew if the slot has come into doubt. Until that is done nobody
// may take the slot for undoubted; a doubt that comes meanwhile is heeded next. Worker only.
func (v *vnode) heedDoubt() {
	if doubts := v.doubts.Load(); doubts != v.heeded.Load() {
		v.regate()
		v.heeded.Store(doubts)
	}
}

// doubt has the slots, those of them that are this node's and have one replica, ask
// the members before they answer anything that comes from now on.
func (m *Manager) doubt(ids []vnodeID) {
	var inDoubt []vnodeID
	m.mu.Lock()
	m.doubts++
	for _, id := range ids {
		svc, r := m.services[id.service], m.installed
		if svc.replicas(r) != 1 || r.Place(id.partition, m.node) != 0 {
			continue
		}
		w, waits := m.waiting[id]
		if !waits {
			w.begun = time.Now()
		}
		w.since = m.doubts
		w.up = max(w.up, int(m.upBefore.Load()))
		m.waiting[id] = w
		inDoubt = append(inDoubt, id)
	}
	m.mu.Unlock()
	for _, id := range inDoubt {
		if v := m.services[id.service].vnodes[id.partition].Load(); v != nil {
			v.doubts.Add(1)
		}
	}
	if len(inDoubt) > 0 {
		m.askAgain()
	}
}

// soleSlots are the slots of services with one replica, whoever has them.
func (m *Manager) soleSlots() (ids []vnodeID) {
	r := m.rings.Ring()
	for _, svc := range m.services {
		if svc.replicas(r) != 1 {
			continue
		}
		for p := range svc.vnodes {
			ids = append(ids, vnodeID{service: svc.id, partition: ring.Partition(p)})
		}
	}
	return ids
}

// namedSlots are the slots that n names, of services that are known here.
func (m *Manager) namedSlots(n *holderNote) (ids []vnodeID) {
	for name, list := range n.Slots {
		svc := m.services[wire.ServiceID(name)]
		if svc == nil {
			continue
		}
		for _, p := range list {
			if int(p) < len(svc.vnodes) {
				ids = append(ids, vnodeID{service: svc.id, partition: p})
			}
		}
	}
	return ids
}
