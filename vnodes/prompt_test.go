package vnodes

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// promptVnode says that its commands are prompt, but for "wait". "where" writes something,
// as what never writes has no time reserved for it, and replies with the stack that it runs on.
type promptVnode struct{ blocker }

func (v *promptVnode) Prompt(cmd []byte) bool { return string(cmd) != "wait" }

func (v *promptVnode) Blind([]byte) bool { return true }

func (v *promptVnode) Command(tx *Tx, cmd []byte) ([]byte, error) {
	if string(cmd) == "where" {
		tx.Put(tx.Key(), []byte("1"))
		stack := make([]byte, 16<<10)
		return stack[:runtime.Stack(stack, false)], nil
	}
	return v.blocker.Command(tx, cmd)
}

// here reports whether an answer came from the goroutine that sent the request.
func here(a answer) bool { return strings.Contains(string(a.body), "Dispatch") }

// A prompt command runs on the goroutine that brings it; not before the slot has a file,
// not while another one runs or waits, and not if it is long.
func TestPromptCommands(t *testing.T) {
	goOn := make(chan struct{})
	w, n := oneNode(t, 1, func(ring.Partition) Vnode {
		return &promptVnode{blocker: blocker{goOn: goOn, begun: make(chan struct{}, 1)}}
	})
	if got := n.command("a", "where"); got.code != wire.OK || here(got) {
		t.Errorf("before there is a file: %v", got)
	}
	w.until("a prompt command runs at once", func() bool { return here(n.command("a", "where")) })
	v := n.m.Load().services[wire.ServiceID("kv")].vnodes[partitionOf("a")].Load()

	busy, _ := n.send(request(wire.OpCommand, w.ring(), "kv", "a", "wait"))
	w.until("the worker is busy", func() bool { return v.queued.Load() == 1 })
	second, _ := n.send(request(wire.OpCommand, w.ring(), "kv", "a", "where"))
	select {
	case got := <-second:
		t.Fatalf("it passed one that runs: %v", got)
	default:
	}
	close(goOn)
	if got := <-busy; got.code != wire.OK {
		t.Fatal(got)
	}
	if got := <-second; got.code != wire.OK || here(got) {
		t.Errorf("it did not run behind the other: %v", got)
	}
	long := request(wire.OpCommand, w.ring(), "kv", "a", "where")
	long.Call.Body = make([]byte, promptSize+1)
	if v.promptly(long) {
		t.Error("a long command is prompt")
	}
}

// What a stopped vnode would have run at once is refused, and a sealed one holds it.
func TestPromptCommandsHeedTheGate(t *testing.T) {
	w, n := oneNode(t, 1, func(ring.Partition) Vnode { return &promptVnode{} })
	n.mustPut("a", "1")
	w.until("a prompt command runs at once", func() bool { return here(n.command("a", "where")) })
	n.sealSlot(partitionOf("a"), serving, sealed)
	held, _ := n.send(request(wire.OpCommand, w.ring(), "kv", "a", "put 2"))
	select {
	case got := <-held:
		t.Fatalf("a sealed vnode ran it: %v", got)
	default:
	}
	n.sealSlot(partitionOf("a"), sealed, serving)
	if got := <-held; got.code != wire.OK {
		t.Fatal(got)
	}
	n.mustGet("a", "2")
	v := n.m.Load().services[wire.ServiceID("kv")].vnodes[partitionOf("a")].Load()
	v.stop()
	if got := n.command("a", "put 3"); got.code == wire.OK {
		t.Errorf("a stopped vnode ran it: %v", got)
	}
}

// BenchmarkVnode is what a vnode does for a put: as its coordinator, with the effect
// encoded for others, and as a replica that gets such an effect; 64 puts to a sync.
func BenchmarkVnode(b *testing.B) {
	w := newWorld(b, 1, 1, func(n *simNode) {
		n.services = []Service{{Name: "kv", New: func(ring.Partition) Vnode { return &promptVnode{} }}}
	})
	n := w.node(1)
	m := n.m.Load()
	const keys = 256
	value := "put " + strings.Repeat("v", 100)
	for i := range keys {
		n.mustPut(fmt.Sprint("key", i), "1")
	}
	effects := make([][]byte, keys)
	for i := range effects {
		stamp := Stamp{Time: clockTime(m.now()), Node: 7, ID: uint64(i)}
		effects[i] = AppendWrites(nil, []Write{{Key: []byte(fmt.Sprint("key", i)), Record: Record{Stamp: stamp, Value: []byte(value)}}})
	}
	for _, op := range []wire.Op{wire.OpCommand, wire.OpEffect} {
		name := map[wire.Op]string{wire.OpCommand: "command", wire.OpEffect: "effect"}[op]
		b.Run(name, func(b *testing.B) {
			requests := make([]wire.Request, 64)
			done := make(chan wire.Code, len(requests))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r := &requests[i%len(requests)]
				*r = *request(op, w.ring(), "kv", fmt.Sprint("key", i%keys), value)
				r.OnEffect = func([]byte, []byte) {}
				if op == wire.OpEffect {
					r.Effect = effects[i%keys]
				}
				r.Done = func(code wire.Code, _ uint64, _ []byte) { done <- code }
				m.Dispatch(r)
				if i%len(requests) == len(requests)-1 {
					for range requests {
						if code := <-done; code != wire.OK {
							b.Fatal(code)
						}
					}
				}
			}
		})
	}
}
