package metadata

import (
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// counts is what the nodes of a cluster have sent each other.
type counts struct{ messages, bytes atomic.Int64 }

// countedConn counts what is written on one of raft's connections.
type countedConn struct {
	net.Conn
	n *counts
}

func (c countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.messages.Add(1)
	c.n.bytes.Add(int64(n))
	return n, err
}

// perNode is messages and bytes for each node.
type perNode struct{ messages, bytes float64 }

// during measures what f costs each node.
func (c *cluster) during(f func()) perNode {
	m, b, n := c.sent.messages.Load(), c.sent.bytes.Load(), float64(len(c.all()))
	f()
	return perNode{float64(c.sent.messages.Load()-m) / n, float64(c.sent.bytes.Load()-b) / n}
}

// joinAll has nodes admitted at once, each through another one.
func (c *cluster) joinAll(names []string) {
	var wg sync.WaitGroup
	through := c.all()
	for i, name := range names {
		wg.Go(func() { c.join(name, through[i%len(through)]) })
	}
	wg.Wait()
}

// everywhere is how long it takes until all nodes know a change that node n proposes.
func (c *cluster) everywhere(n *node, cmd Command) time.Duration {
	c.t.Helper()
	begun := time.Now()
	if err := n.store.Propose(c.t.Context(), cmd); err != nil {
		c.t.Fatal(err)
	}
	epoch := n.store.State().Epoch
	for _, x := range c.all() {
		if err := x.store.WaitEpoch(c.t.Context(), epoch); err != nil {
			c.t.Fatal(err)
		}
	}
	return time.Since(begun)
}

// TestManyNodes: clusters of 7 and 14 nodes (make soak-nodes: 10, 25 and 50) have five voters at most, see a change
// everywhere within a second, let nodes join and leave, and cost each node the same
// whatever their number: nothing grows with its square.
func TestManyNodes(t *testing.T) {
	const idleFor, changes = time.Second, 9
	idle, change := make(map[int]perNode), make(map[int]perNode)
	sizes := []int{7, 14} // 50 take too long for every run
	if os.Getenv("RINGCORE_SOAK_NODES") != "" {
		sizes = []int{10, 25, 50}
	}
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			c := newCluster(t)
			c.sent, c.patience = new(counts), 4*patience // many nodes on few cores
			first := c.birth("n1", 64)
			c.leader()
			var names []string
			for i := 2; i <= size; i++ {
				names = append(names, fmt.Sprint("n", i))
			}
			begun := time.Now()
			c.joinAll(names[:4])
			c.joinAll(names[4:])
			last := c.find(nodeID(names[len(names)-1]))
			st := last.settled(size, 5)
			t.Logf("%d nodes settled after %v, epoch %d", size, time.Since(begun), st.Epoch)
			for id, share := range ring.Shares(st.Ring) {
				if fair := 192 / size; share.Slots < fair-1 || share.Slots > fair+2 {
					t.Errorf("%s holds %d of 192 slots", id, share.Slots)
				}
			}
			idle[size] = c.during(func() {
				timer := time.NewTimer(idleFor)
				<-timer.C
			})
			var seen []time.Duration
			change[size] = c.during(func() {
				for i := range changes {
					siblings := i%2 == 0
					seen = append(seen, c.everywhere(c.all()[i%size], Bucket("b", wire.BucketChange{Siblings: &siblings})))
				}
			})
			change[size] = perNode{change[size].messages / changes, change[size].bytes / changes}
			slices.Sort(seen)
			t.Logf("a change is everywhere after %v (median), %v at most; each node: idle %.0f messages and %.0f bytes a second, "+
				"%.1f messages and %.0f bytes a change", seen[changes/2], seen[changes-1], idle[size].messages, idle[size].bytes, change[size].messages, change[size].bytes)
			if seen[changes/2] > time.Second {
				t.Errorf("a change is everywhere only after %v", seen)
			}
			begun = time.Now()
			c.join("late", last)
			first.settled(size+1, 5)
			t.Logf("another has joined after %v", time.Since(begun))
			begun = time.Now()
			if err := first.store.Propose(t.Context(), Leave(nodeID("late"))); err != nil {
				t.Fatal(err)
			}
			first.status(nodeID("late"), StatusLeft)
			t.Logf("and left after %v", time.Since(begun))
		})
	}
	for _, size := range sizes[1:] {
		for what, x := range map[string][2]float64{
			"idle messages":     {idle[size].messages, idle[sizes[0]].messages},
			"idle bytes":        {idle[size].bytes, idle[sizes[0]].bytes},
			"messages a change": {change[size].messages, change[sizes[0]].messages},
			"bytes a change":    {change[size].bytes, change[sizes[0]].bytes},
		} {
			if x[0] > 1.5*x[1] {
				t.Errorf("%s of each node: %.0f with %d nodes, %.0f with %d", what, x[0], size, x[1], sizes[0])
			}
		}
	}
}
