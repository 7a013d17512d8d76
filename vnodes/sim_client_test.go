package vnodes

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// simService keeps one record under each key.
func simService(name string, n int) Service {
	return Service{Name: name, N: n, New: func(p ring.Partition) Vnode { return &simVnode{p: p} }}
}

// simVnode's commands are "put VALUE", "del", and some that misbehave; its query
// answers the record's stamp and value. Its records may be counted by its fields, so
// that a renewed one is told from the one before.
type simVnode struct {
	p   ring.Partition
	ran int
}

func (v *simVnode) Command(tx *Tx, cmd []byte) ([]byte, error) {
	v.ran++
	op, value, _ := strings.Cut(string(cmd), " ")
	switch op {
	case "put":
		tx.Put(tx.Key(), []byte(value))
	case "del":
		tx.Delete(tx.Key())
	case "ran":
		return strconv.AppendInt(nil, int64(v.ran), 10), nil
	case "panic":
		tx.Put(tx.Key(), []byte("half done"))
		panic("as told")
	case "fail":
		tx.Put(tx.Key(), []byte("undone"))
		return nil, wire.Errorf(wire.Refused, "as told")
	case "append": // reads
		have, _ := tx.Get(tx.Key())
		tx.Put(tx.Key(), append(have, value...))
	default:
		return nil, wire.Errorf(wire.BadRequest, "what is %q", op)
	}
	return nil, nil
}

func (v *simVnode) Blind(cmd []byte) bool { return !strings.HasPrefix(string(cmd), "append") }

func (v *simVnode) Query(tx *Tx, q []byte) ([]byte, error) {
	if string(q) == "panic" {
		panic("as told")
	}
	r, ok := tx.Record(tx.Key())
	if !ok {
		return nil, nil
	}
	return append(binary.BigEndian.AppendUint64(nil, r.Stamp.Time), r.Value...), nil
}

func (v *simVnode) Cover(tx *Tx, _ []byte, emit func(Item) error) error {
	var err error
	tx.Ascend(nil, func(key []byte, r Record) bool {
		err = emit(Item{Key: key, Stamp: r.Stamp, Deleted: r.Deleted(), Value: r.Value})
		return err == nil
	})
	return err
}

// answer is how a request ended.
type answer struct {
	code   wire.Code
	epoch  uint64
	body   []byte
	effect []byte
}

func (a answer) String() string { return fmt.Sprintf("%v %q", a.code, a.body) }

// partitionOf is where a key of the tests lives.
func partitionOf(key string) ring.Partition {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return ring.Partition(h.Sum32() % simQ)
}

// keyIn is the i-th key in partition p.
func keyIn(p ring.Partition, i int) string {
	for j := 0; ; j++ {
		if key := fmt.Sprintf("k%d-%d", i, j); partitionOf(key) == p {
			return key
		}
	}
}

// send dispatches r and returns where its answer will be. A node that is down or
// dies before the answer never answers.
func (n *simNode) send(r *wire.Request) (<-chan answer, bool) {
	m, v := n.m.Load(), n.view.Load()
	done := make(chan answer, 1)
	if m == nil {
		return nil, false
	}
	var effect []byte
	r.OnEffect = func(e []byte) { effect = e }
	r.Done = func(code wire.Code, epoch uint64, body []byte) {
		if !v.isDead() {
			done <- answer{code, epoch, body, effect}
		}
	}
	m.Dispatch(r)
	return done, true
}

// ask is send, and waits for the answer; its code is Maybe if none comes.
func (n *simNode) ask(r *wire.Request) answer {
	done, ok := n.send(r)
	if !ok {
		return answer{code: wire.Unavailable}
	}
	select {
	case a := <-done:
		return a
	case <-n.view.Load().gone:
		return answer{code: wire.Maybe}
	case <-time.After(10 * time.Second):
		return answer{code: wire.Maybe, body: []byte("no answer for 10 s")}
	}
}

// request is one for key, planned with ring r.
func request(op wire.Op, r *ring.Ring, service, key, body string) *wire.Request {
	p := partitionOf(key)
	return &wire.Request{
		Op: op, Service: wire.ServiceID(service), Partition: uint16(p), Gen: uint64(r.Gen(p)), Epoch: uint64(r.Epoch),
		Call: wire.Call{Key: []byte(key), Body: []byte(body), ID: rand.Uint64()},
	}
}

// put and get ask the node directly, with the newest ring.
func (n *simNode) put(key, value string) answer {
	return n.ask(request(wire.OpCommand, n.w.ring(), "kv", key, "put "+value))
}

func (n *simNode) get(key string) answer {
	a := n.ask(request(wire.OpRead, n.w.ring(), "kv", key, ""))
	if a.code == wire.OK && len(a.body) >= 8 {
		a.body = a.body[8:]
	}
	return a
}

func (n *simNode) mustPut(key, value string) {
	n.w.t.Helper()
	if a := n.put(key, value); a.code != wire.OK {
		n.w.t.Fatalf("put %s at node %s: %v", key, n.id, a)
	}
}

func (n *simNode) mustGet(key, want string) {
	n.w.t.Helper()
	if a := n.get(key); a.code != wire.OK || string(a.body) != want {
		n.w.t.Fatalf("get %s at node %s: %v, want %q", key, n.id, a, want)
	}
}

// mustRefuse checks that the node answers no request of any kind for key.
func (n *simNode) mustRefuse(key string, want wire.Code) {
	n.w.t.Helper()
	if a := n.get(key); a.code != want {
		n.w.t.Fatalf("get %s at node %s: %v, want %v", key, n.id, a, want)
	}
	if a := n.put(key, "wrong"); a.code != want {
		n.w.t.Fatalf("put %s at node %s: %v, want %v", key, n.id, a, want)
	}
}

// phase is that of the node's gate for p; gone if it has no such vnode open.
func (n *simNode) phase(p ring.Partition) phase {
	m := n.m.Load()
	if m == nil {
		return gone
	}
	v := m.services[wire.ServiceID("kv")].vnodes[p].Load()
	if v == nil {
		return gone
	}
	return v.gate.Load().phase
}

// fill writes n records into partition p of the node.
func (n *simNode) fill(p ring.Partition, count int) {
	n.w.t.Helper()
	var wg sync.WaitGroup
	bad := make(chan answer, count)
	for i := range count {
		wg.Go(func() {
			if a := n.put(keyIn(p, i), fmt.Sprint("value", i)); a.code != wire.OK {
				bad <- a
			}
		})
	}
	wg.Wait()
	if len(bad) > 0 {
		n.w.t.Fatalf("%d of %d puts at node %s came to nothing: %v", len(bad), count, n.id, <-bad)
	}
}

func (n *simNode) filled(p ring.Partition, count int) {
	n.w.t.Helper()
	for i := range count {
		n.mustGet(keyIn(p, i), fmt.Sprint("value", i))
	}
}

// traffic writes and reads keys without pause, as a router would, and notes what
// must never happen: an acknowledged write that is not read afterwards.
type traffic struct {
	w       *world
	service string
	n       int
	keys    []string
	acked   []atomic.Int64 // by key: the newest version acknowledged
	writes  atomic.Int64
	reads   atomic.Int64
	stop    context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	wrong []string
}

// startTraffic begins with the first version of every key written.
func (w *world) startTraffic(service string, n int, keys []string) *traffic {
	w.t.Helper()
	tr := &traffic{w: w, service: service, n: n, keys: keys, acked: make([]atomic.Int64, len(keys))}
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
	coordinator := tr.w.nodes[slots[me].Node]
	a := coordinator.ask(req)
	if a.code != wire.OK {
		return false
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
		case wire.Superseded:
			if m := coordinator.m.Load(); m != nil {
				stamp, _ := wire.ParseStamp(b.body)
				m.Observe(stamp)
			}
		}
	}
	return got > len(slots)/2
}

// get reads a key with a quorum and checks it; false if no quorum answered before ctx ended.
func (tr *traffic) get(ctx context.Context, k int) bool {
	before := tr.acked[k].Load()
	for ctx.Err() == nil {
		if version, ok := tr.tryGet(k); ok {
			if version < before {
				tr.fail("key %s: read version %d, but %d was acknowledged before", tr.keys[k], version, before)
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
		a := tr.w.nodes[s.Node].ask(request(wire.OpRead, r, tr.service, tr.keys[k], ""))
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

var errTestEnds = errors.New("the test ends here")

func move(p ring.Partition, slot, from, to int) ring.Step {
	return ring.Step{Kind: ring.StepMove, Partition: p, Slot: slot, From: nodeID(from), To: nodeID(to)}
}

func swap(p ring.Partition, slot, other, from, to int) ring.Step {
	return ring.Step{Kind: ring.StepSwap, Partition: p, Slot: slot, Other: other, From: nodeID(from), To: nodeID(to)}
}

func add(p ring.Partition, slot, to int) ring.Step {
	return ring.Step{Kind: ring.StepAdd, Partition: p, Slot: slot, To: nodeID(to)}
}

func drop(p ring.Partition, slot, from int) ring.Step {
	return ring.Step{Kind: ring.StepDrop, Partition: p, Slot: slot, From: nodeID(from)}
}

func keysIn(p ring.Partition, count int) []string {
	keys := make([]string, count)
	for i := range keys {
		keys[i] = keyIn(p, i)
	}
	return keys
}

// The world works at all.
func TestSim(t *testing.T) {
	w := newWorld(t, 2, 1)
	w.node(1).mustPut("a", "1")
	w.node(1).mustGet("a", "1")
	w.node(2).mustRefuse("a", wire.Moved)
	w.do(move(partitionOf("a"), 0, 1, 2))
	w.node(2).mustGet("a", "1")
	w.node(1).mustRefuse("a", wire.Moved)
}
