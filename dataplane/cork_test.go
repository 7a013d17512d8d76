package dataplane

import (
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/socket"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// corked runs f in a bubble with an outbox whose frames arrive on a channel, those of one
// write together.
func corked(t *testing.T, f func(k *Cork, o *outbox, writes chan int)) {
	synctest.Test(t, func(t *testing.T) {
		c, other := net.Pipe()
		k := NewCork()
		o := newOutbox(c, k, 1<<20)
		writes := make(chan int, 100)
		var both sync.WaitGroup
		both.Go(func() { _ = o.run() })
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
		f(k, o, writes)
		o.close()
		_ = c.Close()
		both.Wait()
	})
}

func queue(t *testing.T, o *outbox, frames int) {
	t.Helper()
	for range frames {
		if err := o.force(&wire.Header{Kind: wire.KindReply}, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// expect waits until nothing moves any more, and wants these writes to have been made.
func expect(t *testing.T, writes chan int, frames ...int) {
	t.Helper()
	synctest.Wait()
	if len(writes) != len(frames) {
		t.Fatalf("%d writes, want %d", len(writes), len(frames))
	}
	for _, want := range frames {
		if n := <-writes; n != want {
			t.Fatalf("a write of %d frames, want %d", n, want)
		}
	}
}

// What is queued while the cork is held goes in one write; without it, at once.
func TestCork(t *testing.T) {
	corked(t, func(k *Cork, o *outbox, writes chan int) {
		queue(t, o, 1)
		expect(t, writes, 1)
		k.Hold()
		k.Hold()
		queue(t, o, 3)
		expect(t, writes)
		k.Release() // the other one may be busy for longer
		expect(t, writes, 3)
		queue(t, o, 2)
		expect(t, writes)
		k.Release()
		expect(t, writes, 2)
		queue(t, o, 1)
		expect(t, writes, 1)
	})
}

// Whoever holds the cork for long holds up nobody for longer than two looks of the watch.
func TestCorkIsHeldForLong(t *testing.T) {
	corked(t, func(k *Cork, o *outbox, writes chan int) {
		k.Hold()
		defer k.Release()
		for range 3 {
			queue(t, o, 2)
			expect(t, writes)
			time.Sleep(2 * corkWatch)
			expect(t, writes, 2)
			time.Sleep(time.Second)
		}
	})
}

// A frame that lingers goes with the next one that does not, by flush, or after a while.
func TestLinger(t *testing.T) {
	linger := func(o *outbox) { _ = o.offer(&wire.Header{Kind: wire.KindRequest}, nil, true) }
	corked(t, func(k *Cork, o *outbox, writes chan int) {
		linger(o)
		linger(o)
		expect(t, writes)
		queue(t, o, 1)
		expect(t, writes, 3)
		linger(o)
		o.flush()
		expect(t, writes, 1)
		linger(o)
		expect(t, writes)
		time.Sleep(3 * corkWatch)
		expect(t, writes, 1)
		for range maxLinger/wire.HeaderSize + 1 {
			linger(o)
		}
		expect(t, writes, maxLinger/wire.HeaderSize+1) // too much to wait any longer
	})
}

// On a connection of the system's whoever lets go of the cork writes, as far as the other
// side takes it; the rest goes later and in order.
func TestReleaseWrites(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // as below
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // nothing is left to lose
	other, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close() //nolint:errcheck // as above
	k := NewCork()
	o := newOutbox(socket.Direct(c), k, 1<<30)
	body, id := make([]byte, 100_000), uint64(0)
	send := func(frames int) {
		k.Hold()
		for range frames {
			id++
			if err := o.force(&wire.Header{Kind: wire.KindReply, ID: id}, body); err != nil {
				t.Fatal(err)
			}
		}
		k.Release()
	}
	frames := wire.NewReader(other, wire.MaxBody)
	read := uint64(0)
	receive := func() {
		f, err := frames.Read()
		if read++; err != nil || f.ID != read {
			t.Fatalf("frame %d is %d, %v", read, f.ID, err)
		}
	}
	send(1) // nobody runs o
	receive()
	isDue := func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.due
	}
	for !isDue() { // until the other side takes no more
		send(10)
	}
	send(1)
	var writer sync.WaitGroup
	writer.Go(func() { _ = o.run() })
	for read < id {
		receive()
	}
	send(1)
	receive()
	o.close()
	writer.Wait()
}

// All reads that wait share a timer, and each is hedged in its time, again and again.
func TestHedges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hedges
		var reads []*read
		for range 100 {
			q := &read{n: 2, next: 1, open: 10} // one more could be asked, and is not: so much is under way
			reads = append(reads, q)
			h.add(q)
			time.Sleep(100 * time.Microsecond)
		}
		reads[50].closed = true
		hedged := func(first, last int) {
			t.Helper()
			synctest.Wait()
			for i, q := range reads {
				q.mu.Lock()
				if i != 50 && (q.want < first || q.want > last) {
					t.Errorf("read %d was hedged %d times", i, q.want)
				}
				q.mu.Unlock()
			}
		}
		time.Sleep(hedgeAfter - 10*time.Millisecond - time.Millisecond)
		hedged(0, 0)
		time.Sleep(11*time.Millisecond + hedgeSlack)
		hedged(1, 1)
		time.Sleep(hedgeAfter + hedgeSlack)
		hedged(2, 2)
		for _, q := range reads {
			q.mu.Lock()
			q.closed = true
			q.mu.Unlock()
		}
		time.Sleep(2 * hedgeAfter)
		synctest.Wait()
		if h.mu.Lock(); h.armed || len(h.reads) > 0 {
			t.Error("a timer without reads")
		}
		h.mu.Unlock()
		if reads[50].want != 0 {
			t.Error("a read that was over was hedged")
		}
	})
}
