package dataplane

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

const (
	defaultTimeout = 5 * time.Second        // the deadline of a request that brings none
	answerTime     = 100 * time.Millisecond // of a caller's time, what is kept for the answer's way back, at most
)

// RouterConfig says what a Router stands on. What has no default is required.
type RouterConfig struct {
	Self    ring.NodeID
	Rings   Rings
	Local   Local
	Peers   Sender
	Repairs Reconciler // compares what reads find to differ; no read repair if nil
	// OpenStream opens a stream to a node; ctx bounds the opening. The stream of Peers
	// if nil and Peers is a *Peers.
	OpenStream func(ctx context.Context, node ring.NodeID) (FrameStream, error)
	// Up reports whether node is probably reachable. It may be called from any
	// goroutine and must not block.
	Up func(node ring.NodeID) bool
	// Away reports whether a node that is not up surely was not a moment ago either, as Up
	// may be called. That of Peers if nil and Peers is a *Peers.
	Away func(node ring.NodeID) bool
	// Held reports whether a node may hold writes for owner's slot of p that owner has not
	// got yet. It may be called from any goroutine and must not block. Nobody does if nil.
	Held func(owner ring.NodeID, service uint32, p ring.Partition) bool
	// Members lists the nodes that may keep hints, this one too; those of the ring if nil.
	Members func() []ring.NodeID
	// Draining reports whether a node is about to stop: another one coordinates for it and
	// is read instead, if one can. It is called as Up may be. Nobody is if nil.
	Draining func(node ring.NodeID) bool
	// Buckets tells the properties of a bucket, as Up may be called; nil if none has any.
	Buckets        func(bucket string) wire.BucketProps
	Cork           *Cork         // that of the node's connections; one of its own if nil
	Logger         *slog.Logger  // slog.Default() if nil
	Tracer         wire.Tracer   // nothing is traced if nil
	DefaultTimeout time.Duration // of requests without a deadline; 5 s if zero
}

// Router brings requests to the vnodes that serve their keys, wherever they are,
// and answers when as many replicas have as were asked for. Its methods may be
// called from any goroutine.
//
// A request costs no goroutine of its own: it lives in callbacks of the vnodes,
// the peers and the hedging timer. Only fetching a ring, waiting before another try and
// read repair, a few at a time, take one, which Close waits for.
type Router struct {
	self    ring.NodeID
	rings   Rings
	local   Local
	peers   Sender
	open    func(ctx context.Context, node ring.NodeID) (FrameStream, error)
	up      func(node ring.NodeID) bool
	away    func(node ring.NodeID) bool
	held    func(owner ring.NodeID, service uint32, p ring.Partition) bool
	members func() []ring.NodeID
	drain   func(node ring.NodeID) bool
	buckets func(bucket string) wire.BucketProps
	cork    *Cork
	log     *slog.Logger
	tracer  wire.Tracer // nil: nothing is traced
	timeout time.Duration

	repairs readRepair
	hedges  hedges

	turn   atomic.Uint32 // spreads requests over equal nodes
	last   atomic.Bool   // see LastCalls
	pauses pauses
	load   load         // operations under way
	meter  meter        // of those that have ended
	covers atomic.Int32 // coverage queries under way that this node coordinates
	parts  atomic.Int32 // parts of coverage queries that it streams to others

	stop   context.Context // ends with Close
	cancel context.CancelFunc
	mu     sync.Mutex // held to start a goroutine or to forbid that
	closed bool
	slow   sync.WaitGroup
}

// NewRouter makes a Router; its owner must Close it.
func NewRouter(c RouterConfig) *Router {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.DefaultTimeout <= 0 {
		c.DefaultTimeout = defaultTimeout
	}
	if c.Cork == nil {
		c.Cork = NewCork()
	}
	if c.Held == nil {
		c.Held = func(ring.NodeID, uint32, ring.Partition) bool { return false }
	}
	if c.Draining == nil {
		c.Draining = func(ring.NodeID) bool { return false }
	}
	if c.Buckets == nil {
		c.Buckets = func(string) wire.BucketProps { return wire.BucketProps{} }
	}
	if c.Members == nil {
		c.Members = func() []ring.NodeID { return c.Rings.Ring().Nodes() }
	}
	p, real := c.Peers.(*Peers)
	if real && c.OpenStream == nil {
		c.OpenStream = func(ctx context.Context, node ring.NodeID) (FrameStream, error) { return p.Stream(ctx, node) }
	}
	switch {
	case real && c.Away == nil:
		c.Away = p.Away
	case c.Away == nil:
		c.Away = func(ring.NodeID) bool { return false }
	}
	r := &Router{
		self: c.Self, rings: c.Rings, local: c.Local, peers: c.Peers, open: c.OpenStream, up: c.Up, away: c.Away, held: c.Held, members: c.Members, drain: c.Draining, buckets: c.Buckets,
		cork: c.Cork, log: c.Logger, tracer: c.Tracer, timeout: c.DefaultTimeout,
	}
	r.repairs.r, r.repairs.rec = r, c.Repairs
	r.stop, r.cancel = context.WithCancel(context.Background())
	r.pauses.born = time.Now()
	r.slow.Go(func() { r.pauses.watch(r.stop) })
	return r
}

// LastCalls begins no operation any more: callers hear ShuttingDown, and ask another node.
// It comes before the connections are closed; see Idle.
func (r *Router) LastCalls() { r.last.Store(true) }

// Idle returns when all operations under way are answered, or after limit.
func (r *Router) Idle(limit time.Duration) {
	end := time.NewTimer(limit)
	defer end.Stop()
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for r.load.operations.Load() > 0 {
		select {
		case <-look.C:
		case <-end.C:
			return
		}
	}
}

// Close ends the waiting of requests that wait to be tried again, and returns
// when their callers have been answered. Requests that are with a vnode or a peer
// are answered when those do.
func (r *Router) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.slow.Wait()
}

// ask sends a request to a node, or hands it to this one's own vnodes: body is what a
// peer is sent, call and, as an effect, body are what the vnodes get.
func (r *Router) ask(node ring.NodeID, h wire.Header, call *wire.Call, body []byte, until time.Time, done func(wire.Code, uint64, []byte)) {
	if node == r.self {
		r.local.Dispatch(&wire.Request{
			Op: h.Op, Service: h.Service, Partition: h.Partition, Flags: h.Flags, Gen: h.Gen, Epoch: h.Epoch,
			Call: *call, Effect: body, Deadline: until, Done: done,
		})
		return
	}
	r.peers.Send(node, h, body, until, func(f wire.Frame, err error) { done(outcome(f, err)) })
}

// spawn runs fn on a goroutine that Close waits for; false after Close.
func (r *Router) spawn(fn func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.slow.Go(fn)
	return true
}

// catchUp fetches the ring of epoch from a node that knows it, if it is newer than
// this node's. It blocks, at most until the deadline.
func (r *Router) catchUp(epoch ring.Epoch, from ring.NodeID, deadline time.Time) {
	if from == "" || epoch <= r.rings.Ring().Epoch {
		return
	}
	ctx, cancel := context.WithDeadline(r.stop, deadline)
	defer cancel()
	if err := r.rings.Fetch(ctx, epoch, from); err != nil {
		r.log.Debug("ring not fetched", "epoch", epoch, "peer", from, "err", err)
	}
}

// sleep waits for d, at most until the deadline; false if the router closes.
func (r *Router) sleep(d time.Duration, deadline time.Time) bool {
	t := time.NewTimer(min(d, time.Until(deadline)))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.stop.Done():
		return false
	}
}

// Do runs an OpCommand or OpQuery of a service at the node that is to coordinate
// it, with flags as in a request's header. A zero deadline means the default one.
// done is called exactly once, from any goroutine, possibly before Do returns; it
// must not block. epoch is that of this node's ring; body is the reply if code is
// OK, else a message for people. call must not change until then.
func (r *Router) Do(op wire.Op, service uint32, call wire.Call, flags wire.Flags, deadline time.Time, done func(code wire.Code, epoch uint64, body []byte)) {
	r.do(&operation{r: r, op: op, service: service, call: call, flags: flags, deadline: deadline, done: done}, nil)
}

// do is Do, for what is a part of parent, if that is not nil.
func (r *Router) do(o *operation, parent *wire.Trace) {
	if r.last.Load() {
		o.done(wire.ShuttingDown, uint64(r.rings.Ring().Epoch), []byte("the node shuts down"))
		return
	}
	if err := r.load.take(&o.call); err != nil {
		o.done(err.Code, uint64(r.rings.Ring().Epoch), []byte(err.Message))
		return
	}
	o.began = time.Now()
	info, ok := r.local.Service(o.service)
	switch {
	case !ok:
		o.settle(wire.BadRequest, message("this node knows no such service"))
		return
	case o.op != wire.OpCommand && o.op != wire.OpQuery:
		o.settle(wire.BadRequest, message("operation %d is neither a command nor a query", o.op))
		return
	}
	o.info = info
	props := r.buckets(o.call.Bucket)
	props.Fill(&o.call, o.op == wire.OpQuery)
	restores := o.call.Flags&wire.CallRestore != 0
	if o.op == wire.OpCommand {
		o.blind = restores || info.Blind != nil && info.Blind(o.call.Body)
		if o.blind && o.waited {
			// Its sender may have had it run elsewhere, and others may have written since: under a
			// new stamp it would replace that. A sender that still waits tries again.
			o.settle(wire.Deadline, message("the command lay here while this node or its link stood still: it was not run"))
			return
		}
		if o.call.ID == 0 {
			o.call.ID = max(rand.Uint64(), 1)
		}
	}
	if o.deadline.IsZero() {
		o.deadline = time.Now().Add(r.timeout)
	}
	if !restores {
		o.part = ring.Locate(ring.HashKey(o.call.Bucket, o.call.Key), r.rings.Ring().Q())
	}
	if r.tracer != nil {
		o.trace(parent)
	}
	o.plan()
}

// Command runs a command and waits for its reply; ctx's deadline is the command's.
// Its error is a *wire.Error: when ctx ends first, the command may have run.
func (r *Router) Command(ctx context.Context, service string, call wire.Call) ([]byte, error) {
	return r.wait(ctx, &operation{op: wire.OpCommand, service: wire.ServiceID(service), call: call}, wire.Maybe)
}

// Query runs a query and waits for its reply, as Command does.
func (r *Router) Query(ctx context.Context, service string, call wire.Call) ([]byte, error) {
	return r.wait(ctx, &operation{op: wire.OpQuery, service: wire.ServiceID(service), call: call}, wire.Deadline)
}

// wait runs o and waits for its reply, or until ctx ends: then the error's code is late.
func (r *Router) wait(ctx context.Context, o *operation, late wire.Code) ([]byte, error) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	end, _ := ctx.Deadline()
	answer := make(chan result, 1)
	o.r, o.deadline = r, early(end)
	o.done = func(code wire.Code, epoch uint64, body []byte) { answer <- result{code, epoch, body, true} }
	r.do(o, r.traceOf(ctx))
	select {
	case a := <-answer:
		return a.reply()
	case <-ctx.Done():
	}
	select {
	case a := <-answer: // it came at the same time, and says more
		return a.reply()
	default:
	}
	return nil, wire.Errorf(late, "the caller stopped waiting: %v", ctx.Err())
}

// result is how an operation ended.
type result struct {
	code  wire.Code
	epoch uint64
	body  []byte
	there bool
}

func (a *result) reply() ([]byte, error) {
	if a.code != wire.OK {
		return nil, &wire.Error{Code: a.code, Message: string(a.body), Epoch: a.epoch}
	}
	return a.body, nil
}

// early is a little before end: what is known then reaches a caller who waits until end.
func early(end time.Time) time.Time { return end.Add(-min(time.Until(end)/10, answerTime)) }

// bounded gives ctx a deadline if it has none.
func (r *Router) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, r.timeout)
}
