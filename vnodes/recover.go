package vnodes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// hintWait is a slot that does not answer, because hints for it may be to come.
type hintWait struct {
	since uint64 // what members have said before this doubt does not count
	begun time.Time
	up    int    // members that were up before this node was away
	all   bool   // so many members must be asked that none of its holders is missed; else only those that are up
	why   string // what the wait is for cannot come, because of this
}

// waitGrace is how long callers are held before they are told that a slot waits in
// vain: members that start together find each other in that time.
const waitGrace = time.Second

// awaitOthers keeps this node's slots from answering until it is known from the
// other members for which of them hints are held, and those have come. With memory
// storage the slots must catch up besides. Called once, before the first install.
func (m *Manager) awaitOthers(r *ring.Ring) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.doubts++
	for _, svc := range m.services {
		n := svc.replicas(r)
		for p := range r.Assignments {
			p := ring.Partition(p)
			if !within(r.Place(p, m.node), n) {
				continue
			}
			id := vnodeID{service: svc.id, partition: p}
			m.waiting[id] = hintWait{since: m.doubts, begun: time.Now(), all: true}
			if m.cfg.Memory && n > 1 {
				m.catchUps[id] = struct{}{}
			}
		}
	}
	m.askAgain()
}

// askAgain has the members asked for hints, at once.
func (m *Manager) askAgain() {
	nudge(m.asking)
}

// askForHints asks the members whenever slots wait, until Close.
func (m *Manager) askForHints() {
	for filling := false; ; {
		select {
		case <-m.asking:
		case <-m.ctx.Done():
			return
		}
		c := &census{said: make(map[ring.NodeID]holdings)}
		for m.askRound(c) {
			if !filling {
				filling = m.spawn(m.catchUpFromOthers) // the others' ring is here
			}
			select {
			case <-m.asking:
			case <-time.After(hintTick / 2):
			case <-m.ctx.Done():
				return
			}
		}
		if !filling {
			filling = m.spawn(m.catchUpFromOthers)
		}
	}
}

// census is what the members have said of who holds hints for this node.
type census struct {
	since  uint64                   // the newest doubt when they were asked
	asked  []ring.NodeID            // the other members
	said   map[ring.NodeID]holdings // their last answers
	silent map[ring.NodeID]struct{} // who has not answered the last question
}

// askRound asks all members once and lets the slots answer for which nothing is to
// come. It reports whether any still waits.
func (m *Manager) askRound(c *census) (more bool) {
	m.mu.Lock()
	more = len(m.waiting) > 0
	c.since = m.doubts
	m.mu.Unlock()
	if !more {
		return false
	}
	epoch := m.ask(c)
	ctx, cancel := context.WithTimeout(m.ctx, time.Second)
	if err := m.fetch(ctx, epoch); err != nil { // a slot may have gone to another node meanwhile
		m.log.Debug("the others' ring not fetched", "epoch", epoch, "err", err)
	}
	cancel()
	return m.releaseWaiting(c)
}

// ask asks all members. It returns the newest epoch heard of.
func (m *Manager) ask(c *census) (newest ring.Epoch) {
	before := c.silent
	c.silent = make(map[ring.NodeID]struct{})
	var mu sync.Mutex
	var asked sync.WaitGroup
	c.asked = m.transfers.Others()
	for _, node := range c.asked {
		limit := time.Second
		if _, silent := before[node]; silent {
			limit /= 4 // those that answer do not wait for it
		}
		asked.Go(func() {
			ctx, cancel := context.WithTimeout(m.ctx, limit)
			defer cancel()
			known, epoch, err := m.askHoldings(ctx, node, m.node)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				c.silent[node] = struct{}{}
				return
			}
			c.said[node] = known
			newest = max(newest, epoch)
		})
	}
	asked.Wait()
	return newest
}

// releaseWaiting lets the slots answer for which no hints are to come, and reports
// whether any still waits.
func (m *Manager) releaseWaiting(c *census) (more bool) {
	m.mu.Lock()
	var changed []vnodeID
	for id, w := range m.waiting {
		why, waits := m.hintsToCome(id, w, c)
		switch {
		case !waits:
			delete(m.waiting, id)
		case why != w.why:
			w.why = why
			m.waiting[id] = w
		default:
			continue
		}
		changed = append(changed, id)
	}
	more = len(m.waiting) > 0
	m.mu.Unlock()
	for _, id := range changed {
		m.regate(m.services[id.service], id.partition)
	}
	return more
}

// hintsToCome reports whether slot id must wait for hints, and why they cannot come,
// if so. With several replicas those that can be had are enough: the other
// replicas know the rest. With one, the slot must say so instead of answering what may
// be outdated: any key's newest version may be the holder's. m.mu is held.
func (m *Manager) hintsToCome(id vnodeID, w hintWait, c *census) (why string, waits bool) {
	svc := m.services[id.service]
	stale := c.since < w.since // they are asked again before the slot answers
	for node, known := range c.said {
		if _, silent := c.silent[node]; silent {
			continue
		}
		if held, damaged := known.holds(svc.Name, id.partition); held && !damaged {
			return "", true
		}
	}
	waited := time.Since(w.begun)
	switch {
	case svc.replicas(m.installed) > 1:
		return "", stale
	case m.cfg.AcceptLoss: // who cannot be reached may be the cause of one doubt after the other
		return "", stale && waited < waitGrace
	}
	if why = m.missed(svc, id.partition, w, c); why == "" {
		return "", stale || m.soleLead() > maxClockAhead && waited < 2*standInLead // see standinstamp.go
	}
	if waited < waitGrace {
		why = ""
	}
	return why, true
}

// missed says which hints for a slot with one replica cannot be had; empty if none
// are known of, and enough members were asked. m.mu is held.
func (m *Manager) missed(svc *service, p ring.Partition, w hintWait, c *census) string {
	for node, known := range c.said {
		held, damaged := known.holds(svc.Name, p)
		_, silent := c.silent[node]
		switch {
		case held && silent:
			return unreachable(node, p)
		case held && damaged:
			return fmt.Sprintf("node %s has taken writes for partition %d and can no longer read them", node, p)
		}
		for holder, n := range known.Notes {
			_, silent := c.silent[holder]
			_, said := c.said[holder]
			left := n.Epoch <= m.installed.Epoch && holder != m.node && !slices.Contains(c.asked, holder)
			if holder != node && (silent || !said) && !left && slices.Contains(n.Slots[svc.Name], p) {
				return unreachable(holder, p)
			}
		}
	}
	others := len(c.asked)
	need := others - ring.Majority(others) + 1 // meets every majority that may have noted a holder
	if !w.all {
		need = min(need, w.up)
	}
	got := others - len(c.silent)
	for node, known := range c.said {
		if _, silent := c.silent[node]; known.Newcomer && !silent {
			got--
		}
	}
	if others > 0 && got < need {
		return fmt.Sprintf("%d of the other %d members must say whether they hold writes for partition %d, and %d can be reached%s", need, others, p, got, lossHint)
	}
	return ""
}

const lossHint = ": start them, or start this node with --accept-loss to do without what they may hold"

func unreachable(node ring.NodeID, p ring.Partition) string {
	return fmt.Sprintf("node %s has taken writes for partition %d and cannot be reached: start it, or start this one with --accept-loss to do without them", node, p)
}

// holds reports whether the member itself holds hints for the slot, and whether they
// are damaged.
func (k *holdings) holds(service string, p ring.Partition) (held, damaged bool) {
	for i := range k.Held {
		if h := &k.Held[i]; h.Partition == p && h.Service == service {
			return true, h.Damaged
		}
	}
	return false, false
}

// catchUpFromOthers fills the slots of a restarted node with memory storage from
// the other replicas, and lets each serve when all of them have given what they
// have. One that is catching up itself has nothing to give; one that cannot be
// reached may be the only one that knows something, so that the slot waits for it.
func (m *Manager) catchUpFromOthers() {
	asked := make(map[vnodeID]map[ring.NodeID]bool)
	for wait := newBackoff(hintTick, 2*time.Second); ; {
		m.mu.Lock()
		left := slices.Collect(maps.Keys(m.catchUps))
		m.mu.Unlock()
		for _, id := range left {
			if asked[id] == nil {
				asked[id] = make(map[ring.NodeID]bool)
			}
			if m.catchUpSlot(id, asked[id]) {
				m.caughtUp(id)
			}
		}
		m.mu.Lock()
		done := len(m.catchUps) == 0
		m.mu.Unlock()
		if done || !wait.sleep(m.ctx) {
			return
		}
	}
}

// catchUpSlot takes the records of the replicas that are not in asked yet, and
// reports whether none is missing.
func (m *Manager) catchUpSlot(id vnodeID, asked map[ring.NodeID]bool) (complete bool) {
	d := &driver{session: Session{Step: ring.Step{Kind: kindCatchUp, Partition: id.partition, To: m.node}}, begun: m.now()}
	svc, r := m.services[id.service], m.ring()
	complete = true
	for _, x := range r.Replicas(id.partition, svc.replicas(r)) {
		if x.Node == m.node || x.CatchingUp || asked[x.Node] {
			continue
		}
		_, err := m.pull(m.ctx, d, x.Node, []*service{svc}, false)
		if err != nil && asError(err).Code != wire.NotReadable {
			m.log.Debug("slot not caught up yet", "partition", id.partition, "from", x.Node, "err", err)
			complete = false
			continue
		}
		asked[x.Node] = true
	}
	return complete
}

// caughtUp lets the slot id serve.
func (m *Manager) caughtUp(id vnodeID) {
	m.mu.Lock()
	delete(m.catchUps, id)
	m.mu.Unlock()
	m.regate(m.services[id.service], id.partition)
}

// CatchingUp counts the slots that are still being filled after a restart with
// memory storage.
func (m *Manager) CatchingUp() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.catchUps)
}
