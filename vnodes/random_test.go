package vnodes

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// randomWalk changes a ring at random while streams break, proposals get lost and
// nodes crash.
type randomWalk struct {
	w       *world
	rnd     *rand.Rand
	crashes bool
	damages bool
	hurt    map[ring.Partition]bool // partitions of which a copy was damaged: one, and once
	rebuilt int64                   // slots, by nodes whose lives have ended
	begun   int
	crashed int
}

// step does one thing.
func (r *randomWalk) step() {
	switch n := r.rnd.IntN(100); {
	case n < 60:
		r.begin()
	case n < 65:
		if open := r.w.state().open; len(open) > 0 {
			_ = r.w.end(open[r.rnd.IntN(len(open))].ID, false) // or it is committed first
		}
	case n < 70 && r.crashes:
		r.crash()
	case n < 80 && r.damages:
		r.damage()
	case n < 72 && r.crashes:
		n := r.w.node(1 + r.rnd.IntN(len(r.w.nodes)))
		r.rebuilt += n.m.Load().FaultCounts().Rebuilt
		n.restart()
	default:
		pause(r.w.t.Context(), time.Duration(r.rnd.IntN(20))*time.Millisecond)
	}
}

// begin opens a session for some partition that has none.
func (r *randomWalk) begin() {
	st := r.w.state()
	p := ring.Partition(r.rnd.IntN(simQ))
	for _, s := range st.open {
		if s.Partition == p {
			return
		}
	}
	list := st.ring.Assignments[p].Replicas
	other := nodeID(1 + r.rnd.IntN(len(r.w.nodes)))
	in := st.ring.Place(p, other)
	i := r.rnd.IntN(len(list))
	step := ring.Step{Partition: p, Slot: i, From: list[i].Node, To: other}
	switch n := r.rnd.IntN(10); {
	case in < 0 && n < 4 && len(list) < 3:
		step.Kind, step.Slot, step.From = ring.StepAdd, len(list), ""
	case in < 0:
		step.Kind = ring.StepMove
	case in > i:
		step.Kind, step.Other = ring.StepSwap, in
	case i == len(list)-1 && i > 0:
		step.Kind, step.To = ring.StepDrop, ""
	default:
		return
	}
	r.w.begin(step)
	r.begun++
}

// crash kills a node and starts it again with metadata that may be old.
func (r *randomWalk) crash() {
	n := r.w.node(1 + r.rnd.IntN(len(r.w.nodes)))
	r.rebuilt += n.m.Load().FaultCounts().Rebuilt
	n.crash()
	r.crashed++
	pause(r.w.t.Context(), time.Duration(r.rnd.IntN(30))*time.Millisecond)
	r.w.mu.Lock()
	st := r.w.states[max(len(r.w.states)-1-r.rnd.IntN(6), 0)]
	r.w.mu.Unlock()
	n.startAt(st)
}

// damage kills a node and flips a bit in one of its files, of a partition with more
// replicas. Not twice in one partition: nobody may know of the first time yet.
func (r *randomWalk) damage() {
	now, p := r.w.ring(), ring.Partition(r.rnd.IntN(simQ))
	list := slices.DeleteFunc(slices.Clone(now.Replicas(p, 3)), func(x ring.Replica) bool { return x.CatchingUp })
	if r.hurt[p] || len(list) < 2 {
		return
	}
	n := r.w.nodes[list[r.rnd.IntN(len(list))].Node]
	if err := n.m.Load().disk.Checkpoint(); err != nil && !errors.Is(err, ErrCorrupt) { // it may meet what was damaged before
		r.w.t.Error(err)
	}
	r.rebuilt += n.m.Load().FaultCounts().Rebuilt
	n.crash()
	path := filepath.Join(n.dir, "all", fmt.Sprintf("p%04d.bolt", p))
	busy := slices.ContainsFunc(r.w.state().open, func(s Session) bool { return s.Partition == p })
	if content, err := os.ReadFile(path); err == nil && !busy && r.w.ring().Gen(p) == now.Gen(p) { // it may have moved away meanwhile
		r.hurt[p] = true
		for _, at := range usedByte(r.rnd, content) {
			flip(r.w.t, path, at)
		}
	}
	n.start()
}

// usedByte is where a byte of a record lies in a store's file, old copies of its page
// included, or, now and then, any byte.
func usedByte(rnd *rand.Rand, content []byte) []int {
	c := boltChecker{r: bytes.NewReader(content)}
	var stored []byte
	seen := 0
	c.verify = func(_ []byte, v boltValue) (err error) {
		if seen++; rnd.IntN(seen) == 0 {
			stored, err = v.page.bytes(v.off, v.n)
		}
		return err
	}
	if err := c.check(int64(len(content))); err != nil || len(stored) == 0 || rnd.IntN(8) == 0 {
		return []int{rnd.IntN(len(content))}
	}
	var all []int
	in := rnd.IntN(len(stored))
	for at := bytes.Index(content, stored); at >= 0; {
		all = append(all, at+in)
		next := bytes.Index(content[at+1:], stored)
		if next < 0 {
			break
		}
		at += 1 + next
	}
	return all
}

// misfortune breaks streams and loses proposals.
func (r *randomWalk) misfortune() {
	r.w.net.setHook(func(*passing) treatment {
		if rand.IntN(150) == 0 {
			return sever
		}
		return deliver
	})
	r.w.setFate(func(*simNode, Session) fate {
		switch n := rand.IntN(20); {
		case n < 2:
			return lostBefore
		case n < 4:
			return lostAfter
		}
		return applied
	})
}

// Whatever happens on the way: what was acknowledged is read, never something older
// and never nothing; no slot has two owners; and in the end every node has the files of
// its slots and no others. RINGCORE_SOAK_TRANSFERS is after how many committed transfers
// it ends, in worlds of many shapes; else each kind of storage has its three seconds.
func TestRandomWalk(t *testing.T) {
	kinds := []string{"disk", "memory", "damaged disk"}
	limit, err := strconv.Atoi(os.Getenv("RINGCORE_SOAK_TRANSFERS"))
	if err != nil {
		for _, storage := range kinds {
			t.Run(storage, func(t *testing.T) { walkRandomly(t, storage, 4, 2) })
		}
		return
	}
	committed := 0
	for i := 0; committed < limit && !t.Failed(); i++ {
		storage, nodes := kinds[i%len(kinds)], 3+i%4
		t.Run(fmt.Sprintf("%s %d", storage, i), func(t *testing.T) { committed += walkRandomly(t, storage, nodes, 1+i%3) })
	}
	t.Logf("%d transfers committed", committed)
}

// leastCommitted are the transfers without which a walk shows nothing.
const leastCommitted = 5

// done reports whether a walk may end: after three seconds, or later on a machine that is
// so busy that hardly anything has moved, or nothing was damaged that was to be, by then.
func (r *randomWalk) done(elapsed time.Duration) bool {
	enough := r.committed() >= leastCommitted && (!r.damages || len(r.hurt) > 0)
	return elapsed > time.Minute || elapsed > 3*time.Second && enough
}

// committed counts the transfers that were.
func (r *randomWalk) committed() (n int) {
	for _, c := range r.w.state().ended {
		if c {
			n++
		}
	}
	return n
}

// walkRandomly walks for three seconds, and returns how many transfers were committed.
func walkRandomly(t *testing.T, storage string, nodes, replicas int) (committed int) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := newWorld(t, nodes, replicas, quickRepairs, func(n *simNode) {
		n.memory = storage == "memory"
		n.services = []Service{simService("one", 1), simService("all", 3)}
	})
	w.guardOwners()
	var keys []string
	for p := range ring.Partition(simQ) {
		keys = append(keys, keysIn(p, 12)...)
	}
	one, all := w.startTraffic("one", 1, keys), w.startTraffic("all", 3, keys)
	r := &randomWalk{w: w, rnd: rand.New(rand.NewPCG(seed, 0)), crashes: storage != "memory"}
	r.damages, r.hurt = storage == "damaged disk", make(map[ring.Partition]bool)
	r.misfortune()
	for begun := time.Now(); !r.done(time.Since(begun)) && !t.Failed(); {
		r.step()
	}
	w.net.setHook(nil)
	w.setFate(nil)
	rebuilt := r.heal()
	w.settled()
	one.end()
	all.end()
	committed = r.committed()
	t.Logf("%d sessions, %d committed, %d crashes, %d and %d writes, %d and %d reads; %d copies damaged, %d rebuilt", r.begun, committed, r.crashed,
		one.writes.Load(), all.writes.Load(), one.reads.Load(), all.reads.Load(), len(r.hurt), rebuilt)
	if r.damages && len(r.hurt) == 0 && replicas > 1 {
		t.Error("nothing was damaged")
	}
	if committed < leastCommitted {
		t.Error("hardly anything has moved")
	}
	for _, n := range w.nodes {
		if text := n.log.String(); strings.Contains(text, "level=ERROR") && !r.damages {
			i := strings.Index(text, "level=ERROR")
			t.Errorf("node %s: %s", n.id, text[i:min(len(text), i+300)])
		}
	}
	r.complete()
	return committed
}

// heal waits until all damage is found and gone, and returns how many slots were rebuilt.
func (r *randomWalk) heal() (rebuilt int64) {
	if !r.damages {
		return 0
	}
	for _, n := range r.w.nodes {
		n.m.Load().disk.scrubNow(r.w.t)
	}
	r.w.until("all damage is gone", func() bool {
		rebuilt = r.rebuilt
		for _, n := range r.w.nodes {
			rebuilt += n.m.Load().FaultCounts().Rebuilt
			if len(n.m.Load().Faults()) > 0 {
				return false
			}
		}
		return true
	})
	return rebuilt
}

// complete checks that every readable replica confirms what it has.
func (r *randomWalk) complete() {
	now := r.w.ring()
	for p := range now.Assignments {
		p := ring.Partition(p)
		for _, x := range now.Replicas(p, 3) {
			if x.CatchingUp {
				r.w.t.Errorf("partition %d is still being filled on %s", p, x.Node)
			}
			m := r.w.nodes[x.Node].m.Load()
			for _, name := range []string{"one", "all"} {
				svc := m.services[wire.ServiceID(name)]
				if !within(now.Place(p, x.Node), svc.replicas(now)) {
					continue
				}
				r.w.until(fmt.Sprintf("%s confirms partition %d of %s", x.Node, p, name), func() bool {
					return r.w.node(1).m.Load().confirm(r.w.t.Context(), svc, now, p, x.Node) == nil
				})
			}
		}
	}
}
