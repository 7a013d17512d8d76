package vnodes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

const (
	inboxSize = 1024 // requests queued for one vnode; more are answered OVERLOAD
	heldMax   = 4096 // requests held while a switch lasts; more are answered OVERLOAD
)

// vnodeID names a vnode on this node. for is empty for a slot's own vnode; else
// it is the node whose slot a fallback stands in for.
type vnodeID struct {
	service   uint32
	partition ring.Partition
	fallback  ring.NodeID
}

// vnode is one running vnode: a worker goroutine, owned by the Manager, that
// alone runs commands, appends to the store and swaps the gate.
type vnode struct {
	id    vnodeID
	svc   *service
	m     *Manager
	name  string // of the store's file
	store Store
	done  chan struct{} // closed when the worker has ended
	gate  atomic.Pointer[gate]
	user  atomic.Pointer[Vnode] // swapped by the worker after a panic

	inboxMu sync.RWMutex // held to send, so that nobody sends after the inbox is closed
	stopped bool
	inbox   chan message

	held []*wire.Request // worker only

	tailMu sync.Mutex         // held for one map operation
	tails  map[*tail]struct{} // the transfers that follow this vnode
}

// message is a request, or something to do in the worker between requests.
type message struct {
	req *wire.Request
	do  func(*vnode)
}

// tail notes the keys that change while a transfer runs. It holds each key once,
// so it is never larger than the vnode's keys.
type tail struct {
	mu   sync.Mutex
	keys map[string]struct{}
}

func (t *tail) note(writes []Write) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range writes {
		t.keys[string(writes[i].Key)] = struct{}{}
	}
}

// take empties the tail and returns what was in it.
func (t *tail) take() map[string]struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := t.keys
	t.keys = make(map[string]struct{})
	return keys
}

func newVnode(m *Manager, svc *service, id vnodeID, name string, st Store, g gate) *vnode {
	v := &vnode{
		id: id, svc: svc, m: m, name: name, store: st,
		inbox: make(chan message, inboxSize), done: make(chan struct{}), tails: make(map[*tail]struct{}),
	}
	v.gate.Store(&g)
	v.renew()
	m.workers.Go(v.run)
	return v
}

// opened reports whether a read needs no file to be opened first.
func (v *vnode) opened() bool {
	s, ok := v.store.(*slotStore)
	return !ok || s.opened()
}

// check reports whether the vnode's records can be read.
func (v *vnode) check() error {
	if s, ok := v.store.(*slotStore); ok {
		return s.Check()
	}
	return nil
}

// renew gives the vnode a new value of the user's type.
func (v *vnode) renew() {
	user := v.svc.New(v.id.partition)
	v.user.Store(&user)
}

// run is the worker. It ends when the inbox is closed, after everything in it.
func (v *vnode) run() {
	defer close(v.done)
	if o, ok := (*v.user.Load()).(Opener); ok {
		if err := o.Opened(context.Background()); err != nil {
			v.m.log.Warn("vnode did not open", "service", v.svc.Name, "partition", v.id.partition, "err", err)
			v.setGate(gate{phase: lost, gen: v.gate.Load().gen, reason: "its Opened hook says: " + err.Error()})
		}
	}
	for msg := range v.inbox {
		if msg.do != nil {
			msg.do(v)
			continue
		}
		v.handle(msg.req)
	}
	v.answerHeld(wire.ShuttingDown)
	if c, ok := (*v.user.Load()).(Closer); ok {
		if err := c.Close(); err != nil {
			v.m.log.Warn("vnode did not close", "service", v.svc.Name, "partition", v.id.partition, "err", err)
		}
	}
}

// send puts msg in the inbox. If that is full it waits, or returns false at once.
// It also returns false when the vnode has stopped.
func (v *vnode) send(msg message, wait bool) bool {
	v.inboxMu.RLock()
	defer v.inboxMu.RUnlock()
	if v.stopped {
		return false
	}
	if wait {
		v.inbox <- msg // the worker empties it until it is closed, which waits for this lock
		return true
	}
	select {
	case v.inbox <- msg:
		return true
	default:
		return false
	}
}

// enqueue hands a request to the worker, or refuses it at once.
func (v *vnode) enqueue(r *wire.Request) {
	if v.send(message{req: r}, false) {
		return
	}
	v.inboxMu.RLock()
	stopped := v.stopped
	v.inboxMu.RUnlock()
	if stopped {
		v.m.fail(r, wire.Moved, "the vnode has stopped here")
		return
	}
	v.m.fail(r, wire.Overload, "the vnode's queue is full")
}

// do runs fn in the worker and waits for it; false if the vnode has stopped.
func (v *vnode) do(fn func(*vnode)) bool {
	ran := make(chan struct{})
	if !v.send(message{do: func(v *vnode) { fn(v); close(ran) }}, true) {
		return false
	}
	<-ran
	return true
}

// post is do without waiting for fn.
func (v *vnode) post(fn func(*vnode)) bool { return v.send(message{do: fn}, true) }

// stop ends the worker after what is queued, and waits for it. It may be called twice.
func (v *vnode) stop() {
	v.inboxMu.Lock()
	if !v.stopped {
		v.stopped = true
		close(v.inbox)
	}
	v.inboxMu.Unlock()
	<-v.done
}

// setGate swaps the gate and gives held requests another try. Worker only.
func (v *vnode) setGate(g gate) {
	v.gate.Store(&g)
	held := v.held
	v.held = nil
	for _, r := range held {
		v.handle(r)
	}
}

// handle runs one request. Worker only.
func (v *vnode) handle(r *wire.Request) {
	if !r.Deadline.IsZero() && v.m.now().After(r.Deadline) {
		v.m.fail(r, wire.Deadline, "the deadline passed before the work was done")
		return
	}
	g := v.gate.Load()
	switch verdict, code := g.check(r.Op, r.Gen); verdict {
	case hold:
		if len(v.held) >= heldMax {
			v.m.fail(r, wire.Overload, "too many requests wait for the partition to move")
			return
		}
		v.held = append(v.held, r)
	case behind:
		v.m.catchUp(r)
	case reject:
		v.m.fail(r, code, g.reason)
	default:
		switch r.Op {
		case wire.OpCommand:
			v.command(r)
		case wire.OpEffect:
			v.effect(r)
		default:
			reply, err := v.answer(&r.Call) // the gate cannot change meanwhile
			v.m.reply(r, reply, err)
		}
	}
}

// answerHeld refuses what is held. Worker only.
func (v *vnode) answerHeld(code wire.Code) {
	for _, r := range v.held {
		v.m.fail(r, code, "")
	}
	v.held = nil
}

// command runs one command, hands out its effect, and answers when it is durable here.
func (v *vnode) command(r *wire.Request) {
	reads := v.svc.reads(r.Call.Body)
	switch {
	case reads && v.id.fallback != "":
		v.m.fail(r, wire.Unavailable, "the owner is down, and this command reads what only the owner knows")
		return
	case reads && v.svc.merger == nil && v.svc.replicas(v.m.rings.Ring()) > 1:
		v.m.fail(r, wire.Refused, "this command reads what it replaces: that needs one replica or a service with its own Merge")
		return
	}
	tx := &Tx{
		partition: v.id.partition, bucket: r.Call.Bucket, key: r.Call.Key, store: v.store,
		partial: v.id.fallback != "",
		stamp:   func(have Stamp) (Stamp, error) { return v.m.stamp(have, r.Call.ID) },
	}
	reply, err := v.call(func() ([]byte, error) { return (*v.user.Load()).Command(tx, r.Call.Body) })
	if errors.Is(err, errPanicked) {
		v.renew() // its fields may be half changed; its records are as they were
	}
	if tx.err != nil {
		err = tx.err
	}
	if err != nil {
		v.m.failErr(r, err)
		return
	}
	if len(tx.writes) > 0 && r.OnEffect != nil {
		r.OnEffect(AppendWrites(nil, tx.writes))
	}
	v.append(tx.writes, func(err error) {
		if err != nil {
			v.m.failErr(r, fmt.Errorf("write to disk: %w", err))
			return
		}
		r.Done(wire.OK, v.m.epoch(), reply)
	})
}

// effect merges a coordinator's writes and answers when they are durable here.
func (v *vnode) effect(r *wire.Request) {
	writes, err := ParseWrites(r.Effect)
	if err != nil {
		v.m.fail(r, wire.BadRequest, err.Error())
		return
	}
	fresh := r.Flags&wire.FlagFresh != 0
	for i := range writes {
		if err := v.m.clock.Observe(writes[i].Record.Stamp.Time); err != nil && fresh {
			v.m.fail(r, wire.ClockAhead, err.Error())
			return
		}
	}
	v.merge(writes, fresh && v.svc.merger == nil, func(newer Stamp, err error) {
		switch {
		case err != nil:
			v.m.failErr(r, fmt.Errorf("write to disk: %w", err))
		case !newer.IsZero():
			r.Done(wire.Superseded, v.m.epoch(), newer.Append(nil))
		default:
			r.Done(wire.OK, v.m.epoch(), nil)
		}
	})
}

// merge merges writes into the store; done is told when the result is durable, or
// at once of a newer stamp that refuses a fresh write. Worker only.
func (v *vnode) merge(writes []Write, fresh bool, done func(newer Stamp, err error)) {
	changed := writes[:0:0]
	for _, w := range writes {
		have, ok, err := v.store.Latest(w.Key)
		if err != nil {
			done(Stamp{}, err)
			return
		}
		if ok {
			if fresh && have.Stamp.Compare(w.Record.Stamp) > 0 {
				done(have.Stamp, nil)
				return
			}
			merged := v.svc.merge(w.Key, have, w.Record)
			if sameRecord(&merged, &have) {
				continue
			}
			w.Record = merged
		}
		changed = append(changed, w)
	}
	// Also with nothing to write: what is there may not be durable yet.
	v.append(changed, func(err error) { done(Stamp{}, err) })
}

// append is the only way in which a vnode's state changes. Worker only.
func (v *vnode) append(writes []Write, done func(error)) {
	v.tailMu.Lock()
	for t := range v.tails {
		t.note(writes)
	}
	v.tailMu.Unlock()
	v.store.Append(writes, done)
}

// follow starts a tail: it notes every key that is appended from now on.
func (v *vnode) follow() *tail {
	t := &tail{keys: make(map[string]struct{})}
	v.tailMu.Lock()
	v.tails[t] = struct{}{}
	v.tailMu.Unlock()
	return t
}

func (v *vnode) unfollow(t *tail) {
	v.tailMu.Lock()
	delete(v.tails, t)
	v.tailMu.Unlock()
}

// query answers a read beside the worker. What it read counts only if the vnode
// still serves afterwards; else the worker decides.
func (v *vnode) query(r *wire.Request) {
	reply, err := v.answer(&r.Call)
	if g := v.gate.Load(); g.phase == gone || g.phase == proposed {
		v.enqueue(r)
		return
	}
	v.m.reply(r, reply, err)
}

func (v *vnode) answer(c *wire.Call) ([]byte, error) {
	q, ok := (*v.user.Load()).(Querier)
	if !ok {
		return nil, wire.Errorf(wire.BadRequest, "service %s answers no queries", v.svc.Name)
	}
	tx := &Tx{partition: v.id.partition, bucket: c.Bucket, key: c.Key, store: v.store, partial: v.id.fallback != ""}
	reply, err := v.call(func() ([]byte, error) { return q.Query(tx, c.Body) })
	if tx.err != nil {
		return nil, tx.err
	}
	return reply, err
}

// call runs a user's function; a panic becomes an error and is logged.
func (v *vnode) call(fn func() ([]byte, error)) (reply []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			v.m.log.Error("vnode panicked", "service", v.svc.Name, "partition", v.id.partition, "err", p, "stack", string(debug.Stack()))
			reply, err = nil, fmt.Errorf("%w: %v", errPanicked, p)
		}
	}()
	return fn()
}

var errPanicked = errors.New("the vnode panicked")

func sameRecord(a, b *Record) bool {
	return a.Stamp == b.Stamp && a.Flags == b.Flags && bytes.Equal(a.Value, b.Value)
}

// asError gives err a code: its own if it has one.
func asError(err error) *wire.Error {
	if we, ok := errors.AsType[*wire.Error](err); ok {
		return we
	}
	switch {
	case errors.Is(err, ErrClosed):
		return wire.Errorf(wire.Moved, "the vnode has stopped here")
	case errors.Is(err, ErrCorrupt):
		return wire.Errorf(wire.Corrupt, "%v", err)
	case errors.Is(err, ErrClockAhead):
		return wire.Errorf(wire.ClockAhead, "%v", err)
	case errors.Is(err, context.DeadlineExceeded):
		return wire.Errorf(wire.Deadline, "%v", err)
	}
	return wire.Errorf(wire.Internal, "%v", err)
}
