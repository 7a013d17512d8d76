package dataplane

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

func TestLull(t *testing.T) {
	begun := time.Now()
	var l lull
	check := func(name string, at, age time.Duration, want bool) {
		t.Helper()
		if got := l.outlasted(begun.Add(at), age); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	ms := time.Millisecond
	check("the first", 0, 0, false)
	check("a slow one among others", 400*ms, 300*ms, false)
	check("the first behind a lull, as fast as ever", 1400*ms, 0, false)
	check("sent in the lull", 1400*ms, 100*ms, true)
	check("taken up later, but sent in the lull", 1600*ms, 300*ms, true)
	check("sent afterwards", 1600*ms, 100*ms, false)
}

// A node is stopped for a second. What was sent meanwhile is marked when it goes on:
// also what was sent last, and had time for much longer.
func TestRequestsOfALullAreMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, here, clock := heldServer(t)
		arrives := func(id uint64, sent uint32) bool {
			t.Helper()
			f := wire.Header{Kind: wire.KindRequest, Op: wire.OpCommand, ID: id, Sent: sent}
			f.SetTimeout(5 * time.Second)
			if _, err := here.Write(wire.AppendFrame(nil, &f, nil)); err != nil {
				t.Fatal(err)
			}
			return (<-h.held).waited
		}
		if arrives(1, clock()) {
			t.Error("one that comes at once is marked")
		}
		time.Sleep(900 * time.Millisecond)
		last := clock()
		time.Sleep(100 * time.Millisecond)
		if !arrives(2, last) {
			t.Error("one that was sent 100 ms before the node went on is not marked")
		}
		if arrives(3, clock()) {
			t.Error("one that was sent afterwards is marked")
		}
	})
}

// A blind command that has waited for the node to go on is not run: its sender may have
// had it run elsewhere, and a newer write may be in its place. Any other is run, as its
// sender asks nobody else.
func TestBlindCommandOfALullIsNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 1, abc("a"), "a")
		ask := func(op wire.Op, body string, waited bool) wire.Code {
			code := make(chan wire.Code, 1)
			call := wire.Call{Bucket: "b", Key: []byte("k"), Body: []byte(body)}
			c.nodes["a"].router.serve(inbound{
				Header: wire.Header{Op: op, Service: wire.ServiceID(testService), Epoch: 10}, body: wire.AppendCall(nil, &call), waited: waited,
				reply: func(c wire.Code, _ uint64, _ []byte) { code <- c },
			})
			return <-code
		}
		if got := ask(wire.OpCommand, "put new", false); got != wire.OK {
			t.Fatalf("a command: %v", got)
		}
		if got := ask(wire.OpCommand, "put old", true); got != wire.Deadline {
			t.Errorf("a command that has waited: %v", got)
		}
		if v, err := c.query("a"); err != nil || v != "new" {
			t.Errorf("read %q, %v", v, err)
		}
		if got := ask(wire.OpCommand, "add", true); got != wire.OK {
			t.Errorf("a command that reads: %v", got)
		}
	})
}

// A blind command whose caller is gone is not tried again, neither here nor by another
// node: he has asked elsewhere, and others may have written since. The same when this
// node stops.
func TestForsakenCommandIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c")
		a := c.nodes["a"]
		var tried atomic.Pointer[func()]
		c.meddle = func(_, _ ring.NodeID, h wire.Header, _ []byte) (wire.Frame, error, bool) {
			if h.Op != wire.OpEffect {
				return wire.Frame{}, nil, false
			}
			(*tried.Load())()
			return reply(wire.Superseded, 10, wire.Stamp{Time: 5}.Append(nil)), nil, true
		}
		ask := func(origin *Request, then func()) wire.Code {
			synctest.Wait() // what the one before has sent is answered
			tried.Store(&then)
			code := make(chan wire.Code, 1)
			call := wire.Call{Bucket: "b", Key: []byte("k"), Body: []byte("put late")}
			a.router.serve(inbound{
				Header: wire.Header{Op: wire.OpCommand, Service: wire.ServiceID(testService), Epoch: 10}, body: wire.AppendCall(nil, &call), origin: origin,
				reply: func(c wire.Code, _ uint64, _ []byte) { code <- c },
			})
			return <-code
		}
		ctx, hangUp := context.WithCancel(t.Context())
		if got := ask(&Request{conn: &conn{ctx: ctx}}, hangUp); got != wire.Maybe || a.local.runs != 1 {
			t.Errorf("it ran %d times, and ended with %v", a.local.runs, got)
		}
		a.local.runs = 0
		stop := func() { a.router.pauses.over.Store(int64(time.Since(a.router.pauses.born)) + 1) }
		if got := ask(&Request{conn: &conn{ctx: t.Context()}}, stop); got != wire.Maybe || a.local.runs != 1 {
			t.Errorf("after a pause of the process it ran %d times, and ended with %v", a.local.runs, got)
		}
		a.local.runs = 0
		if got := ask(nil, a.router.LastCalls); got != wire.Maybe || a.local.runs != 1 {
			t.Errorf("while the node stops it ran %d times, and ended with %v", a.local.runs, got)
		}
		if got := ask(nil, func() {}); got != wire.ShuttingDown || a.local.runs != 1 {
			t.Errorf("a new one: %v", got)
		}
	})
}
