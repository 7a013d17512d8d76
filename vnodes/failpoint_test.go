package vnodes

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// trap counts the passes of failpoints on all nodes of a world, and fails one of them once.
type trap struct {
	mu     sync.Mutex
	seen   map[wire.Failpoint]int
	point  wire.Failpoint
	at     int
	sprung bool
}

func (x *trap) pass(p wire.Failpoint) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.seen[p]++
	if p == x.point && x.seen[p] == x.at && !x.sprung {
		x.sprung = true
		return errors.New("a failpoint")
	}
	return nil
}

// activating reports whether a node has a slot that it cannot use in this life after x.
func (x *trap) activating() bool {
	return x.point == wire.TargetActivating || x.point == wire.TargetRenamed || x.point == wire.TargetActivated
}

func (x *trap) hasSprung() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.sprung
}

// Every step of every kind of transfer fails once, and again later: nothing
// acknowledged is lost, and the step is done in the end.
func TestEveryFailpoint(t *testing.T) {
	steps := func(p ring.Partition) []ring.Step {
		return []ring.Step{move(p, 0, 1, 2), add(p, 1, 3), swap(p, 0, 1, 2, 3), drop(p, 1, 2), move(p, 0, 3, 1)}
	}
	const p, records = 3, 40
	run := func(t *testing.T, x *trap) {
		w := newWorld(t, 3, 1, smallChunks, func(n *simNode) {
			n.services = []Service{simService("one", 1), simService("all", 3)}
			n.tunedBy(func(c *Config) { c.Failpoint = x.pass })
		})
		w.guardOwners()
		one := w.startTraffic("one", 1, keysIn(p, records))
		all := w.startTraffic("all", 3, keysIn(p, records))
		for i, s := range steps(p) {
			s := w.begin(s)
			w.committed(s)
			if i == 0 && x.activating() {
				w.until("the failpoint is passed", x.hasSprung)
				w.nodes[s.To].restart()
			}
		}
		w.settled()
		one.end()
		all.end()
	}
	dry := &trap{seen: make(map[wire.Failpoint]int)}
	run(t, dry)
	for _, point := range wire.Failpoints() {
		for _, at := range []int{1, 3} {
			x := &trap{seen: make(map[wire.Failpoint]int), point: point, at: at}
			if dry.seen[point] < at || at > 1 && x.activating() {
				continue
			}
			t.Run(fmt.Sprintf("%s %d", point, at), func(t *testing.T) {
				t.Parallel()
				run(t, x)
				if !x.hasSprung() && at == 1 {
					t.Error("never passed")
				}
			})
		}
	}
}
