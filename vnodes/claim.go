package vnodes

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// A node keeps no hint for a slot before the members that are up have noted, durably,
// that it is going to: so that the owner hears of it whoever of them it asks. This
// is done once for each slot while the owner is away, for all slots that are asked for
// meanwhile in one round.
//
// For a service with one replica the hints are all there is, so a claim is more:
//
//   - a majority of the owner's other members must have noted it, because the owner, when
//     it is back, asks until it has met every such majority;
//   - nobody may reach the owner: not this node, by a connection made for that, nor any
//     of those that note it. The owner has then not answered for claimTimeout, and knows
//     that it may have been stood in for; see absence.go.

// claimTimeout is how long the owner, and a member that notes a claim, have to answer.
const claimTimeout = 500 * time.Millisecond

// claim is what this node keeps hints for, of one owner. It is under the manager's mu.
type claim struct {
	held    map[vnodeID]struct{}   // noted: hints may be kept. No hint store is there without its entry here
	wanted  map[vnodeID][]want     // for the next round
	running bool                   // a round is under way
	shrunk  bool                   // the note names slots that are held no more
	heard   int                    // times that the owner itself has asked
	told    map[ring.NodeID]uint64 // by member: the note that it has
}

// want is somebody who waits for a slot to be claimed.
type want struct {
	sole bool // to stand in for the owner, whose only replica it is
	done func(error)
}

// claimOpen tells a member of a holder: OpHolds. The owner answers OwnerUp; so does
// a member that can reach the owner, if Sole asks it to see to that.
type claimOpen struct {
	Owner  ring.NodeID `json:"owner"`
	Holder ring.NodeID `json:"holder"`
	Note   *holderNote `json:"note"`
	Sole   bool        `json:"sole,omitempty"`
}

// errUnclaimed says that a hint was to be kept for a slot that is not claimed.
var errUnclaimed = errors.New("the slot is not claimed")

// claimOf is this node's claim on owner's slots, made if there is none. m.mu is held.
func (m *Manager) claimOf(owner ring.NodeID) *claim {
	c := m.claims[owner]
	if c == nil {
		c = &claim{held: make(map[vnodeID]struct{}), wanted: make(map[vnodeID][]want), told: make(map[ring.NodeID]uint64)}
		m.claims[owner] = c
	}
	return c
}

func holdsSlot(c *claim, id vnodeID) bool {
	_, ok := c.held[id]
	return ok
}

// releaseSlot ends the claim on a slot whose hints have gone. m.mu is held.
func (m *Manager) releaseSlot(id vnodeID) {
	c := m.claimOf(id.fallback)
	delete(c.held, id)
	c.shrunk = true
}

// claimSlot has the slot id claimed and then calls w.done, once, on any goroutine.
func (m *Manager) claimSlot(id vnodeID, w want) {
	m.mu.Lock()
	c := m.claimOf(id.fallback)
	c.wanted[id] = append(c.wanted[id], w)
	m.mu.Unlock()
	m.runClaims(id.fallback)
}

// awaitClaim is claimSlot, and waits.
func (m *Manager) awaitClaim(id vnodeID) error {
	done := make(chan error, 1)
	m.claimSlot(id, want{done: func(err error) { done <- err }})
	return <-done
}

// runClaims has a goroutine carry out rounds until nobody waits for one, unless
// there is one that does.
func (m *Manager) runClaims(owner ring.NodeID) {
	m.mu.Lock()
	c := m.claims[owner]
	if c == nil || c.running {
		m.mu.Unlock()
		return
	}
	c.running = true
	m.mu.Unlock()
	if m.spawn(func() {
		for m.claimRound(owner, c) {
		}
	}) {
		return
	}
	m.mu.Lock()
	wanted := c.wanted
	c.wanted, c.running = make(map[vnodeID][]want), false // Close has begun
	m.mu.Unlock()
	answerWants(wanted, func(want) error { return wire.Errorf(wire.ShuttingDown, "the node is stopping") })
}

func answerWants(wanted map[vnodeID][]want, verdict func(want) error) {
	for _, wants := range wanted {
		for _, w := range wants {
			w.done(verdict(w))
		}
	}
}

// claimRound notes everything that is held and wanted, here and with the members
// that are up; false if there was nothing to do.
func (m *Manager) claimRound(owner ring.NodeID, c *claim) (more bool) {
	m.mu.Lock()
	if len(c.wanted) == 0 && !c.shrunk {
		c.running = false
		m.mu.Unlock()
		return false
	}
	batch, heard := c.wanted, c.heard
	c.wanted, c.shrunk = make(map[vnodeID][]want), false
	named := maps.Clone(c.held)
	sole := false
	for id, wants := range batch {
		named[id] = struct{}{}
		sole = sole || slices.ContainsFunc(wants, func(w want) bool { return w.sole })
	}
	m.mu.Unlock()

	noted, up, err := m.spreadClaim(owner, c, named, sole)
	need := ring.Majority(m.othersOf(owner))
	verdict := func(w want) error {
		switch {
		case err != nil:
			return err
		case w.sole && up:
			return wire.Errorf(wire.OwnerUp, "node %s can be reached: nobody stands in for it", owner)
		case w.sole && noted < need:
			return wire.Errorf(wire.Unavailable, "node %s is down, and only %d of %d members could note that this one stands in for it", owner, noted, need)
		}
		return nil
	}
	m.mu.Lock()
	up = up || c.heard != heard
	for id, wants := range batch {
		if slices.ContainsFunc(wants, func(w want) bool { return verdict(w) == nil }) {
			c.held[id] = struct{}{}
		} else {
			c.shrunk = true
		}
	}
	m.mu.Unlock()
	answerWants(batch, verdict)
	if len(batch) > 0 && err != nil {
		m.log.Warn("claim of hints not noted", "for", owner, "err", err)
	}
	return true
}

// spreadClaim writes down here, then with the members that are up, which slots of
// owner this node keeps hints for. It returns how many have noted it, this node
// included, and with sole whether anybody can reach the owner.
func (m *Manager) spreadClaim(owner ring.NodeID, c *claim, slots map[vnodeID]struct{}, sole bool) (noted int, up bool, err error) {
	id, err := m.clock.Now()
	if err != nil {
		return 0, false, err
	}
	n := &holderNote{ID: id, Epoch: m.rings.Ring().Epoch, Slots: make(map[string][]ring.Partition)}
	for s := range slots {
		name := m.services[s.service].Name
		n.Slots[name] = append(n.Slots[name], s.partition)
	}
	if len(slots) > 0 {
		err = m.holders.put(owner, m.node, n)
	} else {
		err = m.holders.drop(owner, m.node, n.ID) // those that are not told now ask, and find out
	}
	if err != nil {
		return 0, false, err
	}
	open := &claimOpen{Owner: owner, Holder: m.node, Note: n, Sole: sole}
	ctx, cancel := context.WithTimeout(m.ctx, 2*claimTimeout)
	defer cancel()
	var mu sync.Mutex
	var asked sync.WaitGroup
	noted = 1
	for _, node := range m.transfers.Others() {
		if node == owner && !sole || node != owner && !m.cfg.Up(node) {
			continue
		}
		asked.Go(func() {
			err := m.tell(ctx, node, open)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && node != owner:
				noted++
				m.noteTold(c, node, n.ID)
			case err == nil, asError(err).Code == wire.OwnerUp:
				up = true
			default:
				m.log.Debug("claim of hints not told", "peer", node, "for", owner, "err", err)
			}
		})
	}
	asked.Wait()
	return noted, up, nil
}

// tell tells node of a holder.
func (m *Manager) tell(ctx context.Context, node ring.NodeID, open *claimOpen) error {
	if node == open.Owner {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, claimTimeout)
		defer cancel()
	}
	body, err := json.Marshal(open)
	if err != nil {
		return err
	}
	_, err = m.askOnce(ctx, node, wire.OpHolds, body)
	return err
}

func (m *Manager) noteTold(c *claim, node ring.NodeID, id uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c.told[node] = max(c.told[node], id)
}

// othersOf counts the members besides owner.
func (m *Manager) othersOf(owner ring.NodeID) int {
	n := 1 // this node
	for _, node := range m.transfers.Others() {
		if node != owner {
			n++
		}
	}
	return n
}

// serveHolds notes what a member says of a holder.
func (m *Manager) serveHolds(ctx context.Context, answer *answerer, f *wire.Frame) {
	var open claimOpen
	err := json.Unmarshal(f.Body, &open)
	switch {
	case err != nil || open.Note == nil || !validNode(open.Owner) || !validNode(open.Holder):
		err = wire.Errorf(wire.BadRequest, "who holds for whom: %v", err)
	case open.Owner == m.node:
		m.doubt(m.namedSlots(open.Note))
		err = wire.Errorf(wire.OwnerUp, "")
	case open.Sole && m.reaches(ctx, open.Owner):
		err = wire.Errorf(wire.OwnerUp, "node %s can reach it", m.node)
	case len(open.Note.Slots) == 0:
		err = m.holders.drop(open.Owner, open.Holder, open.Note.ID)
	default:
		err = m.holders.put(open.Owner, open.Holder, open.Note)
	}
	answer.give(f, nil, err)
}

// reaches reports whether node answers this one now.
func (m *Manager) reaches(ctx context.Context, node ring.NodeID) bool {
	if !m.cfg.Up(node) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	_, _, err := m.askHoldings(ctx, node, m.node)
	return err == nil
}

// heardOf notes that owner itself has asked what is held for it: a claim that is
// being made has not found it out of reach.
func (m *Manager) heardOf(owner ring.NodeID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.claims[owner]; c != nil {
		c.heard++
	}
}

// claimsAny reports whether this node holds anything for others, or has still to say
// that it does not any more. m.mu is held.
func (m *Manager) claimsAny() bool {
	for _, c := range m.claims {
		if len(c.held) > 0 || c.running || c.shrunk {
			return true
		}
	}
	return false
}

// tidyClaim gives up what no hints have come for, and tells those who were not up.
func (m *Manager) tidyClaim(owner ring.NodeID) {
	n := m.holders.note(owner, m.node)
	if n == nil {
		return
	}
	m.mu.Lock()
	c := m.claimOf(owner)
	if c.running {
		m.mu.Unlock()
		return
	}
	for id := range c.held {
		if m.hints[id] == nil {
			delete(c.held, id)
			c.shrunk = true
		}
	}
	if len(c.held) == 0 {
		c.shrunk = true // also when an earlier run of this node has left the note
	}
	shrunk, told := c.shrunk, maps.Clone(c.told)
	m.mu.Unlock()
	if shrunk {
		m.runClaims(owner)
		return
	}
	for _, node := range m.transfers.Others() {
		if node == owner || told[node] >= n.ID || !m.cfg.Up(node) {
			continue
		}
		ctx, cancel := context.WithTimeout(m.ctx, claimTimeout)
		if err := m.tell(ctx, node, &claimOpen{Owner: owner, Holder: m.node, Note: n}); err == nil {
			m.noteTold(c, node, n.ID)
		}
		cancel()
	}
}
