package ring

import (
	"fmt"
	"slices"
)

// StepKind says how a Step changes a list.
type StepKind string

// The kinds of steps.
const (
	StepMove StepKind = "move" // Slot goes from From to To, which is not in the list
	StepSwap StepKind = "swap" // From in Slot and To in Other, Slot < Other, change places
	StepAdd  StepKind = "add"  // To is appended at Slot; it catches up until the step is committed
	StepDrop StepKind = "drop" // From in the last place, Slot, goes away
)

// Step is the smallest change of one partition's list. A list changes by one
// step at a time.
type Step struct {
	Kind      StepKind  `json:"kind"`
	Partition Partition `json:"partition"`
	Slot      int       `json:"slot"`
	Other     int       `json:"other,omitempty"` // swap only
	From      NodeID    `json:"from,omitempty"`  // empty for add
	To        NodeID    `json:"to,omitempty"`    // empty for drop
}

// String is s in words, for logs and error messages.
func (s Step) String() string {
	switch s.Kind {
	case StepMove:
		return fmt.Sprintf("move slot %d of partition %d from %s to %s", s.Slot, s.Partition, s.From, s.To)
	case StepSwap:
		return fmt.Sprintf("swap slots %d (%s) and %d (%s) of partition %d", s.Slot, s.From, s.Other, s.To, s.Partition)
	case StepAdd:
		return fmt.Sprintf("add slot %d of partition %d on %s", s.Slot, s.Partition, s.To)
	case StepDrop:
		return fmt.Sprintf("drop slot %d of partition %d from %s", s.Slot, s.Partition, s.From)
	}
	return fmt.Sprintf("step of unknown kind %q", string(s.Kind))
}

// NextStep is the next change that leads p's list to target, and false when there
// is none: the list is at its target, has a place that is still catching up, or
// target is empty. It adds first, so that a list is never shorter than it must
// be, then moves, then swaps, then drops from the end.
func NextStep(p Partition, list []Replica, target []NodeID) (Step, bool) {
	if len(target) == 0 || slices.ContainsFunc(list, func(x Replica) bool { return x.CatchingUp }) {
		return Step{}, false
	}
	missing := slices.DeleteFunc(slices.Clone(target), func(n NodeID) bool { return placeIn(list, n) >= 0 })
	switch {
	case len(missing) > 0 && len(list) < len(target):
		return addStep(p, list, target, missing), true
	case len(missing) > 0:
		return moveStep(p, list, target, missing), true
	}
	if s, ok := swapStep(p, list, target); ok {
		return s, true
	}
	if last := len(list) - 1; last >= len(target) {
		return Step{Kind: StepDrop, Partition: p, Slot: last, From: list[last].Node}, true
	}
	return Step{}, false
}

// placeIn is node's place in list, -1 if it has none.
func placeIn(list []Replica, node NodeID) int {
	return slices.IndexFunc(list, func(x Replica) bool { return x.Node == node })
}

// addStep appends the node that target wants in the next place, else the first that is missing.
func addStep(p Partition, list []Replica, target, missing []NodeID) Step {
	to := missing[0]
	if want := target[len(list)]; slices.Contains(missing, want) {
		to = want
	}
	return Step{Kind: StepAdd, Partition: p, Slot: len(list), To: to}
}

// moveStep gives the place of a node that must go to one that must come, to the
// very node that target wants there if possible: that saves a swap.
func moveStep(p Partition, list []Replica, target, missing []NodeID) Step {
	step := Step{Kind: StepMove, Partition: p, Slot: -1}
	for s, x := range list {
		if slices.Contains(target, x.Node) {
			continue
		}
		if s < len(target) && slices.Contains(missing, target[s]) {
			step.Slot, step.From, step.To = s, x.Node, target[s]
			return step
		}
		if step.Slot < 0 {
			step.Slot, step.From, step.To = s, x.Node, missing[0]
		}
	}
	return step
}

// swapStep puts the node that belongs to the first wrong place there. All nodes
// of target are in list; what else list holds belongs behind them.
func swapStep(p Partition, list []Replica, target []NodeID) (Step, bool) {
	for i, want := range target {
		if i >= len(list) || list[i].Node == want {
			continue
		}
		j := placeIn(list, want)
		if j < i { // want is twice in target: nothing sensible is left to do
			return Step{}, false
		}
		return Step{Kind: StepSwap, Partition: p, Slot: i, Other: j, From: list[i].Node, To: want}, true
	}
	return Step{}, false
}

// Begin is r with s under way. Only an add changes the list: its node is appended,
// catching up, and plans older than the new gen are stale. For the other kinds it
// is r itself, if s fits. The epoch stays: the caller sets it.
func (r *Ring) Begin(s Step) (*Ring, error) {
	if err := r.fits(s); err != nil {
		return nil, fmt.Errorf("begin %v: %w", s, err)
	}
	if s.Kind != StepAdd {
		return r, nil
	}
	list := append(slices.Clone(r.Assignments[s.Partition].Replicas), Replica{Node: s.To, CatchingUp: true})
	return r.with(s.Partition, list, true), nil
}

// Commit is r after s, which Begin accepted. Each kind makes a new gen; a drop
// also makes older plans stale, as the quorums are others from then on.
func (r *Ring) Commit(s Step) (*Ring, error) {
	check := r.fits
	if s.Kind == StepAdd {
		check = r.fitsAdded
	}
	if err := check(s); err != nil {
		return nil, fmt.Errorf("commit %v: %w", s, err)
	}
	list := slices.Clone(r.Assignments[s.Partition].Replicas)
	switch s.Kind {
	case StepMove:
		list[s.Slot] = Replica{Node: s.To}
	case StepSwap:
		list[s.Slot], list[s.Other] = list[s.Other], list[s.Slot]
	case StepAdd:
		list[s.Slot].CatchingUp = false
	case StepDrop:
		list = list[:s.Slot]
	}
	return r.with(s.Partition, list, s.Kind == StepDrop), nil
}

// Abort is r without s, which Begin accepted: the place that an add began goes
// away again, under a gen that makes older plans stale. For the other kinds it is r itself.
func (r *Ring) Abort(s Step) (*Ring, error) {
	if s.Kind != StepAdd {
		return r, nil
	}
	if err := r.fitsAdded(s); err != nil {
		return nil, fmt.Errorf("abort %v: %w", s, err)
	}
	return r.with(s.Partition, slices.Clone(r.Assignments[s.Partition].Replicas[:s.Slot]), true), nil
}

// with is r with another list for p, under its next gen. It keeps list.
func (r *Ring) with(p Partition, list []Replica, rebuilt bool) *Ring {
	a := r.Assignments[p]
	a.Gen++
	a.Replicas = list
	if rebuilt {
		a.Rebuilt = a.Gen
	}
	c := *r
	c.Assignments = slices.Clone(r.Assignments)
	c.Assignments[p] = a
	return &c
}

// fits says what of s does not fit the list that it is to change.
func (r *Ring) fits(s Step) error {
	if int(s.Partition) >= r.Q() {
		return fmt.Errorf("the ring has %d partitions", r.Q())
	}
	list := r.Assignments[s.Partition].Replicas
	if i := slices.IndexFunc(list, func(x Replica) bool { return x.CatchingUp }); i >= 0 {
		return fmt.Errorf("slot %d is catching up on %s", i, list[i].Node)
	}
	switch s.Kind {
	case StepMove:
		if err := holds(list, s.Slot, s.From); err != nil {
			return err
		}
		return isNew(list, s.To)
	case StepSwap:
		if s.Slot >= s.Other {
			return fmt.Errorf("slot %d is not before slot %d", s.Slot, s.Other)
		}
		if err := holds(list, s.Slot, s.From); err != nil {
			return err
		}
		return holds(list, s.Other, s.To)
	case StepAdd:
		if s.Slot != len(list) || s.Slot >= MaxReplicas {
			return fmt.Errorf("the list has %d places, at most %d", len(list), MaxReplicas)
		}
		return isNew(list, s.To)
	case StepDrop:
		if s.Slot != len(list)-1 || s.Slot == 0 {
			return fmt.Errorf("the list has %d places: only the last goes, and never the only one", len(list))
		}
		return holds(list, s.Slot, s.From)
	}
	return fmt.Errorf("kind %q is unknown", string(s.Kind))
}

// fitsAdded says what of an add that is under way does not fit.
func (r *Ring) fitsAdded(s Step) error {
	if int(s.Partition) >= r.Q() {
		return fmt.Errorf("the ring has %d partitions", r.Q())
	}
	list := r.Assignments[s.Partition].Replicas
	if s.Slot != len(list)-1 || s.Slot == 0 {
		return fmt.Errorf("the list has %d places, and only the last is ever added", len(list))
	}
	if !list[s.Slot].CatchingUp {
		return fmt.Errorf("slot %d is not catching up", s.Slot)
	}
	return holds(list, s.Slot, s.To)
}

// holds says if node is not the one in slot.
func holds(list []Replica, slot int, node NodeID) error {
	if slot < 0 || slot >= len(list) {
		return fmt.Errorf("slot %d is beyond the list's %d places", slot, len(list))
	}
	if list[slot].Node != node {
		return fmt.Errorf("slot %d is on %s, not on %s", slot, list[slot].Node, node)
	}
	return nil
}

// isNew says if node cannot be taken into list.
func isNew(list []Replica, node NodeID) error {
	if node == "" {
		return fmt.Errorf("no node is named")
	}
	if i := placeIn(list, node); i >= 0 {
		return fmt.Errorf("%s already holds slot %d", node, i)
	}
	return nil
}
