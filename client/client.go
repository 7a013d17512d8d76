package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Client speaks with a cluster. It may be used from any goroutine.
type Client struct {
	cfg    Config
	log    *slog.Logger
	born   time.Time       // the requests' Sent counts from here
	ctx    context.Context // done when the Client closes
	cancel context.CancelFunc

	view    atomic.Pointer[view] // what is known of the cluster; written by the learner only
	epoch   atomic.Uint64        // the newest that any answer named
	wake    chan struct{}        // of size 1: the learner has something to do
	calls   sync.Pool            // of *call
	batches sync.Pool            // of *batch
	gather  gatherer

	mu     sync.Mutex // held to add or remove a link, and to close
	links  map[*link]struct{}
	closed bool

	goroutines sync.WaitGroup // the learner, the tender, two for each link, one for each probe or hedge
}

// Open finds the cluster through any of the addresses and learns its ring. It
// tries all of them until one answers or ctx ends, for the configured Timeout if
// ctx has no deadline. Whoever opens a Client must Close it.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, log: cfg.Logger, born: time.Now(), wake: make(chan struct{}, 1), links: map[*link]struct{}{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.calls.New = func() any { return newCall() }
	c.batches.New = func() any { return newBatch() }
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cfg.Timeout)
		defer cancel()
	}
	for {
		err := c.learnFromSeeds(ctx)
		if err == nil {
			break
		}
		if permanent(err) || !pause(ctx, learnPause) {
			c.cancel()
			return nil, fmt.Errorf("open cluster: %w", err)
		}
	}
	c.goroutines.Go(c.learn)
	c.goroutines.Go(c.tend)
	return c, nil
}

// Close ends all connections; requests under way fail. It waits for the Client's
// goroutines. It may be called again.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	links := c.links
	c.links = nil
	c.mu.Unlock()
	c.cancel()
	for l := range links {
		l.fail(ErrClosed)
	}
	c.goroutines.Wait()
	return nil
}

// start runs l's goroutines, unless the Client is closed.
func (c *Client) start(l *link) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.links[l] = struct{}{}
	c.goroutines.Go(l.write)
	c.goroutines.Go(func() {
		l.read()
		c.mu.Lock()
		delete(c.links, l)
		c.mu.Unlock()
	})
	return true
}

// spawn runs f on a goroutine that Close waits for; false if the Client is closed.
func (c *Client) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.goroutines.Go(f)
	return true
}

// clusterID is the cluster's id; empty before the first node has answered.
func (c *Client) clusterID() string {
	if v := c.view.Load(); v != nil {
		return v.clusterID
	}
	return c.cfg.ClusterID
}

// noteEpoch has the learner fetch a newer ring, if epoch is one.
func (c *Client) noteEpoch(epoch uint64) {
	for {
		known := c.epoch.Load()
		if epoch <= known {
			return
		}
		if c.epoch.CompareAndSwap(known, epoch) {
			c.learnSoon()
			return
		}
	}
}

// learnSoon wakes the learner. It never blocks.
func (c *Client) learnSoon() {
	select {
	case c.wake <- struct{}{}:
	default: // it is awake already
	}
}

// pause waits for d; false if ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// asError finds the *Error in err.
func asError(err error) (*Error, bool) { return errors.AsType[*Error](err) }
