package ring_test

import (
	"slices"

	"github.com/ringcore/ringcore/metadata/ring"
)

// network is a minimum-cost flow problem with unit steps: slow, plain, and
// nothing like Claim.
type network struct {
	arcs [][]int // by node, indexes of edges; edge e^1 is the reverse of e
	to   []int
	room []int
	cost []int
}

func (f *network) arc(from, to, room, cost int) {
	for max(from, to) >= len(f.arcs) {
		f.arcs = append(f.arcs, nil)
	}
	f.arcs[from] = append(f.arcs[from], len(f.to))
	f.arcs[to] = append(f.arcs[to], len(f.to)+1)
	f.to = append(f.to, to, from)
	f.room = append(f.room, room, 0)
	f.cost = append(f.cost, cost, -cost)
}

// solve sends as much as it can from 0 to 1 and returns how much, and the least cost of that.
func (f *network) solve() (flow, cost int) {
	const far = 1 << 30
	for {
		dist, via := slices.Repeat([]int{far}, len(f.arcs)), make([]int, len(f.arcs))
		dist[0] = 0
		for queue := []int{0}; len(queue) > 0; queue = queue[1:] {
			for _, e := range f.arcs[queue[0]] {
				if d := dist[queue[0]] + f.cost[e]; f.room[e] > 0 && d < dist[f.to[e]] {
					dist[f.to[e]], via[f.to[e]] = d, e
					queue = append(queue, f.to[e])
				}
			}
		}
		if dist[1] == far {
			return flow, cost
		}
		flow, cost = flow+1, cost+dist[1]
		for v := 1; v != 0; v = f.to[via[v]^1] {
			f.room[via[v]]--
			f.room[via[v]^1]++
		}
	}
}

// leastMoves is the fewest moves from current to any target that gives each
// member as many places as target does and spreads as evenly over zones.
func leastMoves(members []ring.Claimant, n int, current, target [][]ring.NodeID) (moves int, ok bool) {
	k, q := min(n, len(members)), len(target)
	sizes := make(map[string]int)
	for _, m := range members {
		sizes[m.Zone]++
	}
	least, most := zoneBounds(sizes, k)
	shares := ring.SharesOf(target)
	f := &network{}
	next := 2
	id := func() int { next++; return next - 1 }
	nodes := make([]int, len(members))
	for i, m := range members {
		nodes[i] = id()
		f.arc(0, nodes[i], shares[m.Node].Slots, 0)
	}
	for p := range q {
		spare, hub := k, id()
		for z := range sizes {
			zone := id()
			f.arc(zone, 1, least[z], 0)
			f.arc(zone, hub, most[z]-least[z], 0)
			spare -= least[z]
			for i, m := range members {
				if m.Zone == z {
					cost := 1
					if slices.Contains(current[p], m.Node) {
						cost = 0
					}
					f.arc(nodes[i], zone, 1, cost)
				}
			}
		}
		f.arc(hub, 1, spare, 0)
	}
	flow, moves := f.solve()
	return moves, flow == q*k
}
