package metadata

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/ringcore/ringcore/metadata/ring"
)

// streamLayer gives raft its connections. Raft's addresses are node ids; whoever
// dials resolves them. It remembers every connection, because raft leaves those
// that it accepted open when it shuts down.
type streamLayer struct {
	listener net.Listener
	dial     func(ctx context.Context, node ring.NodeID) (net.Conn, error)
	self     nodeAddr
	ctx      context.Context // of all dialling; ended by Close
	cancel   context.CancelFunc

	mu     sync.Mutex // held only to read or change the fields below
	conns  map[*raftConn]struct{}
	closed bool
}

var _ raft.StreamLayer = (*streamLayer)(nil)

// nodeAddr is a node id as an address of raft.
type nodeAddr ring.NodeID

func (a nodeAddr) Network() string { return "ringcore" }
func (a nodeAddr) String() string  { return string(a) }

// raftConn is a connection that the layer knows of.
type raftConn struct {
	net.Conn
	layer *streamLayer
}

// Close closes the connection and makes the layer forget it.
func (c *raftConn) Close() error {
	c.layer.mu.Lock()
	delete(c.layer.conns, c)
	c.layer.mu.Unlock()
	return c.Conn.Close()
}

func newStreamLayer(cfg *Config) *streamLayer {
	ctx, cancel := context.WithCancel(context.Background())
	return &streamLayer{
		listener: cfg.Listener, dial: cfg.Dial, self: nodeAddr(cfg.Self.ID),
		ctx: ctx, cancel: cancel, conns: make(map[*raftConn]struct{}),
	}
}

// Accept implements net.Listener.
func (l *streamLayer) Accept() (net.Conn, error) {
	c, err := l.listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.track(c)
}

// Dial implements raft.StreamLayer.
func (l *streamLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(l.ctx, timeout)
	defer cancel()
	c, err := l.dial(ctx, ring.NodeID(address))
	if err != nil {
		return nil, fmt.Errorf("dial raft of node %s: %w", address, err)
	}
	return l.track(c)
}

// track takes note of c, or closes it if the layer is closed.
func (l *streamLayer) track(c net.Conn) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = c.Close() // never used
		return nil, net.ErrClosed
	}
	rc := &raftConn{c, l}
	l.conns[rc] = struct{}{}
	return rc, nil
}

// Addr implements net.Listener.
func (l *streamLayer) Addr() net.Addr { return l.self }

// Close implements net.Listener: it also closes every connection.
func (l *streamLayer) Close() error {
	l.cancel()
	l.mu.Lock()
	l.closed = true
	conns := make([]*raftConn, 0, len(l.conns))
	for c := range l.conns {
		conns = append(conns, c)
	}
	l.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // both ends learn of it by reading
	}
	return l.listener.Close()
}
