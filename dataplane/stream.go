package dataplane

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// StreamHandler serves bulk conversations that other nodes begin.
type StreamHandler interface {
	// ServeStream runs on a goroutine of its own, which the Server owns and waits for. ctx
	// is done, and the stream closed, when the Server closes. The stream ends when it returns.
	ServeStream(ctx context.Context, s *Stream)
}

// Stream is a conversation of frames on a connection of its own. Reading and
// writing may go on at the same time, each by one goroutine at a time. A write
// blocks while the other side does not read: that is the back-pressure.
type Stream struct {
	c      net.Conn
	peer   ring.NodeID
	check  uint32
	frames *wire.Reader
	out    []byte // written, not yet flushed
}

func newStream(c net.Conn, peer ring.NodeID, cluster string, maxBody int) *Stream {
	return &Stream{
		c: c, peer: peer, check: wire.ClusterCheck(cluster),
		frames: wire.NewReader(c, maxBody),
	}
}

// Peer is the node at the other end.
func (s *Stream) Peer() ring.NodeID { return s.peer }

// ReadFrame reads the next frame; its body is the caller's. io.EOF says that the
// other side closed the stream between two frames.
func (s *Stream) ReadFrame() (wire.Frame, error) {
	f, err := s.frames.Read()
	if err != nil {
		return wire.Frame{}, err
	}
	if f.Cluster != s.check {
		return wire.Frame{}, wire.Errorf(wire.WrongCluster, "frame of cluster check %08x on a stream of %08x", f.Cluster, s.check)
	}
	return f, nil
}

// WriteFrame queues a frame and writes when enough has gathered; Flush writes the
// rest. It fills in the header's cluster and does not keep body.
func (s *Stream) WriteFrame(h *wire.Header, body []byte) error {
	if len(body) > wire.MaxBody {
		return fmt.Errorf("write frame of %d bytes: %w", len(body), wire.ErrTooLong)
	}
	framed := *h
	framed.Cluster = s.check
	s.out = wire.AppendFrame(s.out, &framed, body)
	if len(s.out) < readBuffer {
		return nil
	}
	return s.Flush()
}

// Flush writes what WriteFrame has queued.
func (s *Stream) Flush() error {
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.c.Write(s.out)
	if s.out = s.out[:0]; cap(s.out) > keepBuffer {
		s.out = nil
	}
	return err
}

// SetDeadline bounds all reads and writes, also those under way; zero lifts it.
func (s *Stream) SetDeadline(t time.Time) error { return s.c.SetDeadline(t) }

// Close closes the connection, unflushed frames are lost. It wakes whoever reads
// or writes, and may be called again.
func (s *Stream) Close() error { return s.c.Close() }
