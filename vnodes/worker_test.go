package vnodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
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

// openVnode tells when it is opened, and may not be made or not open.
type openVnode struct {
	simVnode
	opened func() error
}

func (v *openVnode) Opened(context.Context) error { return v.opened() }

// A vnode that does not open is unavailable and says why, also after the ring has
// changed; one that is renewed after a panic is opened again.
func TestOpened(t *testing.T) {
	for name, c := range map[string]struct {
		make func() Vnode
		want string
	}{
		"New panics":    {func() Vnode { panic("no vnode today") }, "no vnode today"},
		"New is nil":    {func() Vnode { return nil }, "made no vnode"},
		"Opened fails":  {func() Vnode { return &openVnode{opened: func() error { return errors.New("no licence") }} }, "no licence"},
		"Opened panics": {func() Vnode { return &openVnode{opened: func() error { panic("no licence") }} }, "no licence"},
	} {
		t.Run(name, func(t *testing.T) {
			var registered atomic.Bool
			w, n := oneNode(t, 1, func(ring.Partition) Vnode {
				if !registered.Swap(true) {
					return &simVnode{}
				}
				return c.make()
			})
			for range 2 {
				for _, op := range []wire.Op{wire.OpRead, wire.OpCommand, wire.OpEffect} {
					got := n.ask(request(op, w.ring(), "kv", "a", "put 1"))
					if got.code != wire.Unavailable || !strings.Contains(string(got.body), c.want) {
						t.Errorf("operation %d: %v", op, got)
					}
				}
				// A change of the ring does not make it serve.
				if err := w.commit(func(s *simState) error {
					list := slices.Clone(s.ring.Assignments)
					list[partitionOf("a")].Gen++
					s.ring = &ring.Ring{N: s.ring.N, Assignments: list}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	t.Run("again after a panic", func(t *testing.T) {
		var opened atomic.Int64
		_, n := oneNode(t, 1, func(ring.Partition) Vnode {
			return &openVnode{opened: func() error { opened.Add(1); return nil }}
		})
		n.command("a", "panic")
		n.mustPut("a", "1")
		if got := opened.Load(); got != 2 {
			t.Errorf("opened %d times", got)
		}
	})
}

// No read meets a vnode that is not open yet.
func TestReadsWaitUntilOpened(t *testing.T) {
	var registered, opened atomic.Bool
	goOn := make(chan struct{})
	w, n := oneNode(t, 1, func(ring.Partition) Vnode {
		if !registered.Swap(true) {
			return &simVnode{}
		}
		return &openVnode{opened: func() error { <-goOn; opened.Store(true); return nil }}
	})
	read, _ := n.send(request(wire.OpRead, w.ring(), "kv", "a", ""))
	var cover sync.WaitGroup
	cover.Go(func() {
		err := n.m.Load().Cover(t.Context(), &wire.CoverCall{Service: wire.ServiceID("kv"), Partition: uint16(partitionOf("a")), Gen: 1}, nil)
		if err != nil || !opened.Load() {
			t.Errorf("coverage: %v, opened %v", err, opened.Load())
		}
	})
	select {
	case got := <-read:
		t.Errorf("answered before it was open: %v", got)
	case <-time.After(20 * time.Millisecond):
	}
	close(goOn)
	if got := <-read; got.code != wire.OK {
		t.Error(got)
	}
	cover.Wait()
}

// blocker's commands wait.
type blocker struct {
	simVnode
	goOn chan struct{}
}

func (b *blocker) Command(tx *Tx, cmd []byte) ([]byte, error) {
	if string(cmd) == "wait" {
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

// hooked notes the calls of its hooks.
type hooked struct {
	simVnode
	note   func(string)
	refuse *atomic.Bool
}

func (h *hooked) Opened(context.Context) error { h.note("opened"); return nil }
func (h *hooked) HandoffStarting(to ring.NodeID) error {
	if h.refuse.Load() {
		h.note("refused")
		return errors.New("not now")
	}
	h.note("starting")
	return nil
}
func (h *hooked) HandoffCancelled(ring.NodeID) { h.note("cancelled") }
func (h *hooked) HandoffFinished(ring.NodeID)  { h.note("finished"); panic("a hook may panic") }
func (h *hooked) Dropped()                     { h.note("dropped"); panic("a hook may panic") }
func (h *hooked) Close() error                 { h.note("close"); return errors.New("a hook may fail") }

// The hooks of a vnode's life, in order: each start of a handoff is followed by its
// end, one way or the other.
func TestHooks(t *testing.T) {
	var mu sync.Mutex
	calls := make(map[ring.NodeID][]string)
	var refuse atomic.Bool
	w := newWorld(t, 2, 1, func(n *simNode) {
		note := func(s string) {
			mu.Lock()
			defer mu.Unlock()
			calls[n.id] = append(calls[n.id], s)
		}
		n.services = []Service{{Name: "kv", New: func(ring.Partition) Vnode { return &hooked{note: note, refuse: &refuse} }}}
	})
	heard := func(i int) []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(calls[nodeID(i)])
	}
	const p = 1
	w.node(1).fill(p, 3)
	refuse.Store(true)
	w.begin(move(p, 0, 1, 2))
	w.until("refused", func() bool { return slices.Contains(heard(1), "refused") })
	w.abort("s001")
	refuse.Store(false)
	w.until("the refused one is given up", func() bool { return len(w.node(1).m.Load().Progress()) == 0 })

	var once atomic.Bool
	w.net.setHook(func(f *passing) treatment { // one attempt fails, one is aborted
		if f.end() && !once.Swap(true) {
			return sever
		}
		if f.end() && len(w.state().ended) == 1 {
			w.abort("s002")
		}
		return deliver
	})
	w.begin(move(p, 0, 1, 2))
	w.until("aborted", func() bool { return len(w.state().ended) == 2 })
	w.settled()
	w.do(move(p, 0, 1, 2))
	got := slices.DeleteFunc(heard(1), func(s string) bool { return s == "refused" })
	want := []string{"opened", "starting", "cancelled", "starting", "cancelled", "starting", "finished", "close", "dropped"}
	if !slices.Equal(got, want) {
		t.Errorf("the source's hooks: %v\nwant %v", got, want)
	}
	w.node(2).stop()
	if got := heard(2); !slices.Equal(got, []string{"opened", "close"}) {
		t.Errorf("the target's hooks: %v", got)
	}
	w.node(2).start()
}

// Close in the middle of everything: transfers, a fill, hints, held requests. Nothing
// is left running (TestMain looks), and everybody is answered.
func TestClose(t *testing.T) {
	w := newWorld(t, 3, 1, smallChunks, func(n *simNode) { n.services = []Service{simService("kv", 3)} })
	w.net.setHook(func(f *passing) treatment {
		if f.n < 6 {
			return deliver
		}
		return lose
	})
	for p := range ring.Partition(4) {
		w.node(1).fill(p, 50)
	}
	for _, s := range []ring.Step{move(0, 0, 1, 2), move(1, 0, 1, 3), add(2, 1, 2)} {
		w.begin(s)
	}
	w.node(1).mustHint(keyIn(3, 0), "x", 2)
	w.until("all of them are at work", func() bool {
		return len(w.node(1).m.Load().Progress()) >= 2 && len(w.node(2).m.Load().Progress()) == 1
	})
	w.node(1).sealSlot(3, serving, sealed)
	m := w.node(1).m.Load()
	held := make(chan answer, 1)
	r := request(wire.OpCommand, w.ring(), "kv", keyIn(3, 0), "put x")
	r.Done = func(code wire.Code, _ uint64, body []byte) { held <- answer{code: code, body: body} }
	m.Dispatch(r)
	began := time.Now()
	for i := 1; i <= 3; i++ {
		w.node(i).stop()
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("closing took %v", took)
	}
	if got := <-held; got.code != wire.ShuttingDown {
		t.Errorf("the held request: %v", got)
	}
	for _, op := range []wire.Op{wire.OpCommand, wire.OpRead} {
		for p := range ring.Partition(8) {
			done := make(chan wire.Code, 1)
			r := request(op, w.ring(), "kv", keyIn(p, 0), "put x")
			r.Done = func(code wire.Code, _ uint64, _ []byte) { done <- code }
			m.Dispatch(r)
			if code := <-done; code == wire.OK {
				t.Errorf("operation %d on partition %d after Close: %v", op, p, code)
			}
		}
	}
}
