package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// stallAfter is how long a peer may send nothing while a coverage query waits for it.
const stallAfter = 10 * time.Second

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
	stall  *time.Timer
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
	closeStream := func() { _ = stream.Close() }
	s := &remoteSource{stream: stream, unhook: context.AfterFunc(ctx, closeStream), stall: time.AfterFunc(stallAfter, closeStream)}
	h := wire.Header{
		Kind: wire.KindRequest, Op: wire.OpCover, ID: 1, Service: c.Service, Partition: c.Partition,
		Gen: c.Gen, Epoch: c.Epoch,
	}
	err = stream.WriteFrame(&h, wire.AppendCoverCall(nil, c))
	if err == nil {
		err = stream.Flush()
	}
	s.stall.Stop()
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
	s.stall.Reset(stallAfter)
	f, err := s.stream.ReadFrame()
	s.stall.Stop()
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
	s.stall.Stop()
	_ = s.stream.Close()
}

// noEOF keeps the end of a broken stream apart from the end of its items.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
