package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Bounds of a batch.
const (
	batchInFlight   = 256      // keys under way at once: enough to keep every node busy, and few enough to leave room for others
	batchBytes      = 4 << 20  // of what they send: no further key while there are more
	batchKeepBody   = 64 << 10 // a longer buffer is not kept
	batchTimeout    = time.Minute
	batchFirstItems = 16
)

// batch is many requests of one caller, none of which has a goroutine of its own while all
// goes well: the caller's sends first tries, until enough are under way, in one write for
// each node, and takes the answers as they come. What cannot be sent at once, or is not
// settled by its first try, goes the way of a single request from there on, by the same rules
// and on a goroutine; the bound of those under way holds for these too.
//
// Everything belongs to the caller's goroutine, but for an item that another one carries.
type batch struct {
	client  *Client
	ctx     context.Context
	timeout time.Duration // of each request, from when it is sent

	// ask makes request it.i: what is missing in it.request. An error is the request's end.
	ask func(it *item) error
	// end takes what has become of it. reply is the caller's.
	end func(it *item, reply []byte, err error)

	items   []*item // all that there are, at most batchInFlight
	idle    []*item // of these
	links   []*link // that have something to write
	scratch []byte
	answers chan answer // of first tries, with room for all
	carried chan *item  // that goroutines have carried to their end, likewise
	workers sync.WaitGroup
	bytes   int // under way

	timer *time.Timer // tells that an item may be late, if it is armed
	armed bool
}

// item is a request of a batch.
type item struct {
	i       int // its number
	request request
	body    []byte // memory for request.call.Body, used again and again
	size    int    // of what it sends

	// The first try; link is nil when it has been answered.
	route route
	try   try
	left  time.Duration
	hedge bool // another node is to be asked if this one is slow
	link  *link
	id    uint64
	call  call

	reply []byte // theirs who carry it, until it is in carried
	err   error
}

func newBatch() *batch {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &batch{timer: t, answers: make(chan answer, batchInFlight), carried: make(chan *item, batchInFlight)}
}

// batch runs n requests and returns when all have ended. The whole takes as long as ctx
// allows, a minute if it has no deadline; ask and end are called one at a time, for the
// requests in their order and as they end.
func (c *Client) batch(ctx context.Context, n int, timeout time.Duration, ask func(*item) error, end func(*item, []byte, error)) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, batchTimeout)
		defer cancel()
	}
	b := c.batches.Get().(*batch)
	b.client, b.ctx, b.timeout, b.ask, b.end = c, ctx, timeout, ask, end
	b.run(n)
	b.workers.Wait()
	b.timer.Stop()
	b.armed = false
	b.client, b.ctx, b.ask, b.end = nil, nil, nil, nil
	c.batches.Put(b)
}

func (b *batch) run(n int) {
	over := b.ctx.Done()
	for next := 0; next < n || len(b.idle) < len(b.items); {
		for next < n && b.room() {
			if b.ctx.Err() != nil || b.client.ctx.Err() != nil {
				b.skip(next, n)
				next = n
				break
			}
			b.begin(next)
			next++
		}
		b.flush()
		if len(b.idle) == len(b.items) {
			continue // none has been sent
		}
		select {
		case a := <-b.answers:
			b.take(&a)
		case it := <-b.carried:
			b.finish(it, it.reply, it.err)
		case <-b.timer.C:
			b.look()
		case <-over:
			over = nil
			b.forsake()
		}
		b.drain()
	}
}

// drain takes what is there already.
func (b *batch) drain() {
	for {
		select {
		case a := <-b.answers:
			b.take(&a)
		case it := <-b.carried:
			b.finish(it, it.reply, it.err)
		default:
			return
		}
	}
}

// room reports whether another request may be begun.
func (b *batch) room() bool {
	if len(b.idle) == 0 && len(b.items) < batchInFlight {
		more := make([]item, min(max(len(b.items), batchFirstItems), batchInFlight-len(b.items)))
		for i := range more {
			b.items, b.idle = append(b.items, &more[i]), append(b.idle, &more[i])
		}
	}
	return len(b.idle) == len(b.items) || len(b.idle) > 0 && b.bytes < batchBytes
}

// begin sends request i, or has it carried.
func (b *batch) begin(i int) {
	it := b.idle[len(b.idle)-1]
	b.idle = b.idle[:len(b.idle)-1]
	it.i, it.size = i, 0
	it.route = route{}
	it.route.tried = it.route.space[:0]
	if err := b.ask(it); err != nil {
		b.finish(it, nil, err)
		return
	}
	it.request.deadline = deadline(b.ctx, b.timeout, b.client.cfg.Timeout)
	it.size = len(it.request.call.Key) + len(it.request.call.Body)
	b.bytes += it.size
	if !b.send(it) {
		b.carry(it, nil)
	}
}

// send makes the first try if that is possible without waiting; flush must follow.
func (b *batch) send(it *item) bool {
	c, r := b.client, &it.request
	v := c.view.Load()
	partition := ring.Locate(ring.HashKey(r.call.Bucket, r.call.Key), v.ring.Q())
	p := v.pick(partition, nil)
	if p == nil {
		return false
	}
	l := p.link.Load()
	if l == nil {
		return false
	}
	select {
	case l.slots <- struct{}{}:
	default:
		return false
	}
	it.try = try{v, partition, p, time.Now(), time.Until(r.deadline) / 3}
	it.left = r.patience()
	it.hedge = r.op == wire.OpQuery && it.left > hedgeAfter
	h := c.header(b.ctx, v, l, partition, r, it.left)
	b.scratch = wire.AppendCall(b.scratch[:0], &r.call)
	it.call = call{done: b.answers, item: it, body: b.scratch}
	id, err := l.send(&h, &it.call)
	it.call.body = nil
	if err != nil {
		<-l.slots
		return false
	}
	it.route.tried = append(it.route.tried, p)
	it.link, it.id = l, id
	b.wrote(l)
	if !b.armed {
		b.armed = true
		b.timer.Reset(min(it.left, hedgeAfter))
	}
	return true
}

// wrote notes that there is something to write to l.
func (b *batch) wrote(l *link) {
	for _, x := range b.links {
		if x == l {
			return
		}
	}
	b.links = append(b.links, l)
}

// flush writes what was sent.
func (b *batch) flush() {
	for i, l := range b.links {
		l.flush()
		b.links[i] = nil
	}
	b.links = b.links[:0]
	if cap(b.scratch) > batchKeepBody {
		b.scratch = nil
	}
}

// take takes the answer to a first try.
func (b *batch) take(a *answer) {
	it := a.item
	<-it.link.slots
	it.link = nil
	b.client.note(b.ctx, it.try.peer, a, it.left)
	if a.err == nil && a.frame.Code == wire.OK {
		b.finish(it, a.frame.Body, nil)
		return
	}
	b.carry(it, a)
}

// carry has a goroutine bring it to its end, after the answer a if its first try got one.
func (b *batch) carry(it *item, a *answer) {
	var first answer
	if a != nil {
		first = *a
	}
	c, ctx, tried := b.client, b.ctx, a != nil
	b.workers.Go(func() {
		r, to, f := &it.request, &it.route, &first.frame
		done, err := false, error(nil)
		if tried {
			done, err = c.judge(ctx, r, to, &it.try, f, first.err)
		}
		if it.reply, it.err = f.Body, err; !done {
			it.reply, it.err = c.carry(ctx, r, to)
		}
		b.carried <- it
	})
}

// finish ends it, and makes room for another one.
func (b *batch) finish(it *item, reply []byte, err error) {
	b.end(it, reply, err)
	b.bytes -= it.size
	it.request, it.try, it.reply, it.err = request{}, try{}, nil, nil
	if it.body = it.body[:0]; cap(it.body) > batchKeepBody {
		it.body = nil
	}
	b.idle = append(b.idle, it)
}

// look is called when an item may be late: one has waited for long enough that another node
// is asked too, or that this one is given up.
func (b *batch) look() {
	b.armed = false
	var due time.Time
	now := time.Now()
	for _, it := range b.items {
		if it.link == nil {
			continue
		}
		at := it.try.begun.Add(it.left)
		if !now.Before(at) {
			b.giveUp(it, errLate)
			continue
		}
		if slow := it.try.begun.Add(hedgeAfter); it.hedge && now.Before(slow) {
			at = slow
		} else if it.hedge {
			it.hedge = false
			more := &hedge{it.try.view, it.try.partition, &it.request, &it.route}
			more.begin(b.ctx, it.link, it.id)
		}
		if due.IsZero() || at.Before(due) {
			due = at
		}
	}
	if !due.IsZero() {
		b.armed = true
		b.timer.Reset(time.Until(due))
	}
}

// giveUp ends the first try of it, unless its answer is on the way to us just now.
func (b *batch) giveUp(it *item, why error) {
	if it.link.forget(it.id) {
		b.take(&answer{item: it, err: why})
	}
}

// forsake gives up all first tries: ctx has ended.
func (b *batch) forsake() {
	for _, it := range b.items {
		if it.link != nil {
			b.giveUp(it, fmt.Errorf("%w: %w", errLate, b.ctx.Err()))
		}
	}
}

// skip ends requests that were not begun, and will not be.
func (b *batch) skip(from, to int) {
	r := request{op: wire.OpQuery}
	err := b.client.give(b.ctx, &r, &route{last: errUnsent})
	for i := from; i < to; i++ {
		b.end(&item{i: i}, nil, err)
	}
}
