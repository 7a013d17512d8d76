package vnodes

import (
	"context"
	"encoding/json"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// A newcomer is a node that has not noted what the members have: it has just joined,
// or lost its files. Claims were told to those who were members then, and a majority
// of now must meet a majority of then. So it counts in none, neither for those who
// claim nor for owners that ask, until it has the notes of a majority of the others.
// Newcomers do not count among those: what a majority had noted is with the rest.

// newcomerKey, in the journal: empty. This node has still to learn the notes.
const newcomerKey = "newcomer"

// beNewcomer notes that this node does not know what the others have noted.
func (h *holders) beNewcomer() error { return h.journal.change(newcomerKey, []byte{}) }

// isNewcomer reports whether that is still so, since a start of this node or an earlier one.
func (h *holders) isNewcomer() bool {
	h.journal.mu.Lock()
	defer h.journal.mu.Unlock()
	_, ok := h.journal.values[newcomerKey]
	return ok
}

// all is every note, by owner and holder.
func (h *holders) all() map[ring.NodeID]map[ring.NodeID]*holderNote {
	known := make(map[ring.NodeID]map[ring.NodeID]*holderNote)
	for _, owner := range h.owners() {
		known[owner] = h.of(owner)
	}
	return known
}

// learnNotes asks the members for their notes until this node is no newcomer any more,
// or Close.
func (m *Manager) learnNotes() {
	for wait := newBackoff(20*time.Millisecond, hintTick); m.holders.isNewcomer(); {
		if m.ring().Epoch > 0 && m.learnOnce() {
			if err := m.holders.journal.change(newcomerKey, nil); err != nil {
				m.log.Warn("not noted that the others' notes are here", "err", err)
			}
		}
		if !wait.sleep(m.ctx) {
			return
		}
	}
}

// learnOnce asks all members once, and reports whether enough have given their notes.
func (m *Manager) learnOnce() bool {
	old, told := 0, 0
	for _, node := range m.transfers.Others() {
		ctx, cancel := context.WithTimeout(m.ctx, claimTimeout)
		known, err := m.askNotes(ctx, node)
		cancel()
		if err == nil {
			err = m.learn(known.All)
		}
		switch {
		case err != nil:
			old++ // who does not answer is taken for one that knows
			m.log.Debug("notes of holders not learned yet", "peer", node, "err", err)
		case !known.Newcomer:
			old++
			told++
		}
	}
	return old == 0 || told >= ring.Majority(old)
}

// askNotes asks a member for all its notes.
func (m *Manager) askNotes(ctx context.Context, node ring.NodeID) (known holdings, err error) {
	body, err := json.Marshal(hintsFor{Asks: m.node})
	if err != nil {
		return known, err
	}
	f, err := m.askOnce(ctx, node, wire.OpHintsFor, body)
	if err != nil {
		return known, err
	}
	return known, json.Unmarshal(f.Body, &known)
}

// learn takes over another member's notes. Of this node's own claims it knows better.
func (m *Manager) learn(all map[ring.NodeID]map[ring.NodeID]*holderNote) error {
	for owner, of := range all {
		for holder, n := range of {
			if holder == m.node || n == nil || !validNode(owner) || !validNode(holder) {
				continue
			}
			if err := m.holders.put(owner, holder, n); err != nil {
				return err
			}
		}
	}
	return nil
}
