package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

const (
	backoffFirst = 2 * time.Millisecond // doubles with each round in which nobody served
	backoffMost  = 250 * time.Millisecond
	attemptLeast = 250 * time.Millisecond // a try that another may follow gets a third of what is left, and at least this
)

// request is a command or query on its way to the node that will coordinate it.
type request struct {
	op       wire.Op
	service  uint32
	call     wire.Call
	safe     bool // running it twice does no harm
	deadline time.Time
}

// route is where a request has been.
type route struct {
	tried  []*peer // in this round
	space  [4]*peer
	rounds int
	ran    error // why it may have run already, though it is safe to try again
	unmet  error // a coordinator that is up reached too few replicas
	late   bool  // ... and used up its time in waiting for one
	last   error
}

// try is one node that is asked.
type try struct {
	view      *view
	partition ring.Partition
	peer      *peer
	begun     time.Time
	left      time.Duration // a third of the time that there was
}

// do brings r to a node that holds its key and returns the reply, or an error
// whose code is final.
func (c *Client) do(ctx context.Context, r *request) ([]byte, error) {
	var to route
	to.tried = to.space[:0]
	return c.carry(ctx, r, &to)
}

// carry is do for a request that has been to where to says.
func (c *Client) carry(ctx context.Context, r *request, to *route) ([]byte, error) {
	for {
		t, err := c.choose(ctx, r, to)
		if err != nil {
			return nil, err
		}
		f, err := c.attempt(ctx, t.view, t.peer, t.partition, r, to)
		if done, err := c.judge(ctx, r, to, &t, &f, err); done {
			return f.Body, err
		}
	}
}

// choose is the node to ask next. When all have been asked it waits for the next round.
func (c *Client) choose(ctx context.Context, r *request, to *route) (try, error) {
	for {
		v := c.view.Load()
		partition := ring.Locate(ring.HashKey(r.call.Bucket, r.call.Key), v.ring.Q())
		p := v.pick(partition, to.tried)
		if to.unmet != nil && !to.late && (p == nil || !p.usable()) {
			return try{}, to.unmet
		}
		if p == nil { // all have been asked
			if !c.backoff(ctx, to, r.deadline) {
				if to.unmet != nil && ctx.Err() == nil {
					return try{}, to.unmet
				}
				return try{}, c.give(ctx, r, to)
			}
			continue
		}
		to.tried = append(to.tried, p)
		return try{v, partition, p, time.Now(), time.Until(r.deadline) / 3}, nil
	}
}

// judge reports whether a try was the last one, and if so with which error r ends. Else it
// has noted in to what came of it.
func (c *Client) judge(ctx context.Context, r *request, to *route, t *try, f *wire.Frame, err error) (bool, error) {
	switch {
	case err == nil && f.Code == wire.OK:
		return true, nil
	case err == nil:
		err = &Error{Code: f.Code, Message: string(f.Body), Epoch: f.Epoch}
		f.Body = nil
		if f.Code == wire.QuorumNotMet && r.safe {
			// It may be the one that is cut off: each is asked once. More often if a replica
			// that is there was waited for: a transfer's outcome may not be known for a while.
			to.unmet, to.last = err, err
			to.late = to.late || time.Since(t.begun) >= t.left*3/4
			return false, nil
		}
		if f.Code == wire.Unavailable && to.ran == nil && t.view.betterThan(t.peer, t.partition, f.Epoch, to.tried) {
			to.last = err
			return false, nil
		}
		if !c.again(f.Code, r.safe) {
			if to.ran != nil && (f.Code == wire.Unavailable || f.Code == wire.DiskFull || f.Code == wire.Overload) {
				return true, c.give(ctx, r, to) // this try did not run; an earlier one may have
			}
			return true, err
		}
		if f.Code == wire.Maybe {
			to.ran = err
		}
	case !errors.Is(err, errUnsent):
		to.ran = err
		if !r.safe {
			return true, c.give(ctx, r, to)
		}
	}
	to.last = err
	if f.Code == wire.Overload && !c.backoff(ctx, to, r.deadline) || ctx.Err() != nil || c.ctx.Err() != nil || !time.Now().Before(r.deadline) {
		return true, c.give(ctx, r, to)
	}
	return false, nil
}

// attempt asks one node, and if it is slow over a query, and to says where the query has
// been, another one. A node that cannot be reached or does not answer is shunned for a while.
func (c *Client) attempt(ctx context.Context, v *view, p *peer, partition ring.Partition, r *request, to *route) (wire.Frame, error) {
	left := r.patience()
	limit := time.Now().Add(left)
	l, err := p.connect(ctx, limit)
	if err != nil {
		if left >= attemptLeast || !errors.Is(err, context.DeadlineExceeded) {
			c.blame(ctx, p)
		}
		return wire.Frame{}, err
	}
	h := c.header(ctx, v, l, partition, r, left)
	var more *hedge
	if r.op == wire.OpQuery && to != nil {
		more = &hedge{v, partition, r, to}
	}
	a := l.roundTrip(ctx, &h, &r.call, limit, more)
	c.note(ctx, p, &a, left)
	return a.frame, a.err
}

// patience is how long one node may take.
func (r *request) patience() time.Duration {
	left := time.Until(r.deadline)
	if r.safe {
		left = min(left, max(left/3, attemptLeast))
	}
	return left
}

// header is that of r, sent through l to a node that has the time left.
func (c *Client) header(ctx context.Context, v *view, l *link, partition ring.Partition, r *request, left time.Duration) wire.Header {
	h := wire.Header{
		Kind: wire.KindRequest, Op: r.op, Cluster: v.check, Service: r.service, Partition: uint16(partition),
		Gen: uint64(v.ring.Gen(partition)), Epoch: uint64(v.ring.Epoch),
	}
	h.SetTimeout(left)
	if c.cfg.Trace != nil && l.traces {
		if t := c.cfg.Trace(ctx); t.Sampled() {
			h.Trace = t
		}
	}
	return h
}

// note notes what an answer, or that none came, says about p, which had the time left.
func (c *Client) note(ctx context.Context, p *peer, a *answer, left time.Duration) {
	switch {
	case a.other:
		p.failed() // too slow: the others are asked before it until it has answered a probe
	case a.err == nil:
		p.answered()
	case left >= attemptLeast || errors.Is(a.err, errLost): // a caller in a hurry says nothing about the node
		c.blame(ctx, p)
	}
}

// blame shuns p after a failure, unless the caller or the Client gave up, and has
// the learner see whether the cluster looks otherwise now.
func (c *Client) blame(ctx context.Context, p *peer) {
	if ctx.Err() == nil && c.ctx.Err() == nil {
		p.failed()
		c.learnSoon()
	}
}

// betterThan reports whether others than p have a say in whether partition part can be
// reached: p is none of its replicas, at least by a ring newer than v's, and may be the
// one that is cut off.
func (v *view) betterThan(p *peer, part ring.Partition, epoch uint64, tried []*peer) bool {
	if epoch > uint64(v.ring.Epoch) {
		return true
	}
	left := false
	for _, x := range v.ring.Assignments[part].Replicas {
		q := v.peers[x.Node]
		if q == p {
			return false
		}
		left = left || q != nil && !x.CatchingUp && q.usable() && !slices.Contains(tried, q)
	}
	return left
}

// again reports whether a request that was answered with code may be tried once more.
func (c *Client) again(code wire.Code, safe bool) bool {
	switch code {
	case wire.Overload:
		return !c.cfg.NoBackoff
	case wire.Moved, wire.Stale, wire.Behind, wire.NotReadable, wire.OwnerUp, wire.WrongNode, wire.ShuttingDown:
		return true // it did not run
	case wire.Maybe, wire.Deadline:
		return safe
	}
	return false
}

// backoff waits before the next round; false if the time is over.
func (c *Client) backoff(ctx context.Context, to *route, deadline time.Time) bool {
	d := min(backoffFirst<<min(to.rounds, 10), backoffMost)
	d = d/2 + rand.N(d)
	to.rounds++
	to.tried = to.tried[:0]
	if time.Until(deadline) <= d || c.ctx.Err() != nil {
		return false
	}
	return pause(ctx, d)
}

// give is the error with which do gives up.
func (c *Client) give(ctx context.Context, r *request, to *route) error {
	if limit, ok := ctx.Deadline(); ok && !time.Now().Before(limit) {
		<-ctx.Done() // due now: the caller shall find its context ended, not be a moment early
	}
	why := to.last
	if to.ran != nil {
		why = to.ran
	}
	switch {
	case c.ctx.Err() != nil && to.ran == nil:
		return ErrClosed
	case to.ran != nil && r.op == wire.OpCommand:
		if e, ok := asError(why); ok && e.Code == wire.Maybe {
			return why
		}
		if errors.Is(why, errLate) {
			why = fmt.Errorf("%w: %w", ErrDeadline, why)
		}
		return fmt.Errorf("%w: the command may have run: %w", ErrMaybe, why)
	case ctx.Err() != nil && errors.Is(why, errUnsent): // nobody could be reached in the time that there was
		return fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(ctx.Err(), why))
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ErrDeadline, errors.Join(ctx.Err(), why))
	case errors.Is(why, errLate):
		return fmt.Errorf("%w: %w", ErrDeadline, why)
	}
	if _, ok := asError(why); ok {
		return why
	}
	if why == nil {
		why = errors.New("no member can be asked")
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, why)
}

// pick is the node to ask next for partition p: those that hold it and may be
// read, in slot order, those that are about to stop last of them, then any other;
// those that failed lately after all these; nil if all have been tried.
func (v *view) pick(p ring.Partition, tried []*peer) *peer {
	replicas := v.ring.Assignments[p].Replicas
	var stopping *peer
	for _, x := range replicas {
		if q := v.peers[x.Node]; q != nil && !x.CatchingUp && !slices.Contains(tried, q) && q.usable() {
			if !v.draining[q] {
				return q
			}
			if stopping == nil {
				stopping = q
			}
		}
	}
	if stopping != nil {
		return stopping
	}
	var shunned *peer
	for i := range v.order {
		q := v.order[(int(p)+i)%len(v.order)] // other partitions begin elsewhere
		if slices.Contains(tried, q) {
			continue
		}
		if q.usable() {
			return q
		}
		if shunned == nil {
			shunned = q
		}
	}
	return shunned
}
