package ring

import "slices"

// Target is one node to ask for a key, and the slot that it serves or stands in for.
type Target struct {
	Partition  Partition
	Slot       int
	Node       NodeID
	Fallback   bool   // Node does not hold the slot, it stands in
	For        NodeID // the primary that a fallback stands in for; empty for a primary
	CatchingUp bool   // a primary that takes effects and never counts for a read
}

// Preferences say whom to ask about one partition, and in which order.
type Preferences struct {
	Partition Partition
	Gen       Gen
	// Targets are on distinct nodes, all up: the primaries in slot order, then the
	// fallbacks in the slot order of those that they stand in for.
	Targets []Target
	// Down are the primaries that are not up, in slot order, whether or not a
	// fallback was found.
	Down []Target
	// Wanted is how many were asked for. len(Targets) is less when there are not
	// enough nodes, or not enough that are up.
	Wanted int
}

// PreferenceList is PreferencesOf the partition of h.
func (r *Ring) PreferenceList(h Hash, n int, up func(NodeID) bool) Preferences {
	return r.PreferencesOf(Locate(h, r.Q()), n, up)
}

// PreferencesOf lists the first n places of p: the primaries that are up, then
// for each that is down the next owner clockwise which is up and not in the list
// yet. up may be nil: then all are. riak_core does not compare a fallback's node
// with the list, so that two replicas may fall on one machine; here never.
func (r *Ring) PreferencesOf(p Partition, n int, up func(NodeID) bool) Preferences {
	l := Preferences{Partition: p, Gen: r.Gen(p), Wanted: n}
	primaries := r.Replicas(p, n)
	l.Targets = make([]Target, 0, len(primaries))
	for s, x := range primaries {
		t := Target{Partition: p, Slot: s, Node: x.Node, CatchingUp: x.CatchingUp}
		if up == nil || up(x.Node) {
			l.Targets = append(l.Targets, t)
		} else {
			l.Down = append(l.Down, t)
		}
	}
	if len(l.Down) > 0 {
		l.addFallbacks(r, up)
	}
	return l
}

// addFallbacks walks the circle once. A node that was passed over is down or
// listed, and stays so for the next primary: the walk need not start again.
func (l *Preferences) addFallbacks(r *Ring, up func(NodeID) bool) {
	missing := l.Down
	for d := 1; d < r.Q() && len(missing) > 0; d++ {
		node := r.Owner(Partition((int(l.Partition) + d) % r.Q()))
		if l.lists(node) || !up(node) {
			continue
		}
		l.Targets = append(l.Targets, Target{
			Partition: l.Partition, Slot: missing[0].Slot, Node: node, Fallback: true, For: missing[0].Node,
		})
		missing = missing[1:]
	}
}

// lists reports whether node is a target or a primary that is down.
func (l *Preferences) lists(node NodeID) bool {
	is := func(t Target) bool { return t.Node == node }
	return slices.ContainsFunc(l.Targets, is) || slices.ContainsFunc(l.Down, is)
}
