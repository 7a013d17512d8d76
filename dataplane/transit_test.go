package dataplane

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

func TestTransit(t *testing.T) {
	begun := time.Now()
	var tr transit
	check := func(name string, at time.Duration, sent uint32, want time.Duration) {
		t.Helper()
		if got := tr.age(begun.Add(at), sent); got != want {
			t.Errorf("%s: age %v, want %v", name, got, want)
		}
	}
	ms := time.Millisecond
	start := uint32(1<<32 - 500)
	check("the first is the measure", 0, start, 0)
	check("not told", time.Minute, 0, 0)
	check("as fast", 100*ms, start+100, 0)
	check("faster", 150*ms, start+200, 0)
	check("stopped for a second", 1150*ms, start+200, 999*ms)
	check("and what came behind it", 1150*ms, start+1200, 0)
	check("clocks that drift apart by a thousandth", 1150*ms+1000*time.Second, start+1200+999_000, 0)
	check("more than that", 1150*ms+1001*time.Second, start+1200+999_900, 99*ms)
}

// What lay in a buffer for longer than its caller waits is not run when the buffer is
// read at last: the caller has written elsewhere since.
func TestDelayedRequestIsNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, here, clock := heldServer(t)
		send := func(id uint64, sent uint32, timeout time.Duration) {
			t.Helper()
			f := wire.Header{Kind: wire.KindRequest, Op: wire.OpCommand, ID: id, Sent: sent}
			f.SetTimeout(timeout)
			if _, err := here.Write(wire.AppendFrame(nil, &f, nil)); err != nil {
				t.Fatal(err)
			}
		}
		send(1, clock(), time.Second)
		r := <-h.held
		if left := time.Until(r.Deadline); left != time.Second {
			t.Fatalf("%v left", left)
		}
		sent := clock()
		time.Sleep(400 * time.Millisecond)
		send(2, sent, time.Second)
		r = <-h.held
		if left := time.Until(r.Deadline); left > 610*time.Millisecond {
			t.Fatalf("%v left of a second after 400 ms", left)
		}
		send(3, sent, 300*time.Millisecond)
		if f, err := wire.ReadFrame(here, wire.MaxBody); err != nil || f.ID != 3 || f.Code != wire.Deadline {
			t.Fatalf("answer %+v, %v", f, err)
		}
		time.Sleep(10 * time.Second)
		send(4, sent, time.Second)
		if f, err := wire.ReadFrame(here, wire.MaxBody); err == nil {
			t.Fatalf("the connection goes on: %+v", f)
		}
		if len(h.held) > 0 {
			t.Fatal("a write of ten seconds ago was handed to the vnode")
		}
	})
}

// heldServer is a Server whose requests a holder gets, a client's connection to it, of
// which the hello has been said, and the clock that the client's requests are sent by.
func heldServer(t *testing.T) (h *holder, here net.Conn, clock func() uint32) {
	t.Helper()
	h = newHolder()
	s := NewServer(ServerConfig{Identity: identity("b"), Requests: h})
	t.Cleanup(func() { _ = s.Close() })
	here, there := net.Pipe()
	t.Cleanup(func() { _ = here.Close() })
	s.ServeConn(there)
	begun := time.Now()
	clock = func() uint32 { return wire.SentAt(time.Since(begun) + time.Hour) }
	say := wire.Hello{Versions: [2]int{1, 1}, Sent: clock()}
	if _, err := exchangeHello(t.Context(), here, wire.ConnClient, say); err != nil {
		t.Fatal(err)
	}
	return h, here, clock
}
