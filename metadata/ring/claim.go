package ring

import (
	"cmp"
	"hash/fnv"
	"math/bits"
	"slices"
)

// MaxWeight bounds a Claimant's weight.
const MaxWeight = 1 << 20

// Claimant is a member that may hold partitions.
type Claimant struct {
	Node   NodeID
	Weight int    // its share relative to the others'; taken as 1 if less, as MaxWeight if more
	Zone   string // members of one zone may fail together; "" is a zone like any other
}

// Claim computes who should hold what: for each of q partitions a list of
// min(n, members) nodes in slot order. current are the lists of now; it may be
// nil, hold nodes that are no members any more, and be of any length. Claim is a
// pure function of its arguments, whatever the order of members. It gives, in
// this order:
//
//  1. distinct nodes in every list;
//  2. distinct zones in every list if there are that many, else the most even
//     spread: no list has two more of one zone than of another that has nodes left;
//  3. to every node its weighted share of owned partitions and of all places, one of
//     the two whole numbers next to it; where a weight asks for more than 1 and 2 allow
//     or for less than 2 demands, the rest is shared out among the others by weight;
//  4. few moves: a node gives away only what it has above its share, save where 1 and 2
//     force an exchange; then few changes of owner, as these move the data of services with
//     one replica, and of the places behind.
//
// How: keep what may stay; set each node's number of places; fill what is empty
// and hand over what is too much, first with what moves nothing, then directly, then along
// the cheapest chains of exchanges; last, order each list. Sets of nodes are a flow from nodes
// through (zone, partition) to partitions; the fraction weight x partition is one, so that
// a whole one exists, and shortest augmenting paths find it.
func Claim(members []Claimant, q, n int, current [][]NodeID) [][]NodeID {
	b := newBoard(members, q, n)
	b.share()
	b.keep(current)
	b.round()
	c := newChains(len(b.nodes)+1, 0)
	if b.chosen {
		b.augment(c, 0)
	}
	b.fill()
	b.handOver()
	b.augment(c, len(b.nodes))
	b.arrange()
	return b.lists()
}

// none marks an empty place on a board.
const none = -1

// board is a Claim under way. Nodes, zones and partitions are numbers here.
type board struct {
	q, k   int // partitions; places in each list
	spare  int // places in each list beyond the sum of all zones' least
	nodes  []claimNode
	zones  []claimZone
	order  []int   // partitions in bit-reversed order: any stretch of it is spread over the ring
	place  []int32 // place[p*k+s] is the node in slot s of p, or none
	before []int32 // likewise in current: none for what is gone or had no such slot

	had    []bool // had[p*len(nodes)+i] says that node i is in p's list in current
	chosen bool   // keep had to drop some of these

	inZone []uint8 // inZone[p*len(zones)+z] is how many of p's nodes are in zone z
	extra  []uint8 // extra[p] is how many of p's zones are above their least

	together []uint16 // together[i*len(nodes)+j] is how many lists hold both i and j
}

// claimNode is a member on the board.
type claimNode struct {
	id       NodeID
	weight   int64
	zone     int
	seed     uint64 // of its own, so that ties fall differently for different nodes
	num, den int64  // its share of all places, exactly; den is the same within a zone
	want     int    // its share in whole places
	count    int    // places that it holds on the board
	owned    int    // those in slot 0
}

// claimZone is a zone on the board: every list has least or most nodes of it,
// and these differ by one at most.
type claimZone struct {
	nodes       []int
	least, most int
}

func newBoard(members []Claimant, q, n int) *board {
	members = slices.Clone(members)
	slices.SortStableFunc(members, func(a, b Claimant) int { return cmp.Compare(a.Node, b.Node) })
	members = slices.CompactFunc(members, func(a, b Claimant) bool { return a.Node == b.Node })

	b := &board{q: q, k: max(0, min(n, len(members))), nodes: make([]claimNode, len(members))}
	zones := make(map[string]int)
	for i, m := range members {
		z, ok := zones[m.Zone]
		if !ok {
			z = len(b.zones)
			zones[m.Zone] = z
			b.zones = append(b.zones, claimZone{})
		}
		seed := fnv.New64a()
		seed.Write([]byte(m.Node))
		b.nodes[i] = claimNode{id: m.Node, weight: int64(min(max(m.Weight, 1), MaxWeight)), zone: z, seed: seed.Sum64()}
		b.zones[z].nodes = append(b.zones[z].nodes, i)
	}
	b.boundZones()

	b.order = bitReversed(q)
	b.place = slices.Repeat([]int32{none}, q*b.k)
	b.before = slices.Clone(b.place)
	b.had = make([]bool, q*len(b.nodes))
	b.inZone = make([]uint8, q*len(b.zones))
	b.extra = make([]uint8, q)
	b.together = make([]uint16, len(b.nodes)*len(b.nodes))
	return b
}

// boundZones finds the most even spread of k places over the zones: each takes
// level nodes or all that it has, and some zones one less.
func (b *board) boundZones() {
	level := 0
	for total := 0; total < b.k; {
		level++
		total = 0
		for _, z := range b.zones {
			total += min(len(z.nodes), level)
		}
	}
	b.spare = b.k
	for i := range b.zones {
		z := &b.zones[i]
		z.least = min(len(z.nodes), max(0, level-1))
		z.most = min(len(z.nodes), level)
		b.spare -= z.least
	}
}

// bitReversed are the numbers below q, a power of two, each half of the list
// spread over the whole range.
func bitReversed(q int) []int {
	order := make([]int, q)
	for i := range order {
		order[i] = int(bits.Reverse16(uint16(i)) >> (16 - bits.TrailingZeros(uint(q))))
	}
	return order
}

// row is p's list. Changes go through put and take.
func (b *board) row(p int) []int32 { return b.place[p*b.k : (p+1)*b.k] }

// has reports whether node i is in p's list.
func (b *board) has(p, i int) bool { return slices.Contains(b.row(p), int32(i)) }

// put gives the empty slot s of p to node i.
func (b *board) put(p, s, i int) {
	n := &b.nodes[i]
	b.meet(p, i, 1)
	b.place[p*b.k+s] = int32(i)
	n.count++
	if s == 0 {
		n.owned++
	}
	in := &b.inZone[p*len(b.zones)+n.zone]
	if int(*in) >= b.zones[n.zone].least {
		b.extra[p]++
	}
	*in++
}

// take empties slot s of p.
func (b *board) take(p, s int) {
	i := int(b.place[p*b.k+s])
	n := &b.nodes[i]
	b.place[p*b.k+s] = none
	b.meet(p, i, ^uint16(0))
	n.count--
	if s == 0 {
		n.owned--
	}
	in := &b.inZone[p*len(b.zones)+n.zone]
	*in--
	if int(*in) >= b.zones[n.zone].least {
		b.extra[p]--
	}
}

// held reports whether node i was in p's list in current: there it costs no move.
func (b *board) held(p, i int) bool { return b.had[p*len(b.nodes)+i] }

// meet adds d to the meetings of node i, which is not in p's list, with those that are.
func (b *board) meet(p, i int, d uint16) {
	for _, j := range b.row(p) {
		if j != none {
			b.together[i*len(b.nodes)+int(j)] += d
			b.together[int(j)*len(b.nodes)+i] += d
		}
	}
}

// swap exchanges slots s and t of p.
func (b *board) swap(p, s, t int) {
	i, j := b.place[p*b.k+s], b.place[p*b.k+t]
	b.take(p, s)
	b.take(p, t)
	b.put(p, s, int(j))
	b.put(p, t, int(i))
}

// room reports whether p's list can take one more node of zone z.
func (b *board) room(p, z int) bool {
	in, zone := int(b.inZone[p*len(b.zones)+z]), &b.zones[z]
	return in < zone.least || in < zone.most && int(b.extra[p]) < b.spare
}

// yields reports whether p's list, which has no room for zone z, can take a node
// of it in exchange for one of zone out.
func (b *board) yields(p, z, out int) bool {
	row := b.inZone[p*len(b.zones):]
	return z == out || int(row[z]) < b.zones[z].most && int(row[out]) > b.zones[out].least
}

// lists is the board as Claim returns it.
func (b *board) lists() [][]NodeID {
	lists := make([][]NodeID, b.q)
	for p := range lists {
		lists[p] = make([]NodeID, 0, b.k)
		for _, i := range b.row(p) {
			if i != none {
				lists[p] = append(lists[p], b.nodes[i].id)
			}
		}
	}
	return lists
}
