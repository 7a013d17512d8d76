package vnodes

import "time"

// The stamps of fallbacks. One that stands in for the owner of a slot with one replica
// has not got the owner's records, and must stamp above them: so it stamps ahead of all
// clocks. These stamps move no node's clock. They stay in the slot that they were made
// for, and whoever has it passes them record by record: a clock that followed them
// would stamp other services' writes ahead of what their other replicas may take.
//
// An owner that gets such records waits until the clocks have nearly overtaken them. So
// what it writes above them is never further ahead than what it writes by its own clock
// may be, and the next fallback stamps above that too.

// standInLead is by how much a fallback's stamps are ahead of the wall clock. It knows
// nothing of the owner's, which follow clocks that are ahead by maxClockAhead at most,
// and these may be as much ahead of each other: what it acknowledges must not count as
// older than what the owner has.
const standInLead = 2 * maxClockAhead

// standInStamp is a stamp, newer than have, for a write that this node takes as a
// fallback. It leaves the node's own clock where it is: else each fallback would drive
// the others further ahead.
func (m *Manager) standInStamp(have Stamp, id uint64) (Stamp, error) {
	t, err := m.clock.Now()
	if err != nil {
		return Stamp{}, err
	}
	m.standInMu.Lock()
	defer m.standInMu.Unlock()
	m.standIn = max(t, clockTime(m.now())+clockSpan(standInLead), m.standIn+1)
	at, err := after(have.Time, m.standIn)
	return Stamp{Time: at, Node: m.nodeBits, ID: id}, err
}

// soleStamp is a stamp, newer than have, for a write to a slot with one replica. A
// fallback's may be what it has to pass: that is done for this record alone.
func (m *Manager) soleStamp(have Stamp, id uint64) (Stamp, error) {
	t, err := m.clock.Now()
	if err == nil {
		t, err = after(have.Time, t)
	}
	return Stamp{Time: t, Node: m.nodeBits, ID: id}, err
}

// follow moves the clock past a time met in records of svc, unless a fallback's may be
// among them.
func (m *Manager) follow(svc *service, t uint64) {
	if svc.replicas(m.rings.Ring()) == 1 {
		m.noteSole(t)
		return
	}
	m.clock.ObserveTrusted(t)
}

// noteSole notes a time met in records of a service with one replica. One that is
// further ahead than a clock is ever moved is passed where it is met, by after: the
// others need not wait for it.
func (m *Manager) noteSole(t uint64) {
	for t <= clockTime(m.now())+clockSpan(farAhead) {
		have := m.soleTime.Load()
		if t <= have || m.soleTime.CompareAndSwap(have, t) {
			return
		}
	}
}

// soleLead is how far the newest time that was met so is ahead of the wall clock; 0 if
// it is not.
func (m *Manager) soleLead() time.Duration {
	met, wall := m.soleTime.Load(), clockTime(m.now())
	if met <= wall {
		return 0
	}
	return time.Duration((met-wall)>>16+1) * time.Millisecond
}
