package vnodes

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// sticky is a vnode whose command "stick" takes as long as its test wants.
type sticky struct {
	begun chan struct{}
	until chan struct{}
}

func newSticky() *sticky { return &sticky{begun: make(chan struct{}), until: make(chan struct{})} }

func (s *sticky) Command(tx *Tx, cmd []byte) ([]byte, error) {
	if string(cmd) == "stick" {
		close(s.begun)
		<-s.until
	}
	tx.Put(tx.Key(), cmd)
	return nil, nil
}

func (s *sticky) Query(tx *Tx, _ []byte) ([]byte, error) {
	v, _ := tx.Get(tx.Key())
	return v, nil
}

func (s *sticky) Cover(tx *Tx, req []byte, emit func(Item) error) error {
	var err error
	tx.Ascend(nil, func(key []byte, r Record) bool {
		if string(req) != "nothing" {
			err = emit(Item{Key: key, Stamp: r.Stamp, Value: r.Value})
		}
		return err == nil
	})
	return err
}

// queue sends a command and returns where its answer will come.
func (n *simNode) queue(key, cmd string) <-chan answer {
	come, _ := n.send(request(wire.OpCommand, n.w.ring(), "kv", key, cmd))
	return come
}

// A vnode that is busy for long refuses at once what comes then, answers reads and
// coverage queries, holds up no other vnode, and goes on by itself.
func TestStuckVnode(t *testing.T) {
	s := newSticky()
	w, n := oneNode(t, 1, func(ring.Partition) Vnode { return s })
	key, other := keyIn(1, 0), keyIn(2, 0)
	n.mustPut(key, "before")
	n.mustPut(other, "before")
	stuck := n.queue(key, "stick")
	<-s.begun
	waits := n.queue(key, "waits")
	v := n.m.Load().services[wire.ServiceID("kv")].vnodes[1].Load()
	w.until("the vnode counts as stuck", v.stuck.Load)
	select {
	case got := <-n.queue(key, "more"):
		if got.code != wire.Overload {
			t.Errorf("a command for the stuck vnode: %v", got)
		}
	case <-time.After(time.Minute):
		t.Fatal("no answer")
	}
	if got := n.get(key); got.code != wire.OK {
		t.Errorf("a read beside it: %v", got)
	}
	if got := n.put(other, "after"); got.code != wire.OK {
		t.Errorf("another vnode: %v", got)
	}
	if err := n.cover(1, "", nil, func(string) error { return nil }); err != nil {
		t.Errorf("coverage of the stuck vnode: %v", err)
	}
	close(s.until)
	for _, c := range []<-chan answer{stuck, waits} {
		if got := <-c; got.code != wire.OK {
			t.Errorf("what was queued: %v", got)
		}
	}
	if got := n.put(key, "after"); got.code != wire.OK {
		t.Errorf("when it goes on: %v", got)
	}
}

// The queue of a vnode that does not move is bounded, and what does not fit is refused
// at once; also while somebody waits to stop it, and with something for the worker
// itself waiting behind it all.
func TestFullQueue(t *testing.T) {
	s := newSticky()
	_, n := oneNode(t, 1, func(ring.Partition) Vnode { return s })
	key := keyIn(1, 0)
	n.mustPut(key, "before")
	first := n.queue(key, "stick")
	<-s.begun
	var queued []<-chan answer
	refused := 0
	for i := range inboxSize + 500 {
		come := n.queue(key, fmt.Sprint(i))
		select {
		case got := <-come:
			if refused++; got.code != wire.Overload {
				t.Fatal(got)
			}
		default:
			queued = append(queued, come)
		}
	}
	if len(queued) != inboxSize || refused != 500 {
		t.Errorf("%d queued, %d refused", len(queued), refused)
	}
	v := n.m.Load().services[wire.ServiceID("kv")].vnodes[1].Load()
	for range inboxRoom {
		if !v.post(func(*vnode) {}) {
			t.Fatal("the worker has stopped")
		}
	}
	posted := make(chan struct{})
	go func() { v.post(func(*vnode) {}); close(posted) }() // waits for room
	if got := <-n.queue(key, "late"); got.code != wire.Overload {
		t.Errorf("with the worker's own room full: %v", got)
	}
	close(s.until)
	<-posted
	for _, c := range append(queued, first) {
		if got := <-c; got.code != wire.OK {
			t.Fatal(got)
		}
	}
}

// Nobody who brings a request waits for one who waits to stop the vnode.
func TestRequestWhileAStuckVnodeIsStopped(t *testing.T) {
	s := newSticky()
	w, n := oneNode(t, 1, func(ring.Partition) Vnode { return s })
	key := keyIn(1, 0)
	n.mustPut(key, "before")
	first := n.queue(key, "stick")
	<-s.begun
	v := n.m.Load().services[wire.ServiceID("kv")].vnodes[1].Load()
	v.inboxMu.RLock() // as one who waits for room does
	stopped := make(chan struct{})
	go func() { v.stop(); close(stopped) }()
	w.until("somebody waits to stop it", func() bool {
		if v.inboxMu.TryRLock() {
			v.inboxMu.RUnlock()
			return false
		}
		return true
	})
	if got := <-n.queue(key, "late"); got.code != wire.Moved {
		t.Errorf("while it is being stopped: %v", got)
	}
	v.inboxMu.RUnlock()
	close(s.until)
	<-stopped
	if got := <-first; got.code != wire.OK {
		t.Error(got)
	}
}

// A coverage call that finds nothing to emit ends all the same when its caller has gone.
func TestCoverOfNothingEnds(t *testing.T) {
	s := newSticky()
	_, n := oneNode(t, 1, func(ring.Partition) Vnode { return s })
	for i := range 2 * stopEvery {
		n.mustPut(keyIn(1, i), "v")
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := &wire.CoverCall{Service: wire.ServiceID("kv"), Partition: 1, Gen: 1, Epoch: 1, Body: []byte("nothing")}
	if err := n.m.Load().Cover(ctx, c, func(*wire.Item) error { return nil }); err != nil {
		t.Error(err)
	}
	cancel()
	if err := n.m.Load().Cover(ctx, c, func(*wire.Item) error { return nil }); !errors.Is(err, &wire.Error{Code: wire.Deadline}) {
		t.Errorf("the caller has gone: %v", err)
	}
}

// What a node keeps for others is listed, as long as it is there.
func TestHintStoresAreListed(t *testing.T) {
	w := newWorld(t, 2, 1)
	n := w.node(1)
	ask := func() []wire.HintStore {
		r := request(wire.OpHintStores, w.ring(), "kv", "k", "")
		got := n.ask(r)
		list, err := wire.ParseHintStores(got.body)
		if got.code != wire.OK || err != nil {
			t.Fatal(got, err)
		}
		return list
	}
	if got := ask(); len(got) != 0 {
		t.Errorf("nothing is kept: %v", got)
	}
	w.node(2).stop()
	n.mustHint(keyIn(3, 0), "v", 2)
	owner := nodeID(2)
	if got := ask(); len(got) != 1 || got[0] != (wire.HintStore{Partition: 3, For: string(owner)}) {
		t.Errorf("one thing is kept: %v", got)
	}
}
