package vnodes

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

const (
	inboxSize = 1024 // requests queued for one vnode; more are answered OVERLOAD
	inboxRoom = 64   // beside them: changes of the gate and the like must not wait for requests
	heldMax   = 4096 // requests held while a switch lasts; more are answered OVERLOAD
)

// vnodeID names a vnode on this node. for is empty for a slot's own vnode; else
// it is the node whose slot a fallback stands in for.
type vnodeID struct {
	service   uint32
	partition ring.Partition
	fallback  ring.NodeID
}

// vnode is one running vnode: a worker goroutine, owned by the Manager, that runs
// commands, appends to the store and swaps the gate. What is prompt runs on the
// goroutine that brings it, when it is its turn; see prompt.go. "Worker only" means:
// whoever has the turn.
type vnode struct {
	id     vnodeID
	svc    *service
	m      *Manager
	name   string // of the store's file
	store  Store
	done   chan struct{} // closed when the worker has ended
	gate   atomic.Pointer[gate]
	user   atomic.Pointer[Vnode] // swapped by the worker after a panic
	begun  atomic.Bool           // the user's vnode has been told that it is open
	doubts atomic.Uint32         // how often the slot has come into doubt
	heeded atomic.Uint32         // how often it had when the gate was made
	stale  atomic.Bool           // a command's writes did not become durable: the user's vnode may think otherwise

	turn  sync.Mutex // held to run one message
	ended bool       // the worker has ended; under turn

	inboxMu sync.RWMutex // held to send, so that nobody sends after the inbox is closed
	stopped bool
	inbox   chan message
	queued  atomic.Int32  // messages that were sent and are not run yet
	turns   atomic.Uint32 // messages that somebody has begun with
	stuck   atomic.Bool   // it has been with one message for long while others wait
	still   stillness     // the watch's, see watchWorkers
	meter   meter

	moments []*moment // worker only: the folds that are to see the records as they were

	scratch []byte // worker only, like the next three: of the record that is looked at
	held    []*wire.Request
	expiry  *time.Timer // wakes the worker at the first deadline among held
	expires time.Time   // when expiry is set to; zero for not at all

	tailMu sync.Mutex         // held for one map operation
	tails  map[*tail]struct{} // the transfers that follow this vnode
}

// message is a request, or something to do in the worker between requests.
type message struct {
	req *wire.Request
	do  func(*vnode)
}

func newVnode(m *Manager, svc *service, id vnodeID, name string, st Store, g gate) *vnode {
	v := &vnode{
		id: id, svc: svc, m: m, name: name, store: st,
		inbox: make(chan message, inboxSize+inboxRoom), done: make(chan struct{}), tails: make(map[*tail]struct{}),
	}
	v.gate.Store(&g)
	v.user.Store(new(Vnode(unmade{})))
	m.workers.Go(v.run)
	return v
}

// opened reports whether a read needs to wait for nothing: no file, no hook.
func (v *vnode) opened() bool {
	s, ok := v.store.(*slotStore)
	return v.begun.Load() && (!ok || s.opened())
}

// check reports whether the vnode's records can be read.
func (v *vnode) check() error {
	if s, ok := v.store.(*slotStore); ok {
		return s.Check()
	}
	return nil
}

// renew gives the vnode a new value of the user's type and tells it that it is
// open. Worker only.
func (v *vnode) renew() {
	_, err := v.call(func() ([]byte, error) {
		user := v.svc.New(v.id.partition)
		if user == nil {
			return nil, errors.New("the service's New made no vnode")
		}
		v.user.Store(&user)
		if o, ok := user.(Opener); ok {
			return nil, o.Opened(v.m.ctx)
		}
		return nil, nil
	})
	v.begun.Store(true)
	if err == nil {
		return
	}
	reason := fmt.Sprintf("partition %d of service %s did not open: %v", v.id.partition, v.svc.Name, err)
	v.m.log.Error("vnode did not open", "service", v.svc.Name, "partition", v.id.partition, "err", err)
	if v.id.fallback == "" {
		v.m.mu.Lock()
		v.m.lostSeats[v.id] = reason
		v.m.mu.Unlock()
	}
	v.setGate(gate{phase: lost, gen: v.gate.Load().gen, reason: reason})
}

// unmade stands in for a user's vnode that could not be made.
type unmade struct{}

var errUnmade = errors.New("the service made no vnode")

func (unmade) Command(*Tx, []byte) ([]byte, error)       { return nil, errUnmade }
func (unmade) Query(*Tx, []byte) ([]byte, error)         { return nil, errUnmade }
func (unmade) Cover(*Tx, []byte, func(Item) error) error { return errUnmade }

// run is the worker. It ends when the inbox is closed, after everything in it.
func (v *vnode) run() {
	defer close(v.done)
	v.renew()
	for msg := range v.inbox {
		v.turn.Lock()
		v.begin()
		if msg.do != nil {
			msg.do(v)
		} else {
			v.handle(msg.req)
		}
		v.queued.Add(-1)
		v.turn.Unlock()
	}
	v.turn.Lock()
	v.ended = true
	v.answerHeld()
	v.turn.Unlock()
	if c, ok := (*v.user.Load()).(Closer); ok {
		v.hook("Close", c.Close)
	}
}

// begin notes that one more message is being run. Worker only.
func (v *vnode) begin() {
	if v.turns.Add(1); v.stuck.Load() {
		v.stuck.Store(false)
	}
}

// call runs a user's function; a panic becomes an error and is logged.
func (v *vnode) call(fn func() ([]byte, error)) (reply []byte, err error) {
	return v.m.guard(v.svc, v.id.partition, fn)
}

// hook calls one of the user's hooks that have nothing to decide.
func (v *vnode) hook(name string, fn func() error) {
	if _, err := v.call(func() ([]byte, error) { return nil, fn() }); err != nil {
		v.m.log.Warn("vnode's hook failed", "kind", name, "service", v.svc.Name, "partition", v.id.partition, "err", err)
	}
}

// guard runs a user's function; a panic becomes an error and is logged.
func (m *Manager) guard(svc *service, p ring.Partition, fn func() ([]byte, error)) (reply []byte, err error) {
	defer func() {
		if why := recover(); why != nil {
			reply, err = nil, m.panicked(svc, p, why)
		}
	}()
	return fn()
}

// panicked logs what a user's function has panicked with, and makes an error of it.
func (m *Manager) panicked(svc *service, p ring.Partition, why any) error {
	m.log.Error("vnode panicked", "service", svc.Name, "partition", p, "err", why, "stack", string(debug.Stack()))
	return fmt.Errorf("%w: %v", errPanicked, why)
}

var errPanicked = errors.New("the vnode panicked")

// send puts msg in the inbox, and waits for room in it; false if the vnode has stopped.
func (v *vnode) send(msg message) bool {
	v.inboxMu.RLock()
	defer v.inboxMu.RUnlock()
	if v.stopped {
		return false
	}
	v.queued.Add(1)
	v.inbox <- msg // the worker empties it until it is closed, which waits for this lock
	return true
}

// enqueue hands a request to the worker, or refuses it at once.
func (v *vnode) enqueue(r *wire.Request) {
	switch code, reason := v.offer(r); {
	case code == wire.OK:
	case code == wire.Moved && v.m.ctx.Err() != nil:
		v.m.fail(r, wire.ShuttingDown, "the node is stopping")
	default:
		v.m.fail(r, code, reason)
	}
}

// offer puts a request in the inbox, or says at once why not. It waits for nobody:
// not for room, and not for one who waits to stop a worker that does not end.
func (v *vnode) offer(r *wire.Request) (wire.Code, string) {
	if !v.inboxMu.TryRLock() {
		return wire.Moved, "the vnode stops here"
	}
	defer v.inboxMu.RUnlock()
	switch {
	case v.stopped:
		return wire.Moved, "the vnode has stopped here"
	case v.stuck.Load():
		return wire.Overload, "the vnode has been busy with one request for too long"
	case len(v.inbox) < inboxSize:
		v.queued.Add(1)
		select {
		case v.inbox <- message{req: r}:
			return wire.OK, ""
		default:
			v.queued.Add(-1)
		}
	}
	return wire.Overload, "the vnode's queue is full"
}

// do runs fn in the worker and waits for it; false if the vnode has stopped.
func (v *vnode) do(fn func(*vnode)) bool {
	ran := make(chan struct{})
	if !v.send(message{do: func(v *vnode) { fn(v); close(ran) }}) {
		return false
	}
	<-ran
	return true
}

// post is do without waiting for fn.
func (v *vnode) post(fn func(*vnode)) bool { return v.send(message{do: fn}) }

// idle waits until the worker has come to an end of what is queued now, unless it is
// overloaded or ctx ends.
func (v *vnode) idle(ctx context.Context) error { return v.await(ctx, func(*vnode) {}) }

// await is idle, and has the worker run fn then.
func (v *vnode) await(ctx context.Context, fn func(*vnode)) error {
	if v.stuck.Load() || len(v.inbox) >= inboxSize {
		return wire.Errorf(wire.Overload, "the vnode's queue is full")
	}
	ran := make(chan struct{})
	if !v.post(func(v *vnode) { fn(v); close(ran) }) {
		return &wire.Error{Code: wire.Moved, Epoch: v.m.epoch()}
	}
	select {
	case <-ran:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

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

// change swaps the phase if it is from, and reports whether it is to now. Worker only.
func (v *vnode) change(from, to phase) bool {
	g := *v.gate.Load()
	if g.phase == from {
		g.phase = to
		v.setGate(g)
	}
	return g.phase == to
}

// hold keeps r until the gate changes or r's deadline passes. Worker only.
func (v *vnode) hold(r *wire.Request) {
	if len(v.held) >= heldMax {
		v.m.fail(r, wire.Overload, "too many requests wait for the partition to move")
		return
	}
	v.held = append(v.held, r)
	v.wakeAt(r.Deadline)
}

// wakeAt has the worker look at what it holds at t, if that is not zero. Worker only.
func (v *vnode) wakeAt(t time.Time) {
	if t.IsZero() || !v.expires.IsZero() && !t.Before(v.expires) {
		return
	}
	v.expires = t
	wait := max(time.Until(t), time.Millisecond)
	if v.expiry == nil {
		v.expiry = time.AfterFunc(wait, func() { v.post((*vnode).expire) })
		return
	}
	v.expiry.Reset(wait)
}

// expire answers the held requests whose deadline has passed. Worker only.
func (v *vnode) expire() {
	held := v.held
	v.held, v.expires = nil, time.Time{}
	for _, r := range held {
		if v.late(r) {
			v.m.fail(r, wire.Deadline, "the partition was about to move, and the deadline passed")
			continue
		}
		v.held = append(v.held, r)
		v.wakeAt(r.Deadline)
	}
}

// late reports whether r's deadline has passed: by this machine's time, which the
// wall clock, right or wrong, has nothing to do with.
func (v *vnode) late(r *wire.Request) bool {
	return !r.Deadline.IsZero() && !time.Now().Before(r.Deadline)
}

// answerHeld refuses what is held: the worker ends.
func (v *vnode) answerHeld() {
	if v.expiry != nil {
		v.expiry.Stop()
	}
	for _, r := range v.held {
		v.m.fail(r, wire.ShuttingDown, "the node is stopping")
	}
	v.held = nil
}
