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
//     that it may have been stood in for; see absence.go;
//   - what others hold for the slot must have come here; see standin.go.

// claimTimeout is how long the owner, and a member that notes a claim, have to answer.
const claimTimeout = 500 * time.Millisecond

// claim is what this node keeps hints for, of one owner. It is under the manager's mu.
type claim struct {
	held      map[vnodeID]struct{}   // noted: hints may be kept. No hint store is there without its entry here
	sole      map[vnodeID]time.Time  // of held, with one replica: since when nobody else stands in, and what others had is here
	gathering map[vnodeID][]want     // who waits for that
	changes   int                    // times that another node has asked for a slot, or one has left held
	wanted    map[vnodeID][]want     // for the next round
	running   bool                   // a round is under way
	shrunk    bool                   // the note names slots that are held no more
	heard     int                    // times that the owner itself has asked
	told      map[ring.NodeID]uint64 // by member: the note that it has
}

// want is somebody who waits for a slot to be claimed.
type want struct {
	proof bool // with one replica, for hints that another holder hands over: a majority must note it
	sole  bool // to stand in for the owner, whose only replica it is
	done  func(error)
}

// claimOpen tells a member of a holder: OpHolds. The owner answers OwnerUp; so does
// a member that can reach the owner, if Sole asks it to see to that; one that cannot
// answers with the notes that it has of the owner's holders. HandOver asks instead for
// what the member itself holds for a slot.
type claimOpen struct {
	Owner    ring.NodeID `json:"owner"`
	Holder   ring.NodeID `json:"holder"`
	Note     *holderNote `json:"note,omitempty"`
	Sole     bool        `json:"sole,omitempty"`
	HandOver *slotName   `json:"hand_over,omitempty"`
}

// errUnclaimed says that a hint was to be kept for a slot that is not claimed.
var errUnclaimed = errors.New("the slot is not claimed")

// claimOf is this node's claim on owner's slots, made if there is none. m.mu is held.
func (m *Manager) claimOf(owner ring.NodeID) *claim {
	c := m.claims[owner]
	if c == nil {
		c = &claim{
			held: make(map[vnodeID]struct{}), sole: make(map[vnodeID]time.Time), gathering: make(map[vnodeID][]want),
			wanted: make(map[vnodeID][]want), told: make(map[ring.NodeID]uint64),
		}
		m.claims[owner] = c
	}
	return c
}

func holdsSlot(c *claim, id vnodeID) bool {
	_, ok := c.held[id]
	return ok
}

// unhold ends the claim on a slot of which there are no hints. The manager's mu is held.
func (c *claim) unhold(id vnodeID) {
	delete(c.held, id)
	delete(c.sole, id)
	c.changes++
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

// awaitClaim is claimSlot for hints that another holder hands over, and waits.
func (m *Manager) awaitClaim(id vnodeID) error {
	done := make(chan error, 1)
	proof := m.services[id.service].replicas(m.rings.Ring()) == 1
	m.claimSlot(id, want{proof: proof, done: func(err error) { done <- err }})
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
	for _, wants := range wanted {
		answerWants(wants, wire.Errorf(wire.ShuttingDown, "the node is stopping"))
	}
}

func answerWants(wants []want, err error) {
	for _, w := range wants {
		w.done(err)
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
	batch, heard, changes := c.wanted, c.heard, c.changes
	c.wanted, c.shrunk = make(map[vnodeID][]want), false
	named := maps.Clone(c.held)
	sole := false
	for id, wants := range batch {
		named[id] = struct{}{}
		sole = sole || slices.ContainsFunc(wants, func(w want) bool { return w.sole })
	}
	m.mu.Unlock()

	said, err := m.spreadClaim(owner, c, named, sole)
	if len(batch) > 0 && err != nil {
		m.log.Warn("claim of hints not noted", "for", owner, "err", err)
	}
	need := ring.Majority(m.othersOf(owner))
	verdict := func(w want) error {
		switch {
		case err != nil:
			return err
		case w.sole && said.up:
			return wire.Errorf(wire.OwnerUp, "node %s can be reached: nobody stands in for it", owner)
		case (w.sole || w.proof) && said.noted < need:
			return wire.Errorf(wire.Unavailable, "node %s is down, and only %d of %d members could note that this one stands in for it", owner, said.noted, need)
		}
		return nil
	}
	m.mu.Lock()
	said.up = said.up || c.heard != heard
	for id, wants := range batch {
		if slices.ContainsFunc(wants, func(w want) bool { return verdict(w) == nil }) {
			c.held[id] = struct{}{}
		} else {
			c.shrunk = true
		}
	}
	m.mu.Unlock()
	for id, wants := range batch {
		var alone []want
		for _, w := range wants {
			if err := verdict(w); err != nil || !w.sole {
				w.done(err)
				continue
			}
			alone = append(alone, w)
		}
		if len(alone) > 0 {
			m.standAlone(id, c, changes, m.otherHolders(id, said.notes), alone)
		}
	}
	return true
}

// spreadClaim writes down here, then with the members that are up, which slots of
// owner this node keeps hints for. With sole it asks them whether they can reach the
// owner, and for the notes that they have of others.
func (m *Manager) spreadClaim(owner ring.NodeID, c *claim, slots map[vnodeID]struct{}, sole bool) (said claimSaid, err error) {
	id, err := m.clock.Now()
	if err != nil {
		return said, err
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
		return said, err
	}
	said = claimSaid{notes: make(map[ring.NodeID][]*holderNote)}
	if said.add(m.holders.of(owner)); !m.holders.isNewcomer() {
		said.noted = 1
	}
	open := &claimOpen{Owner: owner, Holder: m.node, Note: n, Sole: sole}
	ctx, cancel := context.WithTimeout(m.ctx, 2*claimTimeout)
	defer cancel()
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, node := range m.transfers.Others() {
		if node == owner && !sole || node != owner && !m.cfg.Up(node) {
			continue
		}
		asked.Go(func() {
			known, err := m.tell(ctx, node, open)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && node != owner:
				said.noted++
				said.add(known)
				m.noteTold(c, node, n.ID)
			case err == nil, asError(err).Code == wire.OwnerUp:
				said.up = true
			default:
				m.log.Debug("claim of hints not told", "peer", node, "for", owner, "err", err)
			}
		})
	}
	asked.Wait()
	return said, nil
}

// tell tells node of a holder. It returns the notes that node has of the owner's
// holders, if Sole asks for them.
func (m *Manager) tell(ctx context.Context, node ring.NodeID, open *claimOpen) (notes map[ring.NodeID]*holderNote, err error) {
	if node == open.Owner {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, claimTimeout)
		defer cancel()
	}
	body, err := json.Marshal(open)
	if err != nil {
		return nil, err
	}
	f, err := m.askOnce(ctx, node, wire.OpHolds, body)
	if err == nil && open.Sole {
		err = json.Unmarshal(f.Body, &notes)
	}
	return notes, err
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
	case err != nil || open.Note == nil && open.HandOver == nil || !validNode(open.Owner) || !validNode(open.Holder):
		err = wire.Errorf(wire.BadRequest, "who holds for whom: %v", err)
	case open.HandOver != nil:
		err = m.handOver(ctx, &open)
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
	var known []byte
	if err == nil && m.holders.isNewcomer() {
		err = wire.Errorf(wire.Unavailable, "node %s has just joined and does not know yet what the others have noted", m.node)
	}
	if err == nil && open.Sole {
		known, err = json.Marshal(m.holders.of(open.Owner)) // behind the put: of two claims one hears of the other
	}
	answer.give(f, known, err)
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
		if m.hints[id] == nil && c.gathering[id] == nil {
			c.unhold(id)
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
		if _, err := m.tell(ctx, node, &claimOpen{Owner: owner, Holder: m.node, Note: n}); err == nil {
			m.noteTold(c, node, n.ID)
		}
		cancel()
	}
}
