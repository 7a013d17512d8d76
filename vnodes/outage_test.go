package vnodes

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/ringcore/ringcore/metadata/ring"
)

// outages lets nodes die and return in any order.
type outages struct {
	w    *world
	rnd  *rand.Rand
	down map[int]bool
	all  int // times that every node was down

	history []string
}

// did notes what was done to a node.
func (o *outages) did(what string, i int) {
	o.history = append(o.history, fmt.Sprintf("%s %s %d", time.Now().Format("15:04:05.000"), what, i))
}

// start starts a node that is down.
func (o *outages) start(i int) {
	o.did("start", i)
	o.w.node(i).start()
	o.did("started", i)
	delete(o.down, i)
}

// step does one thing.
func (o *outages) step() {
	switch n := o.rnd.IntN(10); {
	case n == 0:
		o.restartAll()
	case len(o.down) > 0:
		down := slices.Sorted(maps.Keys(o.down))
		o.start(down[o.rnd.IntN(len(down))])
	case n < 6: // whoever holds hints goes too, and returns earlier or later
		o.lose(1 + o.rnd.IntN(len(o.w.nodes)))
		o.rest()
		for i := range len(o.w.nodes) {
			if m := o.w.node(i + 1).m.Load(); m != nil && m.Holding() > 0 {
				o.lose(i + 1)
				break
			}
		}
	default:
		o.lose(1 + o.rnd.IntN(len(o.w.nodes)))
	}
	o.rest()
}

func (o *outages) rest() {
	pause(o.w.t.Context(), time.Duration(o.rnd.IntN(150))*time.Millisecond)
}

// lose crashes or stops a node.
func (o *outages) lose(i int) {
	if o.down[i] {
		return
	}
	o.down[i] = true
	if o.rnd.IntN(2) == 0 {
		o.did("crash", i)
		o.w.node(i).crash()
		return
	}
	o.did("stop", i)
	o.w.node(i).stop()
}

// restartAll crashes all nodes and starts them in some order.
func (o *outages) restartAll() {
	for i := 1; i <= len(o.w.nodes); i++ {
		o.lose(i)
	}
	o.all++
	for _, i := range o.rnd.Perm(len(o.w.nodes)) {
		o.start(i + 1)
		o.rest()
	}
}

// Nodes die and return in any order, those that hold hints and all at once among
// them, and no two clocks agree: what was acknowledged, by a fallback too, is read by
// everybody from then on.
//
// `make soak-outages` runs it twenty times: some things show in few runs only.
func TestRandomOutages(t *testing.T) {
	if os.Getenv("RINGCORE_SOAK_OUTAGES") == "" {
		t.Skip("make soak-outages runs it")
	}
	seed := rand.Uint64()
	if s, err := strconv.ParseUint(os.Getenv("RINGCORE_SOAK_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("seed %d: RINGCORE_SOAK_SEED=%d does the same to the nodes", seed, seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	const nodes = 4
	r := ring.New(simQ, 3, nodeID(1))
	for p := range r.Assignments { // each node owns something: a fallback is the owner of the next partitions
		list := &r.Assignments[p].Replicas
		*list = nil
		for i := range 3 {
			*list = append(*list, ring.Replica{Node: nodeID(1 + (p+i)%nodes)})
		}
	}
	w := newWorldOf(t, nodes, r, func(n *simNode) {
		n.services = []Service{simService("one", 1), simService("all", 3)}
		ahead := time.Duration(rnd.IntN(300)) * time.Millisecond
		n.tune = func(c *Config) { c.Now = func() time.Time { return time.Now().Add(ahead) } }
	})
	var keys []string
	for p := range ring.Partition(simQ) {
		keys = append(keys, keysIn(p, 6)...)
	}
	hints := func(tr *traffic) { tr.hints = true }
	one, all := w.startTraffic("one", 1, keys, hints), w.startTraffic("all", 3, keys, hints)
	o := &outages{w: w, rnd: rnd, down: make(map[int]bool)}
	t.Cleanup(func() {
		if t.Failed() {
			for _, did := range o.history {
				t.Log(did)
			}
		}
	})
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end) && !t.Failed(); {
		o.step()
	}
	for _, i := range slices.Sorted(maps.Keys(o.down)) {
		o.start(i)
	}
	w.settled()
	one.end()
	all.end()
	if one.stoodIn.Load() == 0 {
		t.Error("no fallback has taken a write")
	}
	t.Logf("%d times all nodes were down; %d and %d writes, %d of them by fallbacks, %d and %d reads", o.all,
		one.writes.Load(), all.writes.Load(), one.stoodIn.Load(), one.reads.Load(), all.reads.Load())
}
