package dataplane

import (
	"net"
	"sync"

	"github.com/ringcore/ringcore/dataplane/socket"
)

// connSet is the connections that somebody must close in the end.
type connSet struct {
	max int // 0: no limit

	mu     sync.Mutex // held to add, remove or list
	conns  map[*tracked]struct{}
	closed bool
}

// tracked is a connection that leaves its set when it is closed.
type tracked struct {
	net.Conn
	set  *connSet
	once sync.Once
	err  error
}

// add takes c into the set; false if the set is full or closed, c is then the
// caller's to close.
func (s *connSet) add(c net.Conn) (*tracked, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.max > 0 && len(s.conns) >= s.max {
		return nil, false
	}
	if s.conns == nil {
		s.conns = make(map[*tracked]struct{})
	}
	t := &tracked{Conn: socket.Direct(c), set: s}
	s.conns[t] = struct{}{}
	return t, true
}

// close closes all connections of the set and lets none in any more.
func (s *connSet) close() {
	s.mu.Lock()
	s.closed = true
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	for t := range conns {
		_ = t.Close()
	}
}

// Close closes the connection, once.
func (t *tracked) Close() error {
	t.once.Do(func() {
		t.set.mu.Lock()
		delete(t.set.conns, t)
		t.set.mu.Unlock()
		t.err = t.Conn.Close()
	})
	return t.err
}
