package vnodes

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

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
