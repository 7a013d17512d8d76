package vnodes

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// simNet carries streams between the nodes of a world.
type simNet struct {
	w *world

	mu    sync.Mutex
	links map[*simLink]struct{}
	hook  func(*passing) treatment
}

// passing is a frame on its way.
type passing struct {
	from, to ring.NodeID
	opened   wire.Op // what the stream is for
	answer   bool    // from the side that was dialled
	n        int     // frames of the stream before this one, both ways
	ended    bool    // behind the end of a handoff, or that end itself
	link     *simLink
	wire.Header
}

// end reports whether it is the last request of a handoff.
func (p *passing) end() bool { return p.ended && !p.answer }

// ready reports whether it is the answer to that.
func (p *passing) ready() bool { return p.ended && p.answer }

// treatment is what becomes of a frame.
type treatment int

const (
	deliver treatment = iota
	lose              // it never arrives, and nobody is told
	sever             // the stream breaks
)

func (n *simNet) setHook(h func(*passing) treatment) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hook = h
}

// simLink is a connection with its two directions.
type simLink struct {
	net      *simNet
	from, to ring.NodeID
	there    chan []byte
	back     chan []byte
	closed   chan struct{}
	once     sync.Once

	mu     sync.Mutex
	opened wire.Op
	frames int
	last   uint64 // id of the end of a handoff, once that has passed
}

func (l *simLink) close() {
	l.once.Do(func() {
		close(l.closed)
		l.net.mu.Lock()
		delete(l.net.links, l)
		l.net.mu.Unlock()
	})
}

// cutOff breaks all connections of a node.
func (n *simNet) cutOff(id ring.NodeID) {
	n.mu.Lock()
	var cut []*simLink
	for l := range n.links {
		if l.from == id || l.to == id {
			cut = append(cut, l)
		}
	}
	n.mu.Unlock()
	for _, l := range cut {
		l.close()
	}
}

func (n *simNet) dial(ctx context.Context, from *simNode, to ring.NodeID) (Stream, error) {
	target := n.w.nodes[to]
	if target == nil || ctx.Err() != nil {
		return nil, fmt.Errorf("dial %s: no such node", to)
	}
	l := &simLink{
		net: n, from: from.id, to: to,
		there: make(chan []byte, 256), back: make(chan []byte, 256), closed: make(chan struct{}),
	}
	m := target.m.Load()
	if m == nil {
		return nil, fmt.Errorf("dial %s: connection refused", to)
	}
	n.mu.Lock()
	n.links[l] = struct{}{}
	n.mu.Unlock()
	if v := target.view.Load(); v.isDead() || from.view.Load().isDead() {
		l.close()
		return nil, fmt.Errorf("dial %s: connection refused", to)
	}
	target.streams.Add(1)
	go func() {
		defer target.streams.Done()
		defer l.close()
		st := &simStream{link: l, answers: true}
		if f, err := st.ReadFrame(); err == nil {
			m.ServeStream(context.Background(), st, f)
		}
	}()
	return &simStream{link: l}, nil
}

// pass asks the hook what becomes of a frame.
func (l *simLink) pass(h *wire.Header, answer bool) treatment {
	l.net.mu.Lock()
	hook := l.net.hook
	l.net.mu.Unlock()
	l.mu.Lock()
	if l.frames == 0 {
		l.opened = h.Op
	}
	if !answer && h.Op == wire.OpHandoff && h.Flags&wire.FlagLast != 0 {
		l.last = h.ID
	}
	ended := l.last > 0 && h.ID == l.last
	p := &passing{from: l.from, to: l.to, opened: l.opened, answer: answer, n: l.frames, ended: ended, link: l, Header: *h}
	l.frames++
	l.mu.Unlock()
	if hook == nil {
		return deliver
	}
	return hook(p)
}

// simStream is one end of a link.
type simStream struct {
	link    *simLink
	answers bool // the dialled side
	out     [][]byte
	heads   []wire.Header

	mu       sync.Mutex
	deadline time.Time
}

func (s *simStream) ways() (in, out chan []byte) {
	if s.answers {
		return s.link.there, s.link.back
	}
	return s.link.back, s.link.there
}

func (s *simStream) timer() (<-chan time.Time, func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deadline.IsZero() {
		return nil, func() bool { return true }
	}
	t := time.NewTimer(time.Until(s.deadline))
	return t.C, t.Stop
}

func (s *simStream) ReadFrame() (wire.Frame, error) {
	in, _ := s.ways()
	late, stop := s.timer()
	defer stop()
	select {
	case b := <-in:
		return wire.ReadFrame(bytes.NewReader(b), wire.MaxBody)
	default:
	}
	select {
	case b := <-in:
		return wire.ReadFrame(bytes.NewReader(b), wire.MaxBody)
	case <-s.link.closed:
		return wire.Frame{}, io.EOF
	case <-late:
		return wire.Frame{}, os.ErrDeadlineExceeded
	}
}

func (s *simStream) WriteFrame(h *wire.Header, body []byte) error {
	s.out = append(s.out, wire.AppendFrame(nil, h, body))
	s.heads = append(s.heads, *h)
	return nil
}

func (s *simStream) Flush() error {
	_, out := s.ways()
	for i, b := range s.out {
		switch s.link.pass(&s.heads[i], s.answers) {
		case lose:
			continue
		case sever:
			s.link.close()
		}
		late, stop := s.timer()
		select {
		case <-s.link.closed:
			stop()
			return io.ErrClosedPipe
		default:
		}
		select {
		case out <- b:
		case <-s.link.closed:
			stop()
			return io.ErrClosedPipe
		case <-late:
			return os.ErrDeadlineExceeded
		}
		stop()
	}
	s.out, s.heads = nil, nil
	return nil
}

func (s *simStream) SetDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	return nil
}

func (s *simStream) Close() error {
	s.link.close()
	return nil
}
