package vnodes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// traffic writes and reads keys without pause, as a router would, and notes what
// must never happen: an acknowledged write that is not read afterwards.
type traffic struct {
	w       *world
	service string
	n       int
	hints   bool // as a router does when a node is down: hints are kept, and a fallback stands in for a single replica
	keys    []string
	acked   []atomic.Int64 // by key: the newest version acknowledged
	writes  atomic.Int64
	reads   atomic.Int64
	stoodIn atomic.Int64 // writes that a fallback has taken
	stop    context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	wrong []string
}

// startTraffic begins with the first version of every key written.
func (w *world) startTraffic(service string, n int, keys []string, change ...func(*traffic)) *traffic {
	w.t.Helper()
	tr := &traffic{w: w, service: service, n: n, keys: keys, acked: make([]atomic.Int64, len(keys))}
	for _, c := range change {
		c(tr)
	}
	ctx, cancel := context.WithCancel(context.Background())
	tr.stop = cancel
	for k := range keys {
		tr.put(ctx, k, 1)
	}
	const writers, readers = 3, 2
	for i := range writers {
		tr.running.Go(func() {
			for version := int64(2); ctx.Err() == nil; version++ {
				for k := i; k < len(keys) && ctx.Err() == nil; k += writers {
					tr.put(ctx, k, version)
				}
			}
		})
	}
	for i := range readers {
		tr.running.Go(func() {
			for k := i; ctx.Err() == nil; k++ {
				tr.get(ctx, k%len(keys))
				if k%16 == 0 {
					pause(ctx, 100*time.Microsecond) // the nodes are busy too
				}
			}
		})
	}
	w.t.Cleanup(func() { cancel(); tr.running.Wait() })
	return tr
}

// end stops the traffic, reads everything once more and reports.
func (tr *traffic) end() {
	tr.w.t.Helper()
	tr.stop()
	tr.running.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for k := range tr.keys {
		if !tr.get(ctx, k) {
			tr.fail("key %s cannot be read at the end", tr.keys[k])
		}
	}
	if tr.writes.Load() <= int64(len(tr.keys)) || tr.reads.Load() <= int64(len(tr.keys)) {
		tr.fail("only %d writes and %d reads", tr.writes.Load(), tr.reads.Load())
	}
	for i, wrong := range tr.wrong {
		if i == 10 {
			tr.w.t.Errorf("and %d more", len(tr.wrong)-i)
			break
		}
		tr.w.t.Error(wrong)
	}
}

func (tr *traffic) fail(format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.wrong = append(tr.wrong, fmt.Sprintf(format, args...))
}

// put writes a version until it is acknowledged or ctx ends: blind, with one id.
func (tr *traffic) put(ctx context.Context, k int, version int64) {
	id := rand.Uint64()
	for ctx.Err() == nil {
		if tr.tryPut(k, version, id) {
			tr.acked[k].Store(version)
			tr.writes.Add(1)
			return
		}
		pause(ctx, time.Millisecond)
	}
}

// tryPut coordinates a write at a random replica.
func (tr *traffic) tryPut(k int, version int64, id uint64) bool {
	r := tr.w.ring()
	slots := r.Replicas(partitionOf(tr.keys[k]), tr.n)
	me := rand.IntN(len(slots))
	if slots[me].CatchingUp {
		return false
	}
	req := request(wire.OpCommand, r, tr.service, tr.keys[k], fmt.Sprint("put ", version))
	req.Call.ID = id
	coordinator := tr.place(r, req, slots[me].Node)
	if coordinator == nil {
		return false
	}
	a := coordinator.ask(req)
	if a.code != wire.OK {
		return false
	}
	if req.For != "" {
		tr.stoodIn.Add(1)
	}
	got := 1
	for i, s := range slots {
		if i == me {
			continue
		}
		e := request(wire.OpEffect, r, tr.service, tr.keys[k], "")
		e.Effect, e.Flags = a.effect, wire.FlagFresh
		switch b := tr.w.nodes[s.Node].ask(e); b.code {
		case wire.OK:
			got++
		case wire.Unavailable, wire.Maybe, wire.ShuttingDown:
			if tr.hints {
				e.Flags, e.For = wire.FlagFallback, string(s.Node)
				coordinator.ask(e)
			}
		case wire.Superseded:
			if m := coordinator.m.Load(); m != nil {
				stamp, _ := wire.ParseStamp(b.body)
				m.Observe(stamp)
			}
		}
	}
	return got > len(slots)/2
}

// place is the node that takes req for the slot of node: its fallback if it is down,
// and the only one; nil if there is none.
func (tr *traffic) place(r *ring.Ring, req *wire.Request, node ring.NodeID) *simNode {
	if !tr.hints || tr.n > 1 || tr.w.nodes[node].up() {
		return tr.w.nodes[node]
	}
	up := func(id ring.NodeID) bool { return tr.w.nodes[id].up() }
	for _, t := range r.PreferencesOf(ring.Partition(req.Partition), 1, up).Targets {
		if t.Fallback && t.For == node {
			req.Flags, req.For = wire.FlagFallback, string(node)
			return tr.w.nodes[t.Node]
		}
	}
	return nil
}

// get reads a key with a quorum and checks it; false if no quorum answered before ctx ended.
func (tr *traffic) get(ctx context.Context, k int) bool {
	before := tr.acked[k].Load()
	for ctx.Err() == nil {
		if version, ok := tr.tryGet(k); ok {
			if version < before {
				tr.fail("%s: key %s of service %s: read version %d, but %d was acknowledged before", time.Now().Format("15:04:05.000"), tr.keys[k], tr.service, version, before)
			}
			tr.reads.Add(1)
			return true
		}
		pause(ctx, time.Millisecond)
	}
	return false
}

// tryGet is the newest version that a quorum of the readable replicas has.
func (tr *traffic) tryGet(k int) (version int64, ok bool) {
	r := tr.w.ring()
	slots := slices.DeleteFunc(slices.Clone(r.Replicas(partitionOf(tr.keys[k]), tr.n)), func(x ring.Replica) bool { return x.CatchingUp })
	rand.Shuffle(len(slots), func(i, j int) { slots[i], slots[j] = slots[j], slots[i] })
	got := 0
	for _, s := range slots {
		req := request(wire.OpRead, r, tr.service, tr.keys[k], "")
		n := tr.place(r, req, s.Node)
		if n == nil {
			continue
		}
		a := n.ask(req)
		if a.code != wire.OK {
			continue
		}
		if len(a.body) > 8 {
			v, err := strconv.ParseInt(string(a.body[8:]), 10, 64)
			if err != nil {
				tr.fail("key %s: %v", tr.keys[k], err)
			}
			version = max(version, v)
		}
		if got++; got > len(slots)/2 {
			return version, true
		}
	}
	return 0, false
}

// guardOwners checks until the test ends that no slot of a service with one replica
// is served by two nodes.
func (w *world) guardOwners() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for pause(ctx, 200*time.Microsecond) {
			for p := range simQ {
				if err := w.twoOwners(ring.Partition(p)); err != nil {
					w.t.Error(err)
					return
				}
			}
		}
	})
	w.t.Cleanup(func() { cancel(); wg.Wait() })
}

// owning is a vnode seen serving, in one state of its gate.
type owning struct {
	n *simNode
	v *vnode
	g *gate
}

// twoOwners looks at all nodes twice: what serves in both looks has served all the
// time in between.
func (w *world) twoOwners(p ring.Partition) error {
	look := func() map[owning]bool {
		all := make(map[owning]bool)
		for _, n := range w.nodes {
			m := n.m.Load()
			if m == nil {
				continue
			}
			for _, svc := range m.services {
				if svc.replicas(m.ring()) != 1 {
					continue
				}
				if v := svc.vnodes[p].Load(); v != nil {
					if g := v.gate.Load(); g.phase == serving || g.phase == sealed {
						all[owning{n, v, g}] = true
					}
				}
			}
		}
		return all
	}
	first := look()
	if len(first) < 2 {
		return nil
	}
	byService := make(map[string]owning)
	for o := range look() {
		if !first[o] {
			continue
		}
		if other, twice := byService[o.v.svc.Name]; twice && other.n != o.n && o.n.up() && other.n.up() {
			return fmt.Errorf("partition %d of %s is served by nodes %s (gen %d) and %s (gen %d)", p, o.v.svc.Name, o.n.id, o.g.gen, other.n.id, other.g.gen)
		}
		byService[o.v.svc.Name] = o
	}
	return nil
}
