package dataplane

import (
	"net"
	"sync"
)

// raftListener is a net.Listener that gives out connections which have been
// accepted, and have said hello, elsewhere.
type raftListener struct {
	addr   raftAddr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newRaftListener(addr string) *raftListener {
	return &raftListener{addr: raftAddr(addr), conns: make(chan net.Conn), closed: make(chan struct{})}
}

// give waits until somebody accepts c; false if the listener is closed.
func (l *raftListener) give(c net.Conn) bool {
	select {
	case l.conns <- c:
		return true
	case <-l.closed:
		return false
	}
}

// Accept waits for the next connection, or fails with net.ErrClosed.
func (l *raftListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close makes Accept fail. It may be called again.
func (l *raftListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is the node's address as others dial it.
func (l *raftListener) Addr() net.Addr { return l.addr }

type raftAddr string

func (raftAddr) Network() string  { return "tcp" }
func (a raftAddr) String() string { return string(a) }
