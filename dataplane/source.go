package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// A peer that sends no items is asked for a sign of life every probeAfter, and given
// up when it gives none in that time: it may have much to read before it finds the
// first item. After stallAfter it is given up all the same.
const (
	probeAfter = 500 * time.Millisecond
	stallAfter = 10 * time.Second
)

// errEnough ends the Cover of a local vnode whose items are no longer wanted.
var errEnough = errors.New("no more items wanted")

// localSource pulls items out of this node's own Cover, which stands still
// between two calls: nothing is copied and nothing is queued.
type localSource struct {
	pull func() (*wire.Item, bool)
	stop func()
	err  error
}

func newLocalSource(ctx context.Context, l Local, c *wire.CoverCall) *localSource {
	s := &localSource{}
	s.pull, s.stop = iter.Pull(func(yield func(*wire.Item) bool) {
		s.err = l.Cover(ctx, c, func(it *wire.Item) error {
			if !yield(it) {
				return errEnough
			}
			return nil
		})
	})
	return s
}

func (s *localSource) next() (*wire.Item, error) {
	if it, ok := s.pull(); ok {
		return it, nil
	}
	if s.err != nil {
		return nil, s.err
	}
	return nil, io.EOF
}

func (s *localSource) close() { s.stop() }

// remoteSource reads the chunks of a peer, one at a time: a peer whose items are
// not wanted yet is held up by its connection.
type remoteSource struct {
	stream FrameStream
	watch  *streamWatch
	unhook func() bool
	rest   []byte // of the chunk
	last   bool   // no chunk follows
	item   wire.Item
}

// newRemoteSource asks node for its part of c; ctx bounds the whole conversation.
func (r *Router) newRemoteSource(ctx context.Context, node ring.NodeID, c *wire.CoverCall) (*remoteSource, error) {
	stream, err := r.open(ctx, node)
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	s := &remoteSource{
		stream: stream, watch: &streamWatch{r: r, node: node, stream: stream},
		unhook: context.AfterFunc(ctx, func() { _ = stream.Close() }),
	}
	s.watch.begin()
	h := wire.Header{
		Kind: wire.KindRequest, Op: wire.OpCover, ID: 1, Service: c.Service, Partition: c.Partition,
		Gen: c.Gen, Epoch: c.Epoch,
	}
	if c.Fold {
		h.Op = wire.OpFold
	}
	if end, ok := ctx.Deadline(); ok {
		h.SetTimeout(time.Until(end))
	}
	err = stream.WriteFrame(&h, wire.AppendCoverCall(nil, c))
	if err == nil {
		err = stream.Flush()
	}
	s.watch.end()
	if err != nil {
		s.close()
		return nil, fmt.Errorf("ask for items: %w", err)
	}
	return s, nil
}

func (s *remoteSource) next() (*wire.Item, error) {
	for len(s.rest) == 0 {
		if s.last {
			return nil, io.EOF
		}
		if err := s.read(); err != nil {
			return nil, err
		}
	}
	var err error
	s.item, s.rest, err = wire.CutItem(s.rest)
	return &s.item, err
}

func (s *remoteSource) read() error {
	s.watch.begin()
	f, err := s.stream.ReadFrame()
	s.watch.end()
	switch {
	case err != nil:
		return fmt.Errorf("read items: %w", noEOF(err))
	case f.Kind == wire.KindReply:
		return &wire.Error{Code: f.Code, Message: string(f.Body), Epoch: f.Epoch}
	case f.Kind != wire.KindChunk:
		return wire.Errorf(wire.BadRequest, "frame of kind %d in a stream of items", f.Kind)
	}
	s.rest, s.last = f.Body, f.Flags&wire.FlagLast != 0
	return nil
}

func (s *remoteSource) close() {
	s.unhook()
	_ = s.stream.Close()
}

// streamWatch closes a stream whose peer is silent while something is awaited of it.
type streamWatch struct {
	r      *Router
	node   ring.NodeID
	stream FrameStream

	mu     sync.Mutex // held for a few instructions
	timer  *time.Timer
	waits  uint64 // counts the beginnings, so that a late answer to a ping changes nothing
	waited time.Duration
	on     bool
}

func (w *streamWatch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on, w.waited = true, 0
	w.waits++
	if w.timer == nil {
		w.timer = time.AfterFunc(probeAfter, w.probe)
	} else {
		w.timer.Reset(probeAfter)
	}
}

func (w *streamWatch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = false
	w.timer.Stop()
}

// probe asks the silent peer for a sign of life.
func (w *streamWatch) probe() {
	w.mu.Lock()
	this := w.waits
	w.waited += probeAfter
	stalled := w.waited >= stallAfter
	on := w.on
	w.mu.Unlock()
	switch {
	case !on:
	case stalled:
		_ = w.stream.Close()
	default:
		w.r.peers.Send(w.node, wire.Header{Op: wire.OpPing}, nil, time.Now().Add(probeAfter), func(_ wire.Frame, err error) {
			w.probed(this, err)
		})
	}
}

// probed takes the answer to the ping that was sent in the wait with that number.
func (w *streamWatch) probed(wait uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.on || w.waits != wait:
	case err != nil:
		_ = w.stream.Close()
	default:
		w.timer.Reset(probeAfter)
	}
}

// noEOF keeps the end of a broken stream apart from the end of its items.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
