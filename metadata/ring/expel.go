package ring

import "slices"

// Expel is r without the nodes that lost names, whose data nobody hands over: they
// go out of every list at once, and those behind them move up. What was being added to
// such a list goes too, because it needed them. A list that would be empty goes to
// heir(p), which has none of its data. Plans older than the new gens are stale. The
// epoch stays: the caller sets it.
func (r *Ring) Expel(lost func(NodeID) bool, heir func(Partition) NodeID) *Ring {
	c := *r
	c.Assignments = slices.Clone(r.Assignments)
	for p, a := range r.Assignments {
		if !slices.ContainsFunc(a.Replicas, func(x Replica) bool { return lost(x.Node) }) {
			continue
		}
		rest := slices.DeleteFunc(slices.Clone(a.Replicas), func(x Replica) bool { return lost(x.Node) })
		list := slices.DeleteFunc(slices.Clone(rest), func(x Replica) bool { return x.CatchingUp })
		switch {
		case len(list) == 0 && len(rest) > 0:
			list = []Replica{{Node: rest[0].Node}}
		case len(list) == 0:
			list = []Replica{{Node: heir(Partition(p))}}
		}
		a.Gen++
		a.Rebuilt, a.Forced, a.Replicas = a.Gen, a.Gen, list
		c.Assignments[p] = a
	}
	return &c
}
