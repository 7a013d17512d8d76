package vnodes

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

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
		if f.n < 6 && f.opened == wire.OpHandoff || f.n < 2 {
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
