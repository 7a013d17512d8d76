package dataplane

import (
	"bytes"
	"errors"
	"net"
	"testing"
	"testing/synctest"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// What each way of queueing does as the queue fills, here of 10 kB and without
// anybody who writes it.
func TestOutboxBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, other := net.Pipe()
		defer other.Close()
		defer c.Close()
		o := newOutbox(c, nil, 10_000)
		h := &wire.Header{Kind: wire.KindReply}
		long := make([]byte, shortAnswer+1)
		offered := 0
		for o.offer(h, long) == nil {
			offered++
		}
		if offered != 3 || !o.full.Load() { // the third goes past it
			t.Fatalf("%d frames fit", offered)
		}
		forced := offered
		for o.force(h, long) == nil {
			forced++
		}
		if forced != 10 || o.force(h, long[:shortAnswer]) != nil {
			t.Fatalf("%d long frames fit", forced)
		}
		waited := make(chan error, 2)
		for range 2 {
			go func() { waited <- o.wait(h, nil) }()
		}
		synctest.Wait()
		if len(waited) != 0 {
			t.Fatal("did not wait")
		}
		if batch, ok := o.take(); !ok || len(batch) < 10*len(long) || o.full.Load() {
			t.Fatalf("took %d bytes", len(batch))
		}
		if err := errors.Join(<-waited, <-waited); err != nil {
			t.Fatal(err)
		}
		o.close()
		for _, queue := range []func(*wire.Header, []byte) error{o.offer, o.force, o.wait} {
			if err := queue(h, long); err != errClosed {
				t.Fatalf("after close: %v", err)
			}
		}
		if _, ok := o.take(); ok {
			t.Fatal("a closed outbox gives frames")
		}
	})
}

// Answers that cannot be kept are replaced, never lost: each request gets one.
func TestLongAnswersAreReplaced(t *testing.T) {
	const requests = 100
	h := newHolder()
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: h})
	c, _, err := rawDial(t, n, wire.ConnClient, wire.Hello{Versions: [2]int{1, 1}})
	if err != nil {
		t.Fatal(err)
	}
	var sent []byte
	for i := range requests + 1 {
		sent = wire.AppendFrame(sent, &wire.Header{Kind: wire.KindRequest, Op: wire.OpQuery, ID: uint64(i)}, nil)
	}
	if _, err := c.Write(sent); err != nil {
		t.Fatal(err)
	}
	receive(t, h.held).Reply(wire.OK, 0, make([]byte, wire.MaxBody+1))
	body := bytes.Repeat([]byte{1}, 2<<20)
	for range requests {
		receive(t, h.held).Reply(wire.OK, 0, body)
	}
	codes := map[wire.Code]int{}
	for range requests + 1 {
		f, err := wire.ReadFrame(c, wire.MaxBody)
		if err != nil {
			t.Fatal(err)
		}
		codes[f.Code]++
	}
	if codes[wire.TooLarge] != 1 || codes[wire.OK] < 32 || codes[wire.Maybe] == 0 {
		t.Fatalf("answers %v", codes)
	}
}
