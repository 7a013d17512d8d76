package client

import (
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Queries are written at once while few are under way, and gather behind those; commands
// take them along, so does the reader when it has handed out answers, and the watch when
// none come.
func TestQueriesGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, other := net.Pipe()
		c := &Client{born: time.Now()}
		l := newLink(c, newPeer(c, "n1", "n1", ""), nc)
		writes := make(chan int, 100)
		var both sync.WaitGroup
		both.Go(l.write)
		both.Go(func() {
			b := make([]byte, 1<<20)
			for {
				n, err := other.Read(b)
				if err != nil {
					return
				}
				writes <- n / wire.HeaderSize
			}
		})
		send := func(op wire.Op, n int) {
			t.Helper()
			for range n {
				if _, err := l.send(&wire.Header{Kind: wire.KindRequest, Op: op}, newCall()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
		}
		wrote := func(want ...int) {
			t.Helper()
			synctest.Wait()
			if len(writes) != len(want) {
				t.Fatalf("%d writes, want %d", len(writes), len(want))
			}
			for _, n := range want {
				if got := <-writes; got != n {
					t.Fatalf("a write of %d frames, want %d", got, n)
				}
			}
		}
		send(wire.OpQuery, gatherFrom)
		wrote(1, 1, 1, 1)
		send(wire.OpQuery, 3)
		wrote()
		send(wire.OpCommand, 1)
		wrote(4)
		send(wire.OpQuery, 2)
		wrote()
		c.gather.hold()
		send(wire.OpCommand, 1)
		wrote()
		c.gather.release(l)
		wrote(3)
		send(wire.OpQuery, 2)
		wrote()
		time.Sleep(2 * gatherWatch)
		wrote(2)
		for id := range l.last {
			l.hand(id+1, answer{})
		}
		if l.queries != 0 {
			t.Errorf("%d queries are under way when all are answered", l.queries)
		}
		send(wire.OpQuery, 1)
		wrote(1)
		l.fail(ErrClosed)
		both.Wait()
	})
}
