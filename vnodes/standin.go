package vnodes

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// A node that stands in for the owner of a slot with one replica is the only one that
// does, and has what those before it have taken. It finds out before it answers
// anything, and anew after a restart, since another one may have stood in meanwhile:
//
//	noted by a majority ── others named? ──no──────────────────────→ sole
//	                            │ yes                                  │ asked to hand over,
//	                            └─ each hands over all it has ─────────┘ or delivered: claimed anew
//
// Those that note the claim answer with the notes that they have of others. Two
// majorities meet, so of two claims one hears of the other, and that one has the other
// hand over before it answers: from then on the other has to claim the slot anew. One
// that cannot be reached may have newer writes: then nobody answers for the slot.

const (
	// handOverWait is how long a holder that is asked to hand over lets the other wait;
	// what takes longer goes on, and the other asks again.
	handOverWait = time.Second
	// soleAtLeast is how long a node stands in at least before it hands over: when two are
	// taken for the fallback at the same time, each gets something done.
	soleAtLeast = 200 * time.Millisecond
)

// slotName names a slot of the owner that a message is about.
type slotName struct {
	Service   string         `json:"service"`
	Partition ring.Partition `json:"partition"`
}

// fallbackVnode is the vnode that r is for. With one replica it needs a claim that
// makes this node the only one that stands in: else the error is errUnclaimed.
func (m *Manager) fallbackVnode(svc *service, r *wire.Request) (*vnode, error) {
	p, owner := ring.Partition(r.Partition), ring.NodeID(r.For)
	v, err := m.hintVnode(svc, p, owner, r.Op != wire.OpRead)
	if err != nil {
		return nil, err
	}
	sole := svc.replicas(m.rings.Ring()) == 1 && (r.Op == wire.OpRead || r.Op == wire.OpCommand)
	switch {
	case v == nil && (!sole || !m.Held(owner, svc.id, p)):
		return nil, errPartial // nobody holds anything
	case sole && !m.isSole(vnodeID{service: svc.id, partition: p, fallback: owner}):
		return nil, errUnclaimed
	case v == nil:
		return nil, errPartial
	}
	return v, nil
}

func (m *Manager) isSole(id vnodeID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.claims[id.fallback]
	if c == nil {
		return false
	}
	_, ok := c.sole[id]
	return ok
}

// standAlone has the other holders of slot id hand over what they have, and then
// answers wants. changes is what c counted before the claim was told to anybody.
func (m *Manager) standAlone(id vnodeID, c *claim, changes int, others []ring.NodeID, wants []want) {
	m.mu.Lock()
	waiting, running := c.gathering[id]
	c.gathering[id] = append(waiting, wants...) // if another holder has come since, c counts that
	m.mu.Unlock()
	if running {
		return
	}
	gather := func() {
		err := m.gather(id, others)
		m.mu.Lock()
		switch {
		case err != nil:
		case c.changes != changes || !holdsSlot(c, id):
			err = wire.Errorf(wire.Unavailable, "another node has begun to stand in for node %s too; try again", id.fallback)
		default:
			c.sole[id] = time.Now()
		}
		wants := c.gathering[id]
		delete(c.gathering, id)
		m.mu.Unlock()
		answerWants(wants, err)
	}
	if len(others) == 0 {
		gather()
		return
	}
	if !m.spawn(gather) {
		m.mu.Lock()
		wants := c.gathering[id]
		delete(c.gathering, id)
		m.mu.Unlock()
		answerWants(wants, wire.Errorf(wire.ShuttingDown, "the node is stopping"))
	}
}

// gather has each of the other holders of slot id hand over what it has.
func (m *Manager) gather(id vnodeID, others []ring.NodeID) error {
	errs := make([]error, len(others))
	var asked sync.WaitGroup
	for i, holder := range others {
		asked.Go(func() { errs[i] = m.askToHandOver(id, holder) })
	}
	asked.Wait()
	for i, err := range errs {
		if err == nil || m.cfg.AcceptLoss {
			continue
		}
		m.log.Info("cannot stand in: another node may have newer writes", "for", id.fallback, "partition", id.partition, "peer", others[i], "err", err)
		return err
	}
	return nil
}

func (m *Manager) askToHandOver(id vnodeID, holder ring.NodeID) error {
	if !m.cfg.Up(holder) {
		return wire.Errorf(wire.Unavailable, "%s", unreachable(holder, id.partition))
	}
	ctx, cancel := context.WithTimeout(m.ctx, 2*handOverWait)
	defer cancel()
	slot := &slotName{Service: m.services[id.service].Name, Partition: id.partition}
	body, err := json.Marshal(&claimOpen{Owner: id.fallback, Holder: m.node, HandOver: slot})
	if err != nil {
		return err
	}
	if _, err = m.askOnce(ctx, holder, wire.OpHolds, body); err == nil {
		return nil
	}
	if e := asError(err); e.Code == wire.Unavailable {
		return e // what the holder says
	}
	return wire.Errorf(wire.Unavailable, "%s", unreachable(holder, id.partition))
}

// handOver gives up to another node the slot that this one has stood in for, with all
// that it holds. What comes for it from now on needs a claim again.
func (m *Manager) handOver(ctx context.Context, open *claimOpen) error {
	svc := m.services[wire.ServiceID(open.HandOver.Service)]
	if svc == nil || int(open.HandOver.Partition) >= len(svc.vnodes) {
		return wire.Errorf(wire.BadRequest, "service %s is not registered on node %s", open.HandOver.Service, m.node)
	}
	id := vnodeID{service: svc.id, partition: open.HandOver.Partition, fallback: open.Owner}
	m.mu.Lock()
	c := m.claimOf(open.Owner)
	since, sole := c.sole[id]
	if sole && time.Since(since) < soleAtLeast || c.gathering[id] != nil && m.node < open.Holder {
		m.mu.Unlock()
		return wire.Errorf(wire.Unavailable, "node %s has just begun to stand in for node %s; try again", m.node, open.Owner)
	}
	delete(c.sole, id)
	c.changes++
	v := m.hints[id]
	if v == nil {
		c.unhold(id)
	}
	m.mu.Unlock()
	if v == nil {
		m.runClaims(open.Owner)
		return nil
	}
	done := make(chan error, 1)
	step := ring.Step{Kind: kindHinted, Partition: id.partition, From: m.node, To: open.Holder}
	begun := m.drive(deliveryKey(id), Session{Step: step, Service: svc.Name}, func(ctx context.Context, d *driver) {
		v.do(func(v *vnode) { v.change(serving, proposed) }) // it answers nothing that the other might have replaced
		err := m.deliver(ctx, d, v, modeKeep)
		v.do(func(v *vnode) { v.change(proposed, serving) })
		done <- err
	})
	if !begun {
		return wire.Errorf(wire.Unavailable, "node %s is busy with its writes for partition %d; try again", m.node, id.partition)
	}
	ctx, cancel := context.WithTimeout(ctx, handOverWait)
	defer cancel()
	select {
	case err := <-done:
		if err != nil {
			err = wire.Errorf(wire.Unavailable, "node %s could not hand over its writes for partition %d: %v", m.node, id.partition, err)
		}
		return err
	case <-ctx.Done():
		return wire.Errorf(wire.Unavailable, "node %s is handing over its writes for partition %d; try again", m.node, id.partition)
	}
}

// claimSaid is what the members have said to a claim.
type claimSaid struct {
	noted int                           // how many have noted it, this node included
	up    bool                          // somebody can reach the owner
	notes map[ring.NodeID][]*holderNote // by holder: what they and this node know of the owner's others
}

func (s *claimSaid) add(notes map[ring.NodeID]*holderNote) {
	for holder, n := range notes {
		s.notes[holder] = append(s.notes[holder], n)
	}
}

// otherHolders are the nodes besides this one that notes name as holders for slot id,
// but for those that have left. m.mu is not held.
func (m *Manager) otherHolders(id vnodeID, notes map[ring.NodeID][]*holderNote) (others []ring.NodeID) {
	name := m.services[id.service].Name
	for holder, of := range notes {
		if holder == m.node || holder == id.fallback {
			continue
		}
		if slices.ContainsFunc(of, func(n *holderNote) bool {
			return slices.Contains(n.Slots[name], id.partition) && (m.isMember(holder) || n.Epoch > m.ring().Epoch)
		}) {
			others = append(others, holder)
		}
	}
	slices.Sort(others)
	return others
}

// deliveryKey is under which the hints for slot id are driven to wherever they go.
func deliveryKey(id vnodeID) string {
	return fmt.Sprintf("hint-%d-%d-%s", id.service, id.partition, id.fallback)
}
