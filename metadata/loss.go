package metadata

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ringcore/ringcore/metadata/ring"
)

// Copy is what a node has of one partition of a service.
type Copy struct {
	Service   string
	Partition ring.Partition
	Node      ring.NodeID
}

// Losses says what is lost for good if changes take place, because members go without
// handing over, and what is scarce then. A copy on a member that is merely down counts:
// it may come back.
func Losses(s *State, changes []Change, f Facts) (lost, scarce []string) {
	out := make(map[ring.NodeID]bool)
	for i := range changes {
		if changes[i].Forces() {
			out[changes[i].Node] = true
		}
	}
	services := f.Services
	if services == nil {
		services = map[string]int{"": 0}
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		n, what := services[name], "all services"
		if name != "" {
			what = "service " + name
		}
		if n == 0 {
			n = s.Ring.N
		}
		none, one := s.copiesLeft(name, n, out, f.Lacks)
		if none > 0 {
			lost = append(lost, fmt.Sprintf("DATA LOSS: %d partitions of %s have no other copy (it keeps %d): what they hold is lost for good", none, what, n))
		}
		if one > 0 {
			scarce = append(scarce, fmt.Sprintf("%d partitions of %s have one copy left until the transfers are done", one, what))
		}
	}
	return lost, scarce
}

// copiesLeft counts the partitions of which no whole copy of a service with n replicas is
// left when the nodes that are out have gone with theirs, and those of which one is. What is
// nowhere whole, be it that all copies of it are damaged, is lost with any of its copies.
func (s *State) copiesLeft(service string, n int, out map[ring.NodeID]bool, lacks func(Copy) bool) (none, one int) {
	for p := range s.Ring.Assignments {
		p := ring.Partition(p)
		has, goes := 0, false
		for _, x := range s.Ring.Replicas(p, n) {
			switch {
			case x.CatchingUp:
			case out[x.Node]:
				goes = true
			case lacks == nil || !lacks(Copy{service, p, x.Node}):
				has++
			}
		}
		switch {
		case !goes:
		case has == 0:
			none++
		case has == 1:
			one++
		}
	}
	return none, one
}
