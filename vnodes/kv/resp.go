package kv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/socket"
)

// RESPConfig says how a RESP server runs. The zero value will do.
type RESPConfig struct {
	Version string             // of Ringcore, in INFO and HELLO
	Info    func() []InfoField // what the node tells about itself in INFO; nothing if nil
	Logger  *slog.Logger       // slog.Default() if nil
	Clients int                // connections at once; 10000 if 0
	now     func() time.Time   // time.Now if nil
}

// InfoField is a line of INFO.
type InfoField struct{ Name, Value string }

const (
	respClients      = 10_000
	respInFlight     = 1024 // keys asked for at once, for all clients together
	respWriteTimeout = 30 * time.Second
	acceptPause      = 50 * time.Millisecond // after an error that may pass, such as no file descriptors
)

// respServer speaks Redis' protocol on one listener.
type respServer struct {
	kv       *KV
	cfg      RESPConfig
	commands map[string]*respCommand
	started  time.Time
	ctx      context.Context // done when the server stops

	nextID   atomic.Int64
	served   atomic.Int64 // commands
	accepted atomic.Int64

	slots chan struct{} // holds an element for each key that is asked for

	mu    sync.Mutex // held only to add or remove a connection
	conns map[*respConn]struct{}

	goroutines sync.WaitGroup // one for each connection
}

// ServeRESP speaks Redis' protocol with whoever connects to ln, on the default
// bucket, until ctx ends, and returns when all connections have. It closes ln.
// It returns an error only if ln fails by itself.
func ServeRESP(ctx context.Context, ln net.Listener, kv *KV, cfg RESPConfig) error {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Clients == 0 {
		cfg.Clients = respClients
	}
	if cfg.now == nil {
		cfg.now = time.Now
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &respServer{
		kv: kv, cfg: cfg, commands: respCommands(), started: cfg.now(), ctx: ctx,
		slots: make(chan struct{}, respInFlight), conns: map[*respConn]struct{}{},
	}
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() }) // wakes Accept
	err := s.accept(ln)
	stop()
	cancel()
	_ = ln.Close()
	s.closeConns()
	s.goroutines.Wait()
	return err
}

// accept takes connections until the listener closes.
func (s *respServer) accept(ln net.Listener) error {
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			s.take(nc)
		case s.ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept a RESP connection: %w", err)
		default:
			s.cfg.Logger.Warn("resp connection not accepted", "err", err)
			select {
			case <-time.After(acceptPause):
			case <-s.ctx.Done():
			}
		}
	}
}

// take serves nc on a goroutine of its own, or turns it away.
func (s *respServer) take(nc net.Conn) {
	c := newRESPConn(s, socket.Direct(nc))
	s.mu.Lock()
	full := len(s.conns) >= s.cfg.Clients
	if !full {
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	if full {
		_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = nc.Write([]byte("-ERR max number of clients reached\r\n")) // it may have gone already
		_ = nc.Close()
		return
	}
	s.accepted.Add(1)
	s.goroutines.Go(func() {
		if err := c.serve(); err != nil {
			s.cfg.Logger.Debug("resp connection ended", "peer", nc.RemoteAddr(), "err", err)
		}
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	})
}

// closeConns ends every connection; their goroutines notice.
func (s *respServer) closeConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.nc.Close()
	}
}

// clients is the number of open connections.
func (s *respServer) clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}
