package vnodes

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
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
	r.OnEffect = func(e, _ []byte) { effect = e }
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
