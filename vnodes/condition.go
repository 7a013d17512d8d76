package vnodes

import (
	"cmp"
	"maps"
	"slices"

	"github.com/ringcore/ringcore/metadata/ring"
)

// Condition is what an operator should know of this node's vnodes; nothing, when all is well.
type Condition struct {
	Hints []HeldHints   `json:"hints,omitempty"` // by node
	Slots []SilentSlots `json:"slots,omitempty"` // by service, state and reason
}

// HeldHints are the hints that this node keeps for another one.
type HeldHints struct {
	For     ring.NodeID `json:"for"`
	Slots   int         `json:"slots"`
	Records int64       `json:"records"` // as far as they can be read
}

// SilentSlots are slots of this node that answer no read now, for one and the same reason.
type SilentSlots struct {
	Service    string           `json:"service"`
	State      string           `json:"state"` // catching up, waiting or lost
	Reason     string           `json:"reason,omitempty"`
	Partitions []ring.Partition `json:"partitions"` // ascending
}

// Lacks reports whether records may be missing in s: elsewhere they are needed.
func (s *SilentSlots) Lacks() bool { return s.State == catching.silence() || s.State == lost.silence() }

// Condition looks at all vnodes that are open: one that is not has nothing to tell.
func (m *Manager) Condition() Condition {
	hints := make(map[ring.NodeID]HeldHints)
	type cause struct{ service, state, reason string }
	silent := make(map[cause][]ring.Partition)
	for _, v := range m.open() {
		if node := v.id.fallback; node != "" {
			h := hints[node]
			h.For = node
			h.Slots++
			if v.check() == nil {
				h.Records += v.store.Digest().Records
			}
			hints[node] = h
			continue
		}
		g := v.gate.Load()
		if state := g.phase.silence(); state != "" {
			at := cause{v.svc.Name, state, g.reason}
			silent[at] = append(silent[at], v.id.partition)
		}
	}
	var c Condition
	for _, node := range slices.Sorted(maps.Keys(hints)) {
		c.Hints = append(c.Hints, hints[node])
	}
	for at, partitions := range silent {
		slices.Sort(partitions)
		c.Slots = append(c.Slots, SilentSlots{at.service, at.state, at.reason, partitions})
	}
	slices.SortFunc(c.Slots, func(a, b SilentSlots) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.State, b.State), cmp.Compare(a.Reason, b.Reason))
	})
	return c
}

// silence is why a slot in phase p answers no read, in a word; empty if it does, or does again
// within a moment.
func (p phase) silence() string {
	switch p {
	case catching:
		return "catching up"
	case recovering:
		return "waiting"
	case lost:
		return "lost"
	}
	return ""
}
