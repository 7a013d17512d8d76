package dataplane

import (
	"context"
	"errors"
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
	service uint32
	n       int
	r1      wire.Quorum
	body    []byte

	mu      sync.Mutex // held while emit runs: the emitter is the query's pace
	emit    func(CoverItem) error
	failed  error // of emit
	missing []ring.Partition
}

// Cover asks every partition of a service for its part of the answer to body, and
// calls emit with the items: those of one partition in key order, each key once in
// its newest version, deleted ones left out; partitions in any order and mixed. emit
// is not called by two goroutines at a time; as long as it takes, replicas wait.
//
// A replica that fails is replaced while the query runs. When ctx's deadline passes,
// what was not read is missing. The error is emit's, or ctx's if it was cancelled, or a
// *wire.Error if nothing was asked at all.
func (r *Router) Cover(ctx context.Context, service string, body []byte, opts CoverOptions, emit func(CoverItem) error) (CoverResult, error) {
	id := wire.ServiceID(service)
	info, ok := r.local.Service(id)
	if !ok {
		return CoverResult{}, wire.Errorf(wire.BadRequest, "this node knows no service %q", service)
	}
	return r.cover(ctx, id, info, body, opts, emit)
}

func (r *Router) cover(ctx context.Context, id uint32, info wire.ServiceInfo, body []byte, opts CoverOptions, emit func(CoverItem) error) (CoverResult, error) {
	if opts.R <= ring.MaxReplicas && int(opts.R) > info.N {
		return CoverResult{}, &wire.Error{Code: wire.QuorumNotMet, Message: string(tooMany("r", int(opts.R), info.N))}
	}
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.stop, cancel)()
	c := &coverage{r: r, service: id, n: info.N, r1: opts.R, body: body, emit: emit}
	if opts.Parallel <= 0 {
		opts.Parallel = defaultParallel
	}
	q := r.rings.Ring().Q()
	var next atomic.Int32
	var readers sync.WaitGroup
	for range min(opts.Parallel, q) {
		readers.Go(func() {
			for p := next.Add(1) - 1; int(p) < q; p = next.Add(1) - 1 {
				c.partition(run, ring.Partition(p), cancel)
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
// something new. fail stops the whole query.
func (c *coverage) partition(ctx context.Context, p ring.Partition, fail func()) {
	read := coverRead{c: c, p: p}
	for tries := 0; tries < coverTries && ctx.Err() == nil; {
		before := read.items
		err := read.attempt(ctx)
		if err == nil {
			return
		}
		if errors.Is(err, errEmit) {
			fail()
			break
		}
		if read.items > before {
			tries = 0
		}
		read.settle(ctx, err, tries)
		tries++
	}
	if ctx.Err() == nil {
		read.hints(ctx)
	}
	c.mu.Lock()
	c.missing = append(c.missing, p)
	c.mu.Unlock()
}

// errEmit says that the query ends because its emit failed.
var errEmit = errors.New("emit failed")

// deliver hands an item to the query's caller.
func (c *coverage) deliver(it CoverItem) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil {
		c.failed = c.emit(it)
	}
	if c.failed != nil {
		return errEmit
	}
	return nil
}

// coverRead is the reading of one partition. It belongs to one goroutine.
type coverRead struct {
	c     *coverage
	p     ring.Partition
	ring  *ring.Ring // of the last attempt
	nodes []ring.NodeID
	at    position // what was read, tombstones too
	items int
	bad   []ring.NodeID // failed since the ring last changed
}

// errTooFew says that fewer slots can be read than must be.
var errTooFew = errors.New("too few slots can be read")

// attempt reads on from where the last attempt stopped, with the newest ring.
func (a *coverRead) attempt(ctx context.Context) error {
	g := a.c.r.rings.Ring()
	if a.ring != nil && g.Gen(a.p) != a.ring.Gen(a.p) {
		a.bad = nil
	}
	a.ring = g
	slots := g.Replicas(a.p, a.c.n)
	need := coverQuorum(a.c.r1, len(slots))
	if !a.choose(slots, need) {
		a.bad = nil
		return errTooFew
	}
	return a.read(ctx, a.nodes, "")
}

// choose picks need readable slots, this node first; false if there are too few.
func (a *coverRead) choose(slots []ring.Replica, need int) bool {
	r := a.c.r
	a.nodes = a.nodes[:0]
	k := len(slots)
	start := int(a.p) % k
	if me := placeOf(slots, r.self); me >= 0 {
		start = me
	}
	for j := range k {
		s := slots[(start+j)%k]
		usable := !s.CatchingUp && !slices.Contains(a.bad, s.Node) && (s.Node == r.self || r.up(s.Node))
		if usable && len(a.nodes) < need {
			a.nodes = append(a.nodes, s.Node)
		}
	}
	return len(a.nodes) == need
}

// read merges what nodes hold behind a.at: of the slot itself, or as hints for a node.
func (a *coverRead) read(ctx context.Context, nodes []ring.NodeID, hintsFor ring.NodeID) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call := &wire.CoverCall{
		Service: a.c.service, Partition: uint16(a.p), Gen: uint64(a.ring.Gen(a.p)), Epoch: uint64(a.ring.Epoch),
		For: string(hintsFor), Body: a.c.body,
	}
	if a.at.begun {
		call.After = slices.Clone(a.at.key)
	}
	sources := make([]source, 0, len(nodes))
	for i, node := range nodes {
		if node == a.c.r.self {
			s := newLocalSource(ctx, a.c.r.local, call)
			defer s.close()
			sources = append(sources, s)
			continue
		}
		s, err := a.c.r.newRemoteSource(ctx, node, call)
		if err != nil {
			return &sourceError{i, err}
		}
		defer s.close()
		sources = append(sources, s)
	}
	return merge(sources, &a.at, func(i int, it *wire.Item) error {
		a.items++
		if it.Deleted {
			return nil
		}
		return a.c.deliver(CoverItem{Partition: a.p, Node: nodes[i], Item: *it})
	})
}

// settle learns from a failed attempt, and waits a little unless there is a newer ring.
func (a *coverRead) settle(ctx context.Context, err error, tries int) {
	r := a.c.r
	until, ok := ctx.Deadline()
	if !ok {
		until = time.Now().Add(r.timeout)
	}
	if e, ok := errors.AsType[*sourceError](err); ok {
		node := a.nodes[e.source]
		a.bad = append(a.bad, node)
		if we, ok := errors.AsType[*wire.Error](e.err); ok && node != r.self {
			r.catchUp(ring.Epoch(we.Epoch), node, until)
		}
		r.log.Debug("coverage replica failed", "peer", node, "partition", a.p, "err", e.err)
	}
	if r.rings.Ring().Epoch != a.ring.Epoch && tries == 0 {
		return
	}
	pause := time.NewTimer(wait(tries))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
}

// hints emits what a fallback keeps for the only replica of a partition that
// cannot be read: it is better than nothing, and the partition is missing all the same.
func (a *coverRead) hints(ctx context.Context) {
	r := a.c.r
	owner := a.ring.Owner(a.p)
	if a.c.n != 1 || owner == r.self || r.up(owner) {
		return
	}
	node := fallbackFor(a.ring, a.p, 1, owner, r.up)
	if node == "" {
		return
	}
	if err := a.read(ctx, []ring.NodeID{node}, owner); err != nil {
		r.log.Debug("hints not read", "peer", node, "partition", a.p, "err", err)
	}
}
