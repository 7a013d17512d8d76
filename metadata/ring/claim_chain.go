package ring

import "slices"

// chains finds cheapest chains of exchanges between nodes. Every use starts from
// a cheapest state and adds cheapest chains, which leaves it a cheapest one: so
// the costs of exchanges, which may be negative where one is undone, never add up to less than
// nothing around a circle, and the search ends.
//
// Of chains of one cost the shortest wins. Then no exchange of a chain spoils
// another in the same list, as two that could had a shorter way.
type chains struct {
	links []link // to each node
	queue []int
	// least[i] is a bound that every search so far has proved: no chain from node i to
	// an end costs less. It stays true, as adding cheapest chains never makes another cheaper.
	least []int
}

// link is how a node was reached: from another, by an exchange at slot of partition.
type link struct {
	from, partition, slot int
	step                  int // what that exchange costs
	cost, hops            int // of the chain up to here
	reached, queued       bool
}

// exchanges are what chains search through.
type exchanges interface {
	// each calls fn for the exchanges that node i can begin, with the node that is
	// next in the chain and the cost, until fn returns false.
	each(i int, fn func(next, partition, slot, cost int) bool)
	// ends reports whether a chain may end at node i.
	ends(i int) bool
}

// newChains makes a search among nodes. least is a bound that the caller knows: no
// chain costs less. No chain passes a node twice, so where an exchange saves one at most,
// -nodes is always right.
func newChains(nodes, least int) *chains {
	return &chains{links: make([]link, nodes), least: slices.Repeat([]int{least}, nodes)}
}

// find returns the end of a chain from one of sources that costs budget at most, and none if
// there is none. Links lead back from it to a source, which has a link from none. With budget
// rising from one search to the next it is a cheapest one.
func (c *chains) find(x exchanges, sources []int, budget int) int {
	clear(c.links)
	c.queue = c.queue[:0]
	for _, i := range sources {
		if c.least[i] <= budget {
			c.links[i] = link{from: none, reached: true, queued: true}
			c.queue = append(c.queue, i)
		}
	}
	end := none
	for len(c.queue) > 0 && end == none {
		i := c.queue[0]
		c.queue = c.queue[1:]
		c.links[i].queued = false
		at := c.links[i]
		x.each(i, func(next, partition, slot, cost int) bool {
			l := link{from: i, partition: partition, slot: slot, step: cost, cost: at.cost + cost, hops: at.hops + 1}
			if l.cost+c.least[next] <= budget && c.relax(l, next) && l.cost <= budget && x.ends(next) {
				end = next
			}
			return end == none
		})
	}
	if end == none {
		for i, l := range c.links {
			if l.reached {
				c.least[i] = max(c.least[i], budget+1-l.cost)
			}
		}
	}
	return end
}

// relax enters l as the way to node i if it is better than the one known.
func (c *chains) relax(l link, i int) bool {
	old := &c.links[i]
	if l.hops > len(c.links) || old.reached && (old.cost < l.cost || old.cost == l.cost && old.hops <= l.hops) {
		return false
	}
	if !old.queued {
		c.queue = append(c.queue, i)
	}
	l.reached, l.queued = true, true
	*old = l
	return true
}
