package ring

import (
	"cmp"
	"fmt"
	"slices"
)

// Share is what one node holds.
type Share struct {
	Owned int `json:"owned"` // partitions whose slot 0 it is
	Slots int `json:"slots"` // places in all lists
}

// Lists are the nodes of every partition in slot order, catching up or not: what
// Claim takes as current.
func (r *Ring) Lists() [][]NodeID {
	lists := make([][]NodeID, r.Q())
	for p, a := range r.Assignments {
		lists[p] = make([]NodeID, len(a.Replicas))
		for s, x := range a.Replicas {
			lists[p][s] = x.Node
		}
	}
	return lists
}

// Shares counts what each node of r holds.
func Shares(r *Ring) map[NodeID]Share { return SharesOf(r.Lists()) }

// SharesOf counts what each node holds in lists, as Claim returns them.
func SharesOf(lists [][]NodeID) map[NodeID]Share {
	shares := make(map[NodeID]Share)
	for _, list := range lists {
		for slot, node := range list {
			s := shares[node]
			s.Slots++
			if slot == 0 {
				s.Owned++
			}
			shares[node] = s
		}
	}
	return shares
}

// Transfer counts the steps of one kind between two nodes.
type Transfer struct {
	Kind       StepKind `json:"kind"`
	From       NodeID   `json:"from,omitempty"` // empty for add: filled from all other replicas
	To         NodeID   `json:"to,omitempty"`   // empty for drop
	Partitions int      `json:"partitions"`
}

// Diff is what lies between a ring and a target.
type Diff struct {
	Moves int `json:"moves"`
	Adds  int `json:"adds"`
	Swaps int `json:"swaps"` // these move data only of services with fewer replicas than the list has places
	Drops int `json:"drops"`
	// Transfers add up to the counts above, ordered by From, To and Kind.
	Transfers []Transfer `json:"transfers"`
}

// DiffOf counts the steps by which r reaches target, as if every place were
// readable. Partitions beyond target's end are left alone.
func DiffOf(r *Ring, target [][]NodeID) Diff {
	var d Diff
	pairs := make(map[Transfer]int)
	for p := range min(r.Q(), len(target)) {
		for _, s := range StepsTo(Partition(p), r.Assignments[p].Replicas, target[p]) {
			switch s.Kind {
			case StepMove:
				d.Moves++
			case StepAdd:
				d.Adds++
			case StepSwap:
				d.Swaps++
			case StepDrop:
				d.Drops++
			}
			pairs[Transfer{Kind: s.Kind, From: s.From, To: s.To}]++
		}
	}
	d.Transfers = make([]Transfer, 0, len(pairs))
	for t, n := range pairs {
		t.Partitions = n
		d.Transfers = append(d.Transfers, t)
	}
	slices.SortFunc(d.Transfers, func(a, b Transfer) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Kind, b.Kind))
	})
	return d
}

// Transfers are those of DiffOf that bring a node data which it does not hold:
// moves and adds.
func Transfers(r *Ring, target [][]NodeID) []Transfer {
	return slices.DeleteFunc(DiffOf(r, target).Transfers, func(t Transfer) bool {
		return t.Kind != StepMove && t.Kind != StepAdd
	})
}

// StepsTo are all steps by which list becomes target, in order, as if every
// place were readable.
func StepsTo(p Partition, list []Replica, target []NodeID) []Step {
	list = slices.Clone(list)
	for i := range list {
		list[i].CatchingUp = false
	}
	var steps []Step
	for {
		s, ok := NextStep(p, list, target)
		if !ok {
			return steps
		}
		steps = append(steps, s)
		switch s.Kind {
		case StepMove:
			list[s.Slot].Node = s.To
		case StepSwap:
			list[s.Slot], list[s.Other] = list[s.Other], list[s.Slot]
		case StepAdd:
			list = append(list, Replica{Node: s.To})
		case StepDrop:
			list = list[:s.Slot]
		}
	}
}

// Warnings say in sentences what lists fall short of, when n replicas are wanted:
// lists on fewer than n nodes, and on fewer than n zones. zone gives a node's
// zone; where all nodes are in one, zones are not in use and nothing is said of them.
func Warnings(lists [][]NodeID, n int, zone func(NodeID) string) []string {
	var fewNodes, fewZones int
	all := make(map[string]bool)
	for _, list := range lists {
		zones := make(map[string]bool, len(list))
		for _, node := range list {
			zones[zone(node)] = true
			all[zone(node)] = true
		}
		if len(list) < n {
			fewNodes++
		}
		if len(zones) < n {
			fewZones++
		}
	}
	var w []string
	if fewNodes > 0 {
		w = append(w, fmt.Sprintf("replicas of %d partitions are on fewer than %d nodes", fewNodes, n))
	}
	if fewZones > 0 && len(all) > 1 {
		w = append(w, fmt.Sprintf("replicas of %d partitions are on fewer than %d zones", fewZones, n))
	}
	return w
}
