package dataplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// ServerConfig says whom a Server serves and how much of it. A nil handler
// refuses the connections that it would serve.
type ServerConfig struct {
	Identity  Identity
	Requests  Handler                // peer and client connections; OpPing is answered without it
	Streams   StreamHandler          // stream connections
	Strangers Handler                // connections of nodes that are no members
	Member    func(ring.NodeID) bool // whether the node may connect as a peer; nobody if nil
	Epoch     func() uint64          // of this node's ring, for the answers that the Server itself gives
	Clocks    *Clocks                // what peers are told of this node's time; nothing if nil
	// OtherGeneration is told of nodes of this cluster that are of another generation and
	// were refused for it, on the connection's goroutine: it must not block. May be nil.
	OtherGeneration func(ring.NodeID, wire.Generation)
	// SawPeer is told of each node that has connected as a peer, on the connection's
	// goroutine: it must not block. May be nil.
	SawPeer func(ring.NodeID)
	Cork    *Cork        // that of the node's Peers; one of its own if nil
	Logger  *slog.Logger // slog.Default() if nil

	MaxConns        int           // open connections; 4096 if 0
	MaxInFlight     int           // requests under way on a client's or stranger's connection; 1024 if 0
	MaxPeerInFlight int           // requests under way on a peer's connection; 16384 if 0
	MaxBody         int           // bytes of a request's body; wire.MaxBody if 0
	HelloTimeout    time.Duration // from accept to the end of the hello; 5s if 0
}

func (c ServerConfig) withDefaults() ServerConfig {
	if c.Member == nil {
		c.Member = func(ring.NodeID) bool { return false }
	}
	if c.Epoch == nil {
		c.Epoch = func() uint64 { return 0 }
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Cork == nil {
		c.Cork = NewCork()
	}
	c.MaxConns = orDefault(c.MaxConns, defaultMaxConns)
	c.MaxInFlight = orDefault(c.MaxInFlight, defaultMaxInFlight)
	c.MaxPeerInFlight = orDefault(c.MaxPeerInFlight, defaultMaxPeerInFlight)
	c.MaxBody = orDefault(c.MaxBody, wire.MaxBody)
	c.HelloTimeout = orDefault(c.HelloTimeout, defaultHelloTimeout)
	return c
}

// orDefault is v, or def if v is the zero value.
func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Server answers the connections of one TCP port. It has no accept loop: whoever
// listens hands it each connection, so that a node may change its cluster, and
// with it its Server, under one listener.
type Server struct {
	cfg    ServerConfig
	log    *slog.Logger
	conns  connSet
	raft   *raftListener
	ctx    context.Context // done when the Server closes
	cancel context.CancelFunc

	mu     sync.Mutex // orders goroutines.Go before goroutines.Wait
	closed bool

	goroutines sync.WaitGroup // one for each connection that is not raft's
}

// NewServer returns a Server that is ready for connections.
func NewServer(cfg ServerConfig) *Server {
	cfg = cfg.withDefaults()
	s := &Server{cfg: cfg, log: cfg.Logger, conns: connSet{max: cfg.MaxConns}, raft: newRaftListener(cfg.Identity.Addr)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// ServeConn takes c over and returns at once. A connection too many is closed.
func (s *Server) ServeConn(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.conns.add(c)
	if s.closed || !ok {
		s.log.Debug("connection refused", "peer", c.RemoteAddr(), "err", "the server is full or closed")
		_ = c.Close()
		return
	}
	s.goroutines.Go(func() { s.serve(t) })
}

// RaftListener gives out raft's connections after their hello. Closing it refuses
// later ones; the Server closes those given out when it closes.
func (s *Server) RaftListener() net.Listener { return s.raft }

// Close closes all connections and waits until nothing runs for them any more. It
// may be called again.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	_ = s.raft.Close()
	s.conns.close()
	s.goroutines.Wait()
	return nil
}

// serve is the life of one connection.
func (s *Server) serve(c *tracked) {
	kind, hello, err := s.welcome(c)
	if err == nil {
		from := ring.NodeID(hello.NodeID)
		switch kind {
		case wire.ConnRaft:
			if s.raft.give(c) {
				return // raft closes it, or Close
			}
		case wire.ConnStream:
			s.cfg.Streams.ServeStream(s.ctx, newStream(c, from, s.cfg.Identity.ClusterID, s.cfg.MaxBody))
		default:
			err = s.serveRequests(c, kind, from, hello.Sent)
		}
	}
	_ = c.Close()
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		s.log.Debug("connection closed", "peer", c.RemoteAddr(), "kind", string(rune(kind)), "err", err)
	}
}

// welcome reads what the connection is for and its hello, and answers it.
func (s *Server) welcome(c net.Conn) (kind byte, hello wire.Hello, err error) {
	if err := c.SetDeadline(time.Now().Add(s.cfg.HelloTimeout)); err != nil {
		return 0, hello, err
	}
	var first [1]byte
	if _, err := io.ReadFull(c, first[:]); err != nil {
		return 0, hello, err
	}
	kind = first[0]
	switch kind {
	case wire.ConnRaft, wire.ConnPeer, wire.ConnStream, wire.ConnClient, wire.ConnStrange:
	default:
		return kind, hello, errors.New("connection of an unknown kind")
	}
	if hello, err = readHello(c); err != nil {
		return kind, hello, err
	}
	refusal := s.cfg.Identity.check(kind, &hello, s.cfg.Member)
	if refusal == nil && !s.serves(kind) {
		refusal = wire.Errorf(wire.NotSupported, "this node does not serve connections of kind %c", kind)
	}
	own := &s.cfg.Identity
	if kind != wire.ConnClient && kind != wire.ConnStrange && hello.ClusterID == own.ClusterID && hello.Generation != own.Generation && s.cfg.OtherGeneration != nil {
		s.cfg.OtherGeneration(ring.NodeID(hello.NodeID), hello.Generation)
	}
	if err := s.answerHello(c, refusal); err != nil {
		return kind, hello, err
	}
	return kind, hello, c.SetDeadline(time.Time{})
}

// answerHello says who this node is, or why it refuses; the refusal is returned.
func (s *Server) answerHello(c net.Conn, refusal *wire.Error) error {
	id := s.cfg.Identity
	if refusal != nil {
		h := wire.Header{Kind: wire.KindHello, Code: refusal.Code, Cluster: wire.ClusterCheck(id.ClusterID), Epoch: s.cfg.Epoch()}
		_, err := c.Write(wire.AppendFrame(nil, &h, []byte(refusal.Message)))
		return errors.Join(refusal, err)
	}
	body, err := json.Marshal(id.hello(""))
	if err != nil {
		return fmt.Errorf("encode hello: %w", err)
	}
	_, err = c.Write(appendHello(nil, wire.OK, id.ClusterID, body))
	return err
}

func (s *Server) serves(kind byte) bool {
	switch kind {
	case wire.ConnPeer, wire.ConnClient:
		return s.cfg.Requests != nil
	case wire.ConnStream:
		return s.cfg.Streams != nil
	case wire.ConnStrange:
		return s.cfg.Strangers != nil
	}
	return true
}

func (s *Server) serveRequests(nc net.Conn, kind byte, from ring.NodeID, sent uint32) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	c := &conn{
		c: nc, kind: kind, from: from, handler: s.cfg.Requests, epoch: s.cfg.Epoch,
		check: wire.ClusterCheck(s.cfg.Identity.ClusterID), log: s.log, out: newOutbox(nc, s.cfg.Cork, maxQueued), ctx: ctx,
		maxInFlight: int64(s.cfg.MaxInFlight), maxBytes: maxRequestBytes, maxBody: s.cfg.MaxBody,
	}
	switch kind {
	case wire.ConnPeer:
		if s.cfg.SawPeer != nil {
			s.cfg.SawPeer(from)
		}
		c.clocks = s.cfg.Clocks
		c.out.max, c.maxInFlight, c.maxBytes = maxPeerQueued, int64(s.cfg.MaxPeerInFlight), maxPeerRequestBytes
	case wire.ConnClient:
		c.from = ""
	case wire.ConnStrange:
		c.handler, c.maxBody = s.cfg.Strangers, min(c.maxBody, maxStrangerBody)
	}
	c.transit.age(time.Now(), sent)
	return c.serve(cancel)
}
