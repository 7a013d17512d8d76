package ring

// Violations count lists that fall short of what the members allow.
type Violations struct {
	Nodes int `json:"nodes"` // lists on fewer distinct members than there could be
	Zones int `json:"zones"` // lists not spread over zones as evenly as they could be
}

// ViolationsOf counts the violations of lists when members are to hold n replicas. Nodes that are
// no members count for nothing.
func ViolationsOf(lists [][]NodeID, members []Claimant, n int) Violations {
	b := newBoard(members, len(lists), n)
	zone := make(map[NodeID]int, len(b.nodes))
	for _, m := range b.nodes {
		zone[m.id] = m.zone
	}
	var v Violations
	for _, list := range lists {
		distinct, in := make(map[NodeID]bool, len(list)), make([]int, len(b.zones))
		for _, node := range list {
			if z, ok := zone[node]; ok && !distinct[node] {
				distinct[node] = true
				in[z]++
			}
		}
		if len(distinct) < b.k {
			v.Nodes++
		}
		for z, count := range in {
			if count < b.zones[z].least || len(distinct) == b.k && count > b.zones[z].most {
				v.Zones++
				break
			}
		}
	}
	return v
}

// Due is the exact share of each member in all places of q lists with n replicas, by weight, as far as
// distinct nodes and zones allow. Divided by min(n, members) it is the share in owned partitions.
// What Claim gives is one of the two whole numbers next to each.
func Due(members []Claimant, q, n int) map[NodeID]float64 {
	b := newBoard(members, q, n)
	b.share()
	due := make(map[NodeID]float64, len(b.nodes))
	for i := range b.nodes {
		due[b.nodes[i].id] = float64(b.nodes[i].num) / float64(b.nodes[i].den)
	}
	return due
}

// Deficits is how many places the nodes of target lack in current, all together: no way from one
// to the other takes fewer moves and adds.
func Deficits(current, target [][]NodeID) int {
	now, sum := SharesOf(current), 0
	for node, then := range SharesOf(target) {
		sum += max(0, then.Slots-now[node].Slots)
	}
	return sum
}
