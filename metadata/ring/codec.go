package ring

import (
	"encoding/json"
	"fmt"
	"slices"
)

// encoded is a Ring as JSON. Lists name nodes by their place in a table, since a
// ring of 4096 partitions names the same few nodes over and over:
//
//	{"epoch":7, "n":3,
//	 "nodes":    ["00a1…","7fe2…"],    sorted; every node that holds a place
//	 "gens":     [1,4,…],              one for each partition
//	 "rebuilt":  [0,3,…],              likewise; left out if all are zero
//	 "forced":   [0,2,…],              likewise
//	 "replicas": [[0,1],[1],…],        one for each partition: indexes into nodes, in slot order
//	 "catching": [[0,1],…]}            (partition, slot) of the places that catch up, ascending
type encoded struct {
	Epoch    Epoch    `json:"epoch"`
	N        int      `json:"n"`
	Nodes    []NodeID `json:"nodes"`
	Gens     []Gen    `json:"gens"`
	Rebuilt  []Gen    `json:"rebuilt,omitempty"`
	Forced   []Gen    `json:"forced,omitempty"`
	Replicas [][]int  `json:"replicas"`
	Catching [][2]int `json:"catching,omitempty"`
}

// MarshalJSON is r in a compact form, the same bytes for equal rings. A ring that
// Validate refuses is not written.
func (r Ring) MarshalJSON() ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("encode ring: %w", err)
	}
	e := encoded{Epoch: r.Epoch, N: r.N, Nodes: r.Nodes()}
	for p, a := range r.Assignments {
		e.Gens = append(e.Gens, a.Gen)
		e.Rebuilt = append(e.Rebuilt, a.Rebuilt)
		e.Forced = append(e.Forced, a.Forced)
		list := make([]int, len(a.Replicas))
		for s, x := range a.Replicas {
			list[s], _ = slices.BinarySearch(e.Nodes, x.Node)
			if x.CatchingUp {
				e.Catching = append(e.Catching, [2]int{p, s})
			}
		}
		e.Replicas = append(e.Replicas, list)
	}
	if slices.Max(e.Rebuilt) == 0 {
		e.Rebuilt = nil
	}
	if slices.Max(e.Forced) == 0 {
		e.Forced = nil
	}
	return json.Marshal(e)
}

// UnmarshalJSON reads what MarshalJSON wrote. It accepts only what satisfies
// Validate, and leaves r alone otherwise. JSON's null changes nothing, as usual.
func (r *Ring) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var e encoded
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("decode ring: %w", err)
	}
	d, err := e.ring()
	if err != nil {
		return fmt.Errorf("decode ring: %w", err)
	}
	*r = *d
	return nil
}

// ring is the ring that e describes.
func (e *encoded) ring() (*Ring, error) {
	q := len(e.Replicas)
	if len(e.Gens) != q {
		return nil, fmt.Errorf("%d gens for %d partitions", len(e.Gens), q)
	}
	if len(e.Rebuilt) != q && len(e.Rebuilt) != 0 {
		return nil, fmt.Errorf("%d rebuilt gens for %d partitions", len(e.Rebuilt), q)
	}
	if len(e.Forced) != q && len(e.Forced) != 0 {
		return nil, fmt.Errorf("%d forced gens for %d partitions", len(e.Forced), q)
	}
	r := &Ring{Epoch: e.Epoch, N: e.N, Assignments: make([]Assignment, q)}
	for p, list := range e.Replicas {
		a := Assignment{Gen: e.Gens[p], Replicas: make([]Replica, len(list))}
		if len(e.Rebuilt) > 0 {
			a.Rebuilt = e.Rebuilt[p]
		}
		if len(e.Forced) > 0 {
			a.Forced = e.Forced[p]
		}
		for s, i := range list {
			if i < 0 || i >= len(e.Nodes) {
				return nil, fmt.Errorf("partition %d: node %d of a table of %d", p, i, len(e.Nodes))
			}
			a.Replicas[s].Node = e.Nodes[i]
		}
		r.Assignments[p] = a
	}
	for _, c := range e.Catching {
		p, s := c[0], c[1]
		if p < 0 || p >= q || s < 0 || s >= len(e.Replicas[p]) {
			return nil, fmt.Errorf("slot %d of partition %d catches up and does not exist", s, p)
		}
		r.Assignments[p].Replicas[s].CatchingUp = true
	}
	return r, r.Validate()
}

// Validate says what of r no ring may be: a number of partitions or replicas out
// of bounds, a list that is empty, too long or names a node twice, or gens that
// contradict each other.
func (r *Ring) Validate() error {
	if !ValidPartitions(r.Q()) {
		return fmt.Errorf("%d partitions: not a power of two from %d to %d", r.Q(), MinPartitions, MaxPartitions)
	}
	if r.N < 1 || r.N > MaxReplicas {
		return fmt.Errorf("%d replicas: not from 1 to %d", r.N, MaxReplicas)
	}
	for p, a := range r.Assignments {
		if len(a.Replicas) < 1 || len(a.Replicas) > MaxReplicas {
			return fmt.Errorf("partition %d: a list of %d places", p, len(a.Replicas))
		}
		if a.Gen < 1 || a.Rebuilt > a.Gen || a.Forced > a.Rebuilt {
			return fmt.Errorf("partition %d: gen %d, rebuilt at %d, forced at %d", p, a.Gen, a.Rebuilt, a.Forced)
		}
		for s, x := range a.Replicas {
			if x.Node == "" {
				return fmt.Errorf("partition %d: slot %d is on no node", p, s)
			}
			if placeIn(a.Replicas, x.Node) != s {
				return fmt.Errorf("partition %d: %s is twice in the list", p, x.Node)
			}
		}
	}
	return nil
}

// Nodes are all nodes that hold a place, sorted.
func (r *Ring) Nodes() []NodeID {
	seen := make(map[NodeID]bool)
	for _, a := range r.Assignments {
		for _, x := range a.Replicas {
			seen[x.Node] = true
		}
	}
	nodes := make([]NodeID, 0, len(seen))
	for n := range seen {
		nodes = append(nodes, n)
	}
	slices.Sort(nodes)
	return nodes
}
