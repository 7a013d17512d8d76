package vnodes

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// holders is what this node knows of who keeps hints for whom, itself included. A
// note is durable before it counts; see claim.go for how it comes about.
type holders struct {
	journal *Journal
	known   atomic.Int32 // notes: 0 spares requests a lock

	writing sync.Mutex // held while a note is made durable, so that an older one never follows a newer

	mu    sync.RWMutex                                // held for map operations
	notes map[ring.NodeID]map[ring.NodeID]*holderNote // by owner and holder; a note is never changed
}

func newHolders(j *Journal) (*holders, error) {
	notes, err := j.holders()
	if err != nil {
		return nil, err
	}
	h := &holders{journal: j, notes: notes}
	for _, of := range notes {
		h.known.Add(int32(len(of)))
	}
	return h, nil
}

// put makes n the holder's note for owner, unless there is one as new.
func (h *holders) put(owner, holder ring.NodeID, n *holderNote) error {
	h.writing.Lock()
	defer h.writing.Unlock()
	if have := h.note(owner, holder); have != nil && have.ID >= n.ID {
		return nil
	}
	if err := h.journal.putHolder(owner, holder, n); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	of := h.notes[owner]
	if of == nil {
		of = make(map[ring.NodeID]*holderNote)
		h.notes[owner] = of
	}
	if of[holder] == nil {
		h.known.Add(1)
	}
	of[holder] = n
	return nil
}

// drop forgets the holder's note for owner, unless there is a newer one than id.
func (h *holders) drop(owner, holder ring.NodeID, id uint64) error {
	h.writing.Lock()
	defer h.writing.Unlock()
	if have := h.note(owner, holder); have == nil || have.ID > id {
		return nil
	}
	if err := h.journal.deleteHolder(owner, holder); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if delete(h.notes[owner], holder); len(h.notes[owner]) == 0 {
		delete(h.notes, owner)
	}
	h.known.Add(-1)
	return nil
}

// note is the holder's note for owner; nil if there is none.
func (h *holders) note(owner, holder ring.NodeID) *holderNote {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.notes[owner][holder]
}

// of is a copy of the notes about owner, by holder.
func (h *holders) of(owner ring.NodeID) map[ring.NodeID]*holderNote {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return maps.Clone(h.notes[owner])
}

// owners are the nodes of which there are notes.
func (h *holders) owners() []ring.NodeID {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Collect(maps.Keys(h.notes))
}

// names reports whether some note names the slot of owner.
func (h *holders) names(owner ring.NodeID, service string, p ring.Partition) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, n := range h.notes[owner] {
		if slices.Contains(n.Slots[service], p) {
			return true
		}
	}
	return false
}

// Held reports whether some node may hold hints for owner's slot of p, as far as
// this one has been told. It is cheap, and may be called from any goroutine.
func (m *Manager) Held(owner ring.NodeID, service uint32, p ring.Partition) bool {
	if m.holders.known.Load() == 0 {
		return false
	}
	svc := m.services[service]
	return svc != nil && m.holders.names(owner, svc.Name, p)
}

// holdings answers OpHintsFor: what is held for one owner, as one member knows it.
type holdings struct {
	Held  []heldHint                  `json:"held,omitempty"`  // by the member itself
	Notes map[ring.NodeID]*holderNote `json:"notes,omitempty"` // by holder: what the member has noted, its own note included

	All      map[ring.NodeID]map[ring.NodeID]*holderNote `json:"all,omitempty"`      // by owner, for who asks about none
	Newcomer bool                                        `json:"newcomer,omitempty"` // the member does not know what the others have noted
}

// heldHint says that a node holds hints for a slot.
type heldHint struct {
	Service   string         `json:"service"`
	Partition ring.Partition `json:"partition"`
	Damaged   bool           `json:"damaged,omitempty"` // some of them cannot be read: they will not come
}

// hintsFor is the body of OpHintsFor.
type hintsFor struct {
	Owner ring.NodeID `json:"owner"` // empty: about all, asked by a newcomer
	Asks  ring.NodeID `json:"asks"`  // the owner itself, or a member that looks whether its note still holds
}

// serveHintsFor lists what is held for a node.
func (m *Manager) serveHintsFor(answer *answerer, f *wire.Frame) {
	var ask hintsFor
	if err := json.Unmarshal(f.Body, &ask); err != nil {
		answer.fail(f, wire.Errorf(wire.BadRequest, "%v", err))
		return
	}
	if ask.Asks == ask.Owner {
		m.heardOf(ask.Owner) // before the answer is made up
	}
	body, err := json.Marshal(m.holdingsFor(ask.Owner))
	answer.give(f, body, err)
}

func (m *Manager) holdingsFor(owner ring.NodeID) holdings {
	known := holdings{Newcomer: m.holders.isNewcomer()} // first: what it learns meanwhile does no harm
	if owner == "" {
		known.All = m.holders.all()
		return known
	}
	known.Notes = m.holders.of(owner)
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.claims[owner]
	if c == nil {
		return known
	}
	for id := range c.held {
		v := m.hints[id]
		damaged := v != nil && (v.check() != nil || m.faults.has(v.name))
		known.Held = append(known.Held, heldHint{Service: m.services[id.service].Name, Partition: id.partition, Damaged: damaged})
	}
	return known
}

// askHoldings asks one member what is held for owner.
func (m *Manager) askHoldings(ctx context.Context, node, owner ring.NodeID) (holdings, ring.Epoch, error) {
	var known holdings
	body, err := json.Marshal(hintsFor{Owner: owner, Asks: m.node})
	if err != nil {
		return known, 0, err
	}
	f, err := m.askOnce(ctx, node, wire.OpHintsFor, body)
	if err != nil {
		return known, 0, err
	}
	return known, ring.Epoch(f.Epoch), json.Unmarshal(f.Body, &known)
}

// askOnce opens a stream for one question, whose answer is awaited until ctx ends.
func (m *Manager) askOnce(ctx context.Context, node ring.NodeID, op wire.Op, body []byte) (wire.Frame, error) {
	pp, err := m.dialPipe(ctx, node, op, 0, 0)
	if err != nil {
		return wire.Frame{}, err
	}
	defer pp.close()
	return pp.ask(0, body, pipeTimeout)
}

// tendHolders looks after the notes until Close: it tells those who were down of
// the claims of this node, tells owners that are back, and forgets what is over.
func (m *Manager) tendHolders() {
	m.mu.Lock()
	found := slices.Collect(maps.Keys(m.claims)) // whose hints an earlier run has left
	for _, owner := range found {
		m.claims[owner].shrunk = true
	}
	m.mu.Unlock()
	for _, owner := range found {
		m.runClaims(owner)
	}
	for pause(m.ctx, hintTick) {
		if m.holders.known.Load() == 0 || m.ring().Epoch == 0 {
			continue
		}
		for _, owner := range m.holders.owners() {
			m.tidyClaim(owner)
			for holder, n := range m.holders.of(owner) {
				m.tendNote(owner, holder, n)
			}
		}
	}
}

// tendNote forgets a note when its holder holds nothing any more, or one of the two
// is no member any longer; else it tells the owner, if that is up.
func (m *Manager) tendNote(owner, holder ring.NodeID, n *holderNote) {
	ctx, cancel := context.WithTimeout(m.ctx, time.Second)
	defer cancel()
	over := holder != m.node && m.ring().Epoch >= n.Epoch && !(m.isMember(owner) && m.isMember(holder))
	if holder != m.node && !over && m.cfg.Up(holder) {
		known, _, err := m.askHoldings(ctx, holder, owner)
		over = err == nil && known.Notes[holder] == nil
	}
	if over {
		if err := m.holders.drop(owner, holder, n.ID); err != nil {
			m.log.Warn("note of a holder not deleted", "node", holder, "for", owner, "err", err)
		}
		return
	}
	if m.cfg.Up(owner) && m.sole(n) {
		_, _ = m.tell(ctx, owner, &claimOpen{Owner: owner, Holder: holder, Note: n}) // again in a moment
	}
}

// sole reports whether n names a slot of a service with one replica: its owner
// cannot do without what is held.
func (m *Manager) sole(n *holderNote) bool {
	r := m.rings.Ring()
	for name := range n.Slots {
		if svc := m.services[wire.ServiceID(name)]; svc != nil && svc.replicas(r) == 1 {
			return true
		}
	}
	return false
}

func (m *Manager) isMember(node ring.NodeID) bool {
	return node == m.node || slices.Contains(m.transfers.Others(), node)
}
