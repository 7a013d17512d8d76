package ring

import "slices"

// NodeID names a node for ever: 16 lower-case hexadecimal digits, drawn at
// random when its data directory is made. Names and addresses may change.
type NodeID string

// Partition is one of the ring's Q equal parts, 0 to Q-1.
type Partition uint16

// Epoch is the version of everything that raft commits: +1 for each change.
type Epoch uint64

// Gen is the version of one partition's replica list: +1 for each change of it.
// A pair (partition, gen) determines the list.
type Gen uint64

// Bounds of the number of partitions and of replicas.
const (
	MinPartitions     = 8
	MaxPartitions     = 4096
	DefaultPartitions = 64
	MaxReplicas       = 7
	DefaultReplicas   = 3
)

// Replica is one place, a slot, in a partition's list.
type Replica struct {
	Node       NodeID `json:"node"`
	CatchingUp bool   `json:"catching_up,omitempty"` // takes effects, never counts for a read
}

// Assignment says who holds one partition.
type Assignment struct {
	Gen Gen `json:"gen"`
	// Rebuilt is the gen at which the list last grew, shrank or was rebuilt. A
	// request planned before it may miss its quorum and is answered STALE.
	Rebuilt Gen `json:"rebuilt,omitempty"`
	// Forced is the gen at which a node last went out of the list without handing over
	// what it had: who moved up then fetches from the others what it has not.
	Forced   Gen       `json:"forced,omitempty"`
	Replicas []Replica `json:"replicas"` // slot order; Replicas[0] is the owner; distinct nodes
}

// Ring is one immutable version of the ownership map. Nobody changes a Ring or
// anything that it points to; changes make a new one that shares what stayed.
type Ring struct {
	Epoch       Epoch
	N           int          // replicas wanted for each partition
	Assignments []Assignment // Assignments[p] is Partition(p)'s; the length Q is a power of two
}

// New returns the ring of a cluster of one: owner holds all q partitions alone.
// q must satisfy ValidPartitions, n be 1 to MaxReplicas.
func New(q, n int, owner NodeID) *Ring {
	r := &Ring{Epoch: 1, N: n, Assignments: make([]Assignment, q)}
	for p := range r.Assignments {
		r.Assignments[p] = Assignment{Gen: 1, Replicas: []Replica{{Node: owner}}}
	}
	return r
}

// ValidPartitions reports whether q may be a number of partitions.
func ValidPartitions(q int) bool {
	return q >= MinPartitions && q <= MaxPartitions && q&(q-1) == 0
}

// Q is the number of partitions.
func (r *Ring) Q() int { return len(r.Assignments) }

// Owner is the node in slot 0 of p.
func (r *Ring) Owner(p Partition) NodeID { return r.Assignments[p].Replicas[0].Node }

// Gen is the version of p's list.
func (r *Ring) Gen(p Partition) Gen { return r.Assignments[p].Gen }

// Replicas is p's list in slot order, at most the first n places. The caller
// must not change it.
func (r *Ring) Replicas(p Partition, n int) []Replica {
	l := r.Assignments[p].Replicas
	return l[:min(n, len(l))]
}

// Place is the slot of node in p's list, -1 if it has none.
func (r *Ring) Place(p Partition, node NodeID) int {
	return slices.IndexFunc(r.Assignments[p].Replicas, func(x Replica) bool { return x.Node == node })
}

// FirstUp is the node of the first readable place of p that up says is up; empty if
// there is none.
func (r *Ring) FirstUp(p Partition, up func(NodeID) bool) NodeID {
	for _, x := range r.Assignments[p].Replicas {
		if !x.CatchingUp && up(x.Node) {
			return x.Node
		}
	}
	return ""
}

// Majority is the smallest number of n that meets any other such number of them.
func Majority(n int) int { return n/2 + 1 }

// WithEpoch is r under another epoch.
func (r *Ring) WithEpoch(e Epoch) *Ring {
	c := *r
	c.Epoch = e
	return &c
}
