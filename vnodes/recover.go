package vnodes

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// awaitOthers keeps this node's slots from answering until the other members
// have said for which of them they hold hints, and those have come. With memory
// storage the slots must catch up besides. Called once, before the first install.
func (m *Manager) awaitOthers(r *ring.Ring) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, svc := range m.services {
		n := svc.replicas(r)
		for p := range r.Assignments {
			p := ring.Partition(p)
			if !within(r.Place(p, m.node), n) {
				continue
			}
			id := vnodeID{service: svc.id, partition: p}
			m.waiting[id] = ""
			if m.cfg.Memory && n > 1 {
				m.catchUps[id] = struct{}{}
			}
		}
	}
}

// askForHints asks all members which hints they hold for this node, until nothing
// is to come any more, and lets each slot serve as soon as its hints are here.
func (m *Manager) askForHints() {
	told := make(heldBy)
	for {
		silent, epoch := m.heldForMe(told)
		ctx, cancel := context.WithTimeout(m.ctx, time.Second)
		if err := m.fetch(ctx, epoch); err != nil { // a slot may have gone to another node meanwhile
			m.log.Debug("the others' ring not fetched", "epoch", epoch, "err", err)
		}
		cancel()
		if !m.releaseWaiting(told, silent) {
			break
		}
		if !pause(m.ctx, hintTick/2) {
			return
		}
	}
	m.catchUpFromOthers()
}

// heldBy is what members have said that they hold for this node; true if that is
// damaged.
type heldBy map[ring.NodeID]map[vnodeID]bool

// heldForMe asks all members and updates told, where those keep their place that
// do not answer. It returns these, and the newest epoch heard of.
func (m *Manager) heldForMe(told heldBy) (silent map[ring.NodeID]struct{}, newest ring.Epoch) {
	others := m.transfers.Others()
	before := make(heldBy)
	for node, held := range told {
		before[node] = held
		delete(told, node)
	}
	silent = make(map[ring.NodeID]struct{})
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, node := range others {
		asked.Go(func() {
			ctx, cancel := context.WithTimeout(m.ctx, time.Second)
			defer cancel()
			held, epoch, err := m.askHeld(ctx, node)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				held = before[node]
				silent[node] = struct{}{}
			}
			told[node] = held
			newest = max(newest, epoch)
		})
	}
	asked.Wait()
	return silent, newest
}

// askHeld asks one member.
func (m *Manager) askHeld(ctx context.Context, node ring.NodeID) (map[vnodeID]bool, ring.Epoch, error) {
	pp, err := m.dialPipe(ctx, node, wire.OpHintsFor, 0, 0)
	if err != nil {
		return nil, 0, err
	}
	defer pp.close()
	f, err := pp.ask(0, []byte(m.node), time.Second)
	if err != nil {
		return nil, 0, err
	}
	var list []heldHint
	if err := json.Unmarshal(f.Body, &list); err != nil {
		return nil, 0, err
	}
	held := make(map[vnodeID]bool)
	for _, h := range list {
		held[vnodeID{service: wire.ServiceID(h.Service), partition: h.Partition}] = h.Damaged
	}
	return held, ring.Epoch(f.Epoch), nil
}

// releaseWaiting lets the slots serve for which no hints are to come, and reports
// whether any still waits. With one replica a slot whose hints are with a member
// that has fallen silent must say so instead of "not found"; with more, the other
// replicas know.
func (m *Manager) releaseWaiting(told heldBy, silent map[ring.NodeID]struct{}) (more bool) {
	m.mu.Lock()
	var changed []vnodeID
	for id, why := range m.waiting {
		now, waits := m.hintsToCome(id, told, silent)
		switch {
		case !waits:
			delete(m.waiting, id)
		case now != why:
			m.waiting[id] = now
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

// hintsToCome reports whether slot id must wait for hints, and why that is in vain
// for now if it is. m.mu is held.
func (m *Manager) hintsToCome(id vnodeID, told heldBy, silent map[ring.NodeID]struct{}) (why string, waits bool) {
	for node, held := range told {
		damaged, holds := held[id]
		if !holds {
			continue
		}
		_, gone := silent[node]
		if !gone && !damaged {
			return "", true
		}
		if m.services[id.service].replicas(m.installed) > 1 {
			continue // the other replicas know
		}
		why, waits = fmt.Sprintf("node %s has taken writes for partition %d and cannot be reached", node, id.partition), true
		if !gone {
			why = fmt.Sprintf("node %s has taken writes for partition %d and can no longer read them", node, id.partition)
		}
	}
	return why, waits
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
