package dataplane

import (
	"context"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// cable is the way from one node's Peers to another's Server in a bubble. It takes
// whatever is written, as a kernel does, and can be slow, or cut in either direction:
// then what is written waits until the cut is mended, however late.
type cable struct {
	server *Server
	ends   sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{}
	delay   time.Duration
	cut     [2]bool // there, back
	taken   bool    // connections come about all the same: the other side's process is stopped, its system is not
	refused bool    // none comes about: there is no such process
	later   bool    // cut and taken are for connections that are there already
	rate    int     // bytes a second on the way there; no limit if 0
	dials   int
	said    int // pieces that were written on the way there
	conns   []net.Conn
}

// The directions.
const (
	there = iota
	back
)

// newCable leads to a server of its own, node b's, which h serves.
func newCable(t *testing.T, h Handler) *cable {
	s := NewServer(ServerConfig{Identity: identity("b"), Requests: h, Member: func(ring.NodeID) bool { return true }})
	t.Cleanup(func() { _ = s.Close() })
	return cableTo(t, s)
}

func cableTo(t *testing.T, s *Server) *cable {
	c := &cable{changed: make(chan struct{}), server: s}
	t.Cleanup(func() {
		c.set(func() { c.cut = [2]bool{} })
		c.hangUp()
		c.ends.Wait()
	})
	return c
}

// set changes c and lets what waits go on.
func (c *cable) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *cable) hangUp() {
	c.mu.Lock()
	conns := c.conns
	c.conns = nil
	c.mu.Unlock()
	for _, x := range conns {
		_ = x.Close()
	}
}

// connect is Peers' Connect. While the way is cut no connection comes about.
func (c *cable) connect(ctx context.Context, _ string) (net.Conn, error) {
	c.mu.Lock()
	c.dials++
	taken, refused, later := c.taken, c.refused, c.later
	c.mu.Unlock()
	if refused {
		return nil, syscall.ECONNREFUSED
	}
	for way := range 2 {
		if taken || later {
			break
		}
		if err := c.pass(ctx, way); err != nil {
			return nil, err
		}
	}
	near, far := net.Pipe()
	end, server := net.Pipe()
	c.mu.Lock()
	c.conns = append(c.conns, near, far, end, server)
	c.mu.Unlock()
	c.ends.Go(func() { c.carry(there, far, end, later) })
	c.ends.Go(func() { c.carry(back, end, far, later) })
	c.server.ServeConn(server)
	return near, nil
}

func (c *cable) dialled() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dials
}

func (c *cable) writes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said
}

// pass waits until the way is open.
func (c *cable) pass(ctx context.Context, way int) error {
	for {
		c.mu.Lock()
		cut, changed := c.cut[way], c.changed
		c.mu.Unlock()
		if !cut {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// carry copies one direction of a connection: a reader takes what comes and a writer
// delivers it when it is due. whole says that this connection is not cut with the way.
func (c *cable) carry(way int, from, to net.Conn, whole bool) {
	type piece struct {
		b   []byte
		due time.Time
	}
	pieces := make(chan piece, 1<<10)
	c.ends.Go(func() {
		defer to.Close()
		for p := range pieces {
			time.Sleep(time.Until(p.due))
			if !whole {
				_ = c.pass(context.Background(), way)
			}
			if _, err := to.Write(p.b); err != nil {
				_ = from.Close()
			}
		}
	})
	defer close(pieces)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		c.mu.Lock()
		delay, rate := c.delay, c.rate
		if way == there {
			c.said++
		}
		c.mu.Unlock()
		if way == there && rate > 0 {
			time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
		}
		pieces <- piece{slices.Clone(buf[:n]), time.Now().Add(delay)}
	}
}

// peers are node a's, at its end of c.
func (c *cable) peers(t *testing.T, live *Liveness) *Peers {
	p := NewPeers(PeersConfig{
		Identity: identity("a"), Liveness: live, Connect: c.connect, Members: func() []ring.NodeID { return []ring.NodeID{"b"} },
		Resolve: func(ring.NodeID) (string, bool) { return "cable", true },
	})
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// askOf sends a request and returns where its end will be told.
func askOf(p *Peers, op wire.Op, body []byte, timeout time.Duration) <-chan error {
	end := make(chan error, 1)
	p.Send("b", wire.Header{Op: op}, body, time.Now().Add(timeout), func(_ wire.Frame, err error) { end <- err })
	return end
}
