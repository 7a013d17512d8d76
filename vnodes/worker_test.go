package vnodes

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// oneNode is a world of one node with a service whose vnode is made by make.
func oneNode(t *testing.T, n int, make func(p ring.Partition) Vnode) (*world, *simNode) {
	t.Helper()
	w := newWorld(t, 1, 1, func(x *simNode) { x.services = []Service{{Name: "kv", N: n, New: make}} })
	return w, w.node(1)
}

func (n *simNode) command(key, cmd string) answer {
	return n.ask(request(wire.OpCommand, n.w.ring(), "kv", key, cmd))
}

// effect sends one record to the replica.
func (n *simNode) effect(key string, r Record, flags wire.Flags) answer {
	req := request(wire.OpEffect, n.w.ring(), "kv", key, "")
	req.Effect, req.Flags = AppendWrites(nil, []Write{{Key: []byte(key), Record: r}}), flags
	return n.ask(req)
}

// Which code answers which request.
func TestRequestsRefused(t *testing.T) {
	w := newWorld(t, 1, 1)
	n := w.node(1)
	n.mustPut("a", "1")
	change := func(f func(*wire.Request)) *wire.Request {
		r := request(wire.OpCommand, w.ring(), "kv", "a", "put wrong")
		f(r)
		return r
	}
	for name, c := range map[string]struct {
		req  *wire.Request
		want wire.Code
	}{
		"service":        {change(func(r *wire.Request) { r.Service++ }), wire.BadRequest},
		"partition":      {change(func(r *wire.Request) { r.Partition = simQ }), wire.BadRequest},
		"operation":      {change(func(r *wire.Request) { r.Op = wire.OpPing }), wire.BadRequest},
		"late":           {change(func(r *wire.Request) { r.Deadline = time.Now().Add(-time.Second) }), wire.Deadline},
		"unknown gen":    {change(func(r *wire.Request) { r.Gen, r.Epoch = 9, 9 }), wire.Behind},
		"no effect":      {change(func(r *wire.Request) { r.Op, r.Effect = wire.OpEffect, []byte{1, 2} }), wire.BadRequest},
		"command":        {change(func(r *wire.Request) { r.Call.Body = []byte("what") }), wire.BadRequest},
		"failed command": {change(func(r *wire.Request) { r.Call.Body = []byte("fail") }), wire.Refused},
	} {
		if got := n.ask(c.req); got.code != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if got := n.get("a"); string(got.body) != "1" {
			t.Fatalf("%s has changed the record: %v", name, got)
		}
	}
}

// A request planned with a newer ring makes the node fetch that.
func TestNewerRingIsFetched(t *testing.T) {
	w := newWorld(t, 2, 1)
	const p = 1
	b := w.node(2)
	b.view.Load().deaf.Store(true)
	w.committed(w.begin(move(p, 0, 1, 2)))
	if b.phase(p) == serving {
		t.Fatal("the target has heard of the commit")
	}
	if got := b.put(keyIn(p, 0), "1"); got.code != wire.OK {
		t.Fatal(got)
	}
	b.view.Load().deaf.Store(false)
	w.settled()
}

// A request planned before the list grew or shrank is STALE: its quorum may not meet
// those of newer plans.
func TestStale(t *testing.T) {
	w := newWorld(t, 3, 1, func(n *simNode) { n.services = []Service{simService("kv", 3)} })
	const p = 1
	w.node(1).fill(p, 3)
	for _, step := range []ring.Step{add(p, 1, 2), add(p, 2, 3), drop(p, 2, 3)} {
		old := w.ring()
		w.do(step)
		for _, op := range []wire.Op{wire.OpCommand, wire.OpRead} {
			if got := w.node(1).ask(request(op, old, "kv", keyIn(p, 0), "put wrong")); got.code != wire.Stale || got.epoch != uint64(w.ring().Epoch) {
				t.Errorf("after %v: operation %d: %v, epoch %d", step, op, got, got.epoch)
			}
		}
		w.node(2).filled(p, 3)
	}
	old := w.ring()
	w.do(swap(p, 0, 1, 1, 2))
	if got := w.node(1).ask(request(wire.OpRead, old, "kv", keyIn(p, 0), "")); got.code != wire.OK {
		t.Errorf("planned before a swap: %v", got)
	}
}

// An added slot takes effects while it is filled, and answers nothing.
func TestCatchingSlot(t *testing.T) {
	w := newWorld(t, 2, 1, func(n *simNode) { n.services = []Service{simService("kv", 3)} })
	const p = 1
	w.node(1).fill(p, 3)
	var pulled atomic.Bool
	goOn := make(chan struct{})
	w.net.setHook(func(f *passing) treatment {
		if f.opened == wire.OpPull && !pulled.Swap(true) {
			<-goOn
		}
		return deliver
	})
	s := w.begin(add(p, 1, 2))
	w.until("the slot is being filled", pulled.Load)
	w.node(2).mustRefuse(keyIn(p, 0), wire.NotReadable)
	stamp := Stamp{Time: clockTime(time.Now()), Node: 9}
	if got := w.node(2).effect(keyIn(p, 7), Record{Stamp: stamp, Value: []byte("meanwhile")}, wire.FlagFresh); got.code != wire.OK {
		t.Errorf("an effect: %v", got)
	}
	close(goOn)
	w.committed(s)
	w.settled()
	w.node(2).filled(p, 3)
	w.node(2).mustGet(keyIn(p, 7), "meanwhile")
}

// A replica that holds something newer refuses a fresh effect and says what it
// holds; any other effect is merged silently.
func TestSuperseded(t *testing.T) {
	w := newWorld(t, 1, 1)
	n := w.node(1)
	now := clockTime(time.Now())
	newer, older := Record{Stamp: Stamp{Time: now, Node: 2, ID: 5}, Value: []byte("newer")}, Record{Stamp: Stamp{Time: now - 1, Node: 9, ID: 9}, Value: []byte("older")}
	if got := n.effect("a", newer, wire.FlagFresh); got.code != wire.OK {
		t.Fatal(got)
	}
	got := n.effect("a", older, wire.FlagFresh)
	if stamp, err := wire.ParseStamp(got.body); got.code != wire.Superseded || err != nil || stamp != newer.Stamp {
		t.Errorf("fresh: %v, %v, %v", got, stamp, err)
	}
	if got := n.effect("a", older, 0); got.code != wire.OK {
		t.Errorf("not fresh: %v", got)
	}
	if got := n.effect("a", newer, wire.FlagFresh); got.code != wire.OK {
		t.Errorf("once more: %v", got)
	}
	n.mustGet("a", "newer")

	// Several records: all or none.
	req := request(wire.OpEffect, w.ring(), "kv", "a", "")
	req.Flags = wire.FlagFresh
	req.Effect = AppendWrites(nil, []Write{{Key: []byte("b"), Record: newer}, {Key: []byte("a"), Record: older}})
	if got := n.ask(req); got.code != wire.Superseded {
		t.Errorf("two records: %v", got)
	}
	v := n.m.Load().services[wire.ServiceID("kv")].vnodes[partitionOf("a")].Load()
	if _, ok, _ := v.store.Get([]byte("b")); ok {
		t.Error("one of two records was written")
	}
}

// A stamp far ahead is refused if it is new; one that the cluster has accepted
// before is not, and what replaces it is newer still.
func TestClockAhead(t *testing.T) {
	w := newWorld(t, 1, 1)
	n := w.node(1)
	ahead := Record{Stamp: Stamp{Time: clockTime(time.Now().Add(time.Hour))}, Value: []byte("from the future")}
	if got := n.effect("a", ahead, wire.FlagFresh); got.code != wire.ClockAhead {
		t.Errorf("fresh: %v", got)
	}
	if got := n.effect("a", ahead, 0); got.code != wire.OK {
		t.Fatalf("not fresh: %v", got)
	}
	n.mustGet("a", "from the future")
	n.mustPut("a", "newer still")
	n.mustGet("a", "newer still")
	if got := n.effect("a", ahead, 0); got.code != wire.OK {
		t.Fatal(got)
	}
	n.mustGet("a", "newer still")
}

// A wall clock that is wrong changes stamps, not deadlines: those are counted by a
// clock that nobody sets.
func TestWrongClockKeepsDeadlines(t *testing.T) {
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		w := newWorld(t, 1, 1, func(n *simNode) {
			n.tune = func(c *Config) { c.Now = func() time.Time { return time.Now().Add(off) } }
		})
		put := request(wire.OpCommand, w.ring(), "kv", "a", "put 1")
		put.Deadline = time.Now().Add(time.Minute)
		if got := w.node(1).ask(put); got.code != wire.OK {
			t.Errorf("clock %s off, a minute left: %v", off, got)
		}
		put.Deadline = time.Now().Add(-time.Second)
		if got := w.node(1).ask(put); got.code != wire.Deadline {
			t.Errorf("clock %s off, late: %v", off, got)
		}
	}
}

// slowVnode takes until a deadline for what is late.
type slowVnode struct {
	simVnode
	deadline time.Time
}

func (v *slowVnode) Command(tx *Tx, cmd []byte) ([]byte, error) {
	reply, err := v.simVnode.Command(tx, cmd)
	if string(cmd) == "put late" {
		<-time.After(time.Until(v.deadline))
	}
	return reply, err
}

// A command whose deadline passes while it runs, as in a process that is stopped,
// writes nothing: its caller has asked another node, and newer writes may have followed.
func TestDeadlinePassesWhileRunning(t *testing.T) {
	deadline := time.Now().Add(100 * time.Millisecond)
	w, n := oneNode(t, 1, func(ring.Partition) Vnode { return &slowVnode{deadline: deadline} })
	n.mustPut("a", "in time")
	req := request(wire.OpCommand, w.ring(), "kv", "a", "put late")
	req.Deadline = deadline
	if got := n.ask(req); got.code != wire.Deadline {
		t.Errorf("%v", got)
	}
	n.mustGet("a", "in time")
	n.mustPut("a", "later")
	n.mustGet("a", "later")
}

// A command that reads is refused where it cannot be right.
func TestReadingCommands(t *testing.T) {
	for name, c := range map[string]struct {
		n    int
		want wire.Code
	}{"one replica": {1, wire.OK}, "three": {3, wire.Refused}} {
		t.Run(name, func(t *testing.T) {
			_, n := oneNode(t, c.n, simService("", 0).New)
			if got := n.command("a", "append x"); got.code != c.want {
				t.Errorf("%v", got)
			}
		})
	}
	t.Run("three with a merge", func(t *testing.T) {
		_, n := oneNode(t, 3, func(ring.Partition) Vnode { return &mergingVnode{} })
		for range 2 {
			if got := n.command("a", "append x"); got.code != wire.OK {
				t.Errorf("%v", got)
			}
		}
		n.mustGet("a", "xx")
	})
}

// mergingVnode keeps the longer value, and panics over a value that says so.
type mergingVnode struct{ simVnode }

func (*mergingVnode) Merge(_ []byte, have, incoming Record) Record {
	if string(incoming.Value) == "panic" {
		panic("as told")
	}
	if len(incoming.Value) > len(have.Value) {
		return incoming
	}
	return have
}

// The service's own merge decides, and no stamp is ever too old for it.
func TestMerge(t *testing.T) {
	_, n := oneNode(t, 3, func(ring.Partition) Vnode { return &mergingVnode{} })
	now := clockTime(time.Now())
	for i, c := range []struct{ value, want string }{{"ab", "ab"}, {"a", "ab"}, {"abc", "abc"}, {"x", "abc"}} {
		r := Record{Stamp: Stamp{Time: now - uint64(i)}, Value: []byte(c.value)}
		if got := n.effect("a", r, wire.FlagFresh); got.code != wire.OK {
			t.Errorf("%q: %v", c.value, got)
		}
		n.mustGet("a", c.want)
	}
	if got := n.effect("a", Record{Stamp: Stamp{Time: now}, Value: []byte("panic")}, 0); got.code != wire.Internal {
		t.Errorf("a panic in Merge: %v", got)
	}
	n.mustGet("a", "abc")
}

// A panic ends the call, not the node: the vnode is a new one, its records are as before.
func TestPanic(t *testing.T) {
	w := newWorld(t, 1, 1)
	n := w.node(1)
	n.mustPut("a", "before")
	if got := n.command("a", "ran"); string(got.body) != "2" {
		t.Fatalf("%v", got)
	}
	got := n.command("a", "panic")
	if got.code != wire.Internal || got.effect != nil {
		t.Errorf("%v, effect %q", got, got.effect)
	}
	if got := n.command("a", "ran"); string(got.body) != "1" {
		t.Errorf("not renewed: %v", got)
	}
	n.mustGet("a", "before")
	if got := n.ask(request(wire.OpRead, w.ring(), "kv", "a", "panic")); got.code != wire.Internal {
		t.Errorf("query: %v", got)
	}
	n.mustGet("a", "before")
	n.restart()
	n.mustGet("a", "before")
}

// blocker's commands wait.
type blocker struct {
	simVnode
	goOn  chan struct{}
	begun chan struct{} // nil, or told of each that waits
}

func (b *blocker) Command(tx *Tx, cmd []byte) ([]byte, error) {
	if string(cmd) == "wait" {
		if b.begun != nil {
			b.begun <- struct{}{}
		}
		<-b.goOn
		return nil, nil
	}
	return b.simVnode.Command(tx, cmd)
}

// A full queue answers OVERLOAD at once; reads go past it.
func TestInboxOverload(t *testing.T) {
	goOn := make(chan struct{})
	w, n := oneNode(t, 1, func(ring.Partition) Vnode { return &blocker{goOn: goOn} })
	n.mustPut("a", "1")
	var pending []<-chan answer
	over := 0
	for range inboxSize + 10 {
		done, _ := n.send(request(wire.OpCommand, w.ring(), "kv", "a", "wait"))
		select {
		case got := <-done:
			if over++; got.code != wire.Overload {
				t.Fatalf("%v", got)
			}
		default:
			pending = append(pending, done)
		}
	}
	if over < 9 || over > 10 {
		t.Errorf("%d refused", over)
	}
	n.mustGet("a", "1")
	close(goOn)
	for _, done := range pending {
		if got := <-done; got.code != wire.OK {
			t.Fatalf("%v", got)
		}
	}
}

// sealSlot brings the node's vnode of p into another phase, as a transfer would.
func (n *simNode) sealSlot(p ring.Partition, from, to phase) {
	v := n.m.Load().services[wire.ServiceID("kv")].vnodes[p].Load()
	v.do(func(v *vnode) { v.change(from, to) })
}

// What a switch holds is bounded; each is answered at its deadline, and the rest runs
// in order when the switch came to nothing.
func TestHeldRequests(t *testing.T) {
	w := newWorld(t, 1, 1)
	n := w.node(1)
	n.mustPut("a", "0")
	n.sealSlot(partitionOf("a"), serving, sealed)
	hurried := request(wire.OpCommand, w.ring(), "kv", "a", "put hurried")
	hurried.Deadline = time.Now().Add(30 * time.Millisecond)
	late, _ := n.send(hurried)
	patient := request(wire.OpCommand, w.ring(), "kv", "a", "put patient")
	patient.Deadline = time.Now().Add(time.Hour)
	kept, _ := n.send(patient)
	if got := <-late; got.code != wire.Deadline || time.Now().Before(hurried.Deadline) {
		t.Errorf("%v", got)
	}
	n.mustGet("a", "0") // reads go on
	var pending []<-chan answer
	for i := range heldMax - 1 {
		if i%500 == 0 { // not faster than the worker
			w.until("the inbox is empty", func() bool {
				return len(n.m.Load().services[wire.ServiceID("kv")].vnodes[partitionOf("a")].Load().inbox) == 0
			})
		}
		done, _ := n.send(request(wire.OpCommand, w.ring(), "kv", "a", fmt.Sprint("put ", i)))
		pending = append(pending, done)
	}
	if got := n.command("a", "put one too many"); got.code != wire.Overload {
		t.Errorf("%v", got)
	}
	n.sealSlot(partitionOf("a"), sealed, serving)
	for _, done := range append(pending, kept) {
		if got := <-done; got.code != wire.OK {
			t.Fatalf("%v", got)
		}
	}
	n.mustGet("a", fmt.Sprint(heldMax-2))
}
