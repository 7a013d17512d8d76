package dataplane

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

func TestStreamConversation(t *testing.T) {
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Streams: streamFunc(func(_ context.Context, s *Stream) {
		for {
			f, err := s.ReadFrame()
			if err != nil {
				return
			}
			if s.WriteFrame(&f.Header, append(f.Body, s.Peer()...)) != nil || s.Flush() != nil {
				return
			}
		}
	})})
	p := dialPeers(t, PeersConfig{}, n)
	s, err := p.Stream(soon(t), "b")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, body := range []string{"", "one", string(make([]byte, 3<<20))} {
		if err := errors.Join(s.WriteFrame(&wire.Header{Kind: wire.KindChunk, ID: 4}, []byte(body)), s.Flush()); err != nil {
			t.Fatal(err)
		}
		f, err := s.ReadFrame()
		if err != nil || f.ID != 4 || string(f.Body) != body+"a" {
			t.Fatalf("%d bytes came back for %d, %v", len(f.Body), len(body), err)
		}
	}
	if err := s.WriteFrame(&wire.Header{}, make([]byte, wire.MaxBody+1)); !errors.Is(err, wire.ErrTooLong) {
		t.Fatalf("error %v", err)
	}
	s.check++ // a frame of another cluster ends the conversation
	if err := errors.Join(s.WriteFrame(&wire.Header{Kind: wire.KindChunk}, nil), s.Flush()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadFrame(); !errors.Is(err, io.EOF) {
		t.Fatalf("read after a foreign frame: %v", err)
	}
}

// A writer is held up by a reader that does not read, and no memory gathers.
func TestStreamBackPressure(t *testing.T) {
	begin := make(chan struct{})
	var read atomic.Int64
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Streams: streamFunc(func(ctx context.Context, s *Stream) {
		select {
		case <-begin:
		case <-ctx.Done():
		}
		for {
			if _, err := s.ReadFrame(); err != nil {
				return
			}
			read.Add(1)
		}
	})})
	p := dialPeers(t, PeersConfig{}, n)
	s, err := p.Stream(soon(t), "b")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SetDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	chunk, written := make([]byte, 1<<20), 0
	for ; err == nil && written < 1000; written++ {
		err = s.WriteFrame(&wire.Header{Kind: wire.KindChunk}, chunk)
	}
	if written == 1000 {
		t.Fatal("a thousand chunks were written and none read")
	}
	close(begin)
}

// Whoever closes, here or there, wakes the other's read, and Close of the owner waits.
func TestStreamCloses(t *testing.T) {
	begun, ended := make(chan error, 2), make(chan error, 2)
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Streams: streamFunc(func(_ context.Context, s *Stream) {
		begun <- nil
		_, err := s.ReadFrame()
		ended <- err
	})})
	p := dialPeers(t, PeersConfig{}, n)
	if _, err := p.Stream(soon(t), "b"); err != nil {
		t.Fatal(err)
	}
	_ = receive(t, begun)
	_ = p.Close() // closes the stream that was forgotten
	if err := receive(t, ended); !errors.Is(err, io.EOF) {
		t.Fatalf("read: %v", err)
	}
	s, err := dialPeers(t, PeersConfig{}, n).Stream(soon(t), "b")
	if err != nil {
		t.Fatal(err)
	}
	_ = receive(t, begun) // else it may be closed before it is handed on
	n.stop()
	if _, err := s.ReadFrame(); err == nil {
		t.Fatal("a closed server's stream goes on")
	}
	if err := receive(t, ended); err == nil {
		t.Fatal("the handler's read goes on")
	}
}

// echoStream sends every frame back.
func echoStream(_ context.Context, s *Stream) {
	for {
		f, err := s.ReadFrame()
		if err != nil {
			return
		}
		if s.WriteFrame(&f.Header, f.Body) != nil || s.Flush() != nil {
			return
		}
	}
}
