package dataplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

const (
	defaultParallel = 8
	coverTries      = 12 // attempts at one partition without a single new key

	// hintsWait is how long a node may take to say which hints it keeps: longer than a
	// hung one is taken for up.
	hintsWait = time.Second
)

// CoverOptions say how a coverage query runs.
type CoverOptions struct {
	R        wire.Quorum // slots of each partition to read; by default n-W+1 with the W of a majority
	Parallel int         // partitions at a time; 8 if zero
}

// CoverItem is one item of a coverage query and where it was found. Its slices
// are valid only during the call that hands it over.
type CoverItem struct {
	Partition ring.Partition
	Node      ring.NodeID
	Item      wire.Item
}

// CoverResult says what a coverage query has seen.
type CoverResult struct {
	Complete bool             // every partition was read to its end
	Missing  []ring.Partition // the others, in order; some of their items may have been emitted
	Reduced  bool             // fewer slots were read than meet every acknowledged write
}

// coverage is one coverage query. Each partition is read by one of its goroutines,
// which end before Cover returns.
type coverage struct {
	r       *Router
	cancel  context.CancelFunc // ends the readers
	service uint32
	n       int
	r1      wire.Quorum
	body    []byte
	fold    bool                                                  // the vnodes' records are asked for, not what their service makes of them
	merge   func(body []byte, a, b *wire.Item) (wire.Item, error) // nil: the newest wins
	hints   map[ring.Partition][]coverPart                        // kept when the query began

	turn chan struct{} // of one: who has put something in may call emit, which is the query's pace
	emit func(CoverItem) error

	mu       sync.Mutex // held for a few instructions
	failed   error      // of emit, or of merge
	missing  []ring.Partition
	patience time.Time // until then nodes that are down may yet come up; zero before the first was missed
}

// Cover asks every partition of a service for its part of the answer to body, and
// calls emit with the items: those of one partition in key order, each key once in
// its newest version (or merged, see wire.ServiceInfo), deleted ones left out;
// partitions in any order and mixed. emit is not called by two goroutines at a time; as
// long as it takes, replicas wait.
//
// What other nodes keep as hints counts too. A replica that fails is replaced while the
// query runs. When ctx's deadline passes, what was not read is missing. The error is
// emit's, or ctx's if it was cancelled, or a *wire.Error if nothing was asked at all.
func (r *Router) Cover(ctx context.Context, service string, body []byte, opts CoverOptions, emit func(CoverItem) error) (CoverResult, error) {
	id := wire.ServiceID(service)
	info, ok := r.local.Service(id)
	if !ok {
		return CoverResult{}, wire.Errorf(wire.BadRequest, "this node knows no service %q", service)
	}
	if err := r.beginCover(); err != nil {
		return CoverResult{}, err
	}
	defer r.covers.Add(-1)
	return r.cover(ctx, id, info, body, opts, emit)
}

// beginCover counts a coverage query, or refuses it: r.covers is one less when it ends.
func (r *Router) beginCover() error {
	if r.covers.Add(1) > maxCovers {
		r.covers.Add(-1)
		return wire.Errorf(wire.Overload, "%d coverage queries are under way at this node", maxCovers)
	}
	return nil
}

func (r *Router) cover(ctx context.Context, id uint32, info wire.ServiceInfo, body []byte, opts CoverOptions, emit func(CoverItem) error) (CoverResult, error) {
	if need := coverQuorum(opts.R, info.N); need > info.N {
		return CoverResult{}, &wire.Error{Code: wire.QuorumNotMet, Message: string(tooMany("r", need, info.N))}
	}
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.stop, cancel)()
	c := &coverage{r: r, service: id, n: info.N, r1: opts.R, body: body, emit: emit, turn: make(chan struct{}, 1), cancel: cancel, merge: info.MergeItems}
	c.hints = r.hintStores(run, id)
	if opts.Parallel <= 0 {
		opts.Parallel = defaultParallel
	}
	q := r.rings.Ring().Q()
	var next atomic.Int32
	var readers sync.WaitGroup
	for range min(opts.Parallel, q) {
		readers.Go(func() {
			for p := next.Add(1) - 1; int(p) < q; p = next.Add(1) - 1 {
				c.partition(run, ring.Partition(p))
			}
		})
	}
	readers.Wait()
	slices.Sort(c.missing)
	res := CoverResult{
		Complete: len(c.missing) == 0, Missing: c.missing,
		Reduced: coverQuorum(opts.R, info.N) < coverQuorum(wire.QuorumDefault, info.N),
	}
	switch {
	case c.failed != nil:
		return res, c.failed
	case errors.Is(ctx.Err(), context.Canceled):
		return res, ctx.Err()
	case r.stop.Err() != nil && !res.Complete:
		return res, wire.Errorf(wire.ShuttingDown, "the node shuts down")
	}
	return res, nil
}

// partition reads p to its end, with as many attempts as it takes while they bring
// something new. If it cannot be had whole, what there is of it comes all the same.
func (c *coverage) partition(ctx context.Context, p ring.Partition) {
	read := coverRead{c: c, p: p, hints: c.hints[p]}
	for tries := 0; ctx.Err() == nil; tries++ {
		before := read.items
		err := read.attempt(ctx, false)
		if err == nil {
			return
		}
		if read.items > before {
			tries = 0
		}
		if tries == coverTries || err == errTooFew && !c.patient() {
			err = read.attempt(ctx, true)
			c.r.log.Debug("partition not covered", "partition", p, "err", err)
			break
		}
		read.settle(ctx, err, tries)
	}
	c.mu.Lock()
	c.missing = append(c.missing, p)
	c.mu.Unlock()
}

// patient reports whether nodes that are down are still waited for: one that has just
// come, or come back, may not have been noticed yet.
func (c *coverage) patient() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.patience.IsZero() {
		c.patience = time.Now().Add(patience)
	}
	return time.Now().Before(c.patience)
}

// errEnded says that the query has failed for good.
var errEnded = errors.New("the query has ended")

// deliver hands an item to the query's caller.
func (c *coverage) deliver(ctx context.Context, it CoverItem) error {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.turn }()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := c.emit(it); err != nil {
		return c.fail(err)
	}
	return nil
}

// fail ends the query with err, unless it has failed before.
func (c *coverage) fail(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil {
		c.failed = err
	}
	c.cancel()
	return errEnded
}

// combiner is the service's merge of items; nil if the newest wins. Its failure ends
// the query.
func (c *coverage) combiner() combiner {
	if c.merge == nil {
		return nil
	}
	return func(a, b *wire.Item) (wire.Item, error) {
		it, err := c.merge(c.body, a, b)
		if err == nil {
			return it, nil
		}
		return it, c.fail(fmt.Errorf("merge two versions of an item: %w", err))
	}
}
