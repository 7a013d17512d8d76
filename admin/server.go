package admin

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits of the server.
const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
	maxConnections    = 2048
	closeTimeout      = 5 * time.Second // for requests under way when the server closes
)

// Server serves a handler on one listener.
type Server struct {
	http    *http.Server
	closing context.CancelFunc // ends event streams, which otherwise never end
	done    chan struct{}      // closed by the accepting goroutine when it returns
	log     *slog.Logger
	once    sync.Once
	err     error // of Close; written inside once
}

// closingKey is the key under which a request's context carries the channel that
// is closed when its server begins to close.
type closingKey struct{}

// Serve answers requests on ln until Close, which closes ln too. log may be nil.
func Serve(ln net.Listener, h http.Handler, log *slog.Logger) *Server {
	if log == nil {
		log = slog.Default()
	}
	closing, cancel := context.WithCancel(context.Background())
	base := context.WithValue(context.Background(), closingKey{}, closing.Done())
	s := &Server{closing: cancel, done: make(chan struct{}), log: log}
	s.http = &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go s.accept(limit(ln, maxConnections))
	return s
}

// accept runs the HTTP server; Close waits for it.
func (s *Server) accept(ln net.Listener) {
	defer close(s.done)
	if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("http server stopped", "err", err)
	}
}

// Close stops accepting, ends event streams, gives requests under way a few
// seconds and cuts those that are still there.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.closing()
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if s.err = s.http.Shutdown(ctx); errors.Is(s.err, context.DeadlineExceeded) {
			s.err = s.http.Close()
		}
		<-s.done
	})
	return s.err
}

// closing is closed when the server that r came through begins to close; nil,
// which is never ready, without one.
func closing(r *http.Request) <-chan struct{} {
	ch, _ := r.Context().Value(closingKey{}).(<-chan struct{})
	return ch
}

// limited is a listener with at most cap(slots) connections open. Further ones
// wait in the kernel's queue.
type limited struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func limit(ln net.Listener, n int) *limited {
	return &limited{Listener: ln, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

// Accept waits for a free place, then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, slots: l.slots}, nil
}

// Close also ends an Accept that waits for a free place.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// limitedConn gives its place back when it closes.
type limitedConn struct {
	net.Conn
	slots chan struct{}
	once  sync.Once
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.slots })
	return err
}
