package dataplane

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Waiting before another try: the first wait, doubled by each try up to the
// longest, and a random part of it. Seals and commits last milliseconds.
const (
	firstWait   = 2 * time.Millisecond
	longestWait = 100 * time.Millisecond
)

// patience is longer than it takes to notice that a node is back.
const patience = 600 * time.Millisecond

// operation is one command or query on its way to being answered.
//
//	plan ─this node coordinates→ write or read ─→ settle
//	  │  └another node does→ forward ─next candidate→ … ─→ settle
//	  └──←─ again: fetch the ring, wait a little ←── any of them
//
// One attempt drives it at a time: whoever concludes an attempt (a write or read
// that closes, a reply to what was forwarded) is the only one to touch it, so it
// needs no lock.
type operation struct {
	r        *Router
	op       wire.Op // OpCommand or OpQuery
	flags    wire.Flags
	blind    bool // a command that may run twice under its id
	service  uint32
	info     wire.ServiceInfo
	call     wire.Call
	deadline time.Time
	done     func(code wire.Code, epoch uint64, body []byte)
	part     ring.Partition
	waited   bool     // as in Request
	origin   *Request // nil if the caller is in this process
	began    time.Time
	from     ring.NodeID // who passed it on, and that node's ring epoch; empty if a client did
	epoch    ring.Epoch
	span     wire.Span // nil unless it is traced

	// The present round: one ring, each of its nodes tried at most once.
	ring     *ring.Ring
	slots    []ring.Replica
	tried    uint8     // bit i: the node in slot i
	stoodIn  bool      // the fallback was asked
	lastCode wire.Code // why the last try came to nothing, for the caller
	lastText []byte
	encoded  []byte

	// Over all rounds.
	ran        bool   // some try may have run
	insist     bool   // a fallback reaches the owner: ask it although it seems down
	superseded int    // times that a replica had a newer stamp
	above      uint64 // the newest of their times
	tries      int
	left       bool        // this node's slot, which waits for hints, has left the command to the others
	late       atomic.Bool // since the last round began some node that is up used up its time
	patience   time.Time   // until then nobody being reachable is not the last word; zero before it first happens
	news       ring.Epoch  // the newest epoch heard of, and from whom
	newsFrom   ring.NodeID
}

// settle answers the caller. It is the operation's last act.
func (o *operation) settle(code wire.Code, body []byte) {
	o.r.load.give(&o.call)
	if o.from == "" && o.info.N > 0 { // from outside, and of a service of this node
		o.r.meter.note(o.service, o.info.Name, o.op, code, time.Since(o.began))
	}
	if o.span != nil {
		o.span.End(code)
	}
	o.done(code, uint64(o.r.rings.Ring().Epoch), body)
}

// noHop reports whether another router waits for this node's own answer.
func (o *operation) noHop() bool { return o.flags&wire.FlagNoHop != 0 }

// repeatable reports whether the operation may run twice.
func (o *operation) repeatable() bool { return o.blind || o.op == wire.OpQuery }

// plan begins a round with the newest ring.
func (o *operation) plan() {
	if !time.Now().Before(o.deadline) {
		o.expire()
		return
	}
	if o.Forsaken() {
		o.forsake()
		return
	}
	o.ring = o.r.rings.Ring()
	o.slots = o.ring.Replicas(o.part, o.info.N)
	o.tried, o.stoodIn = 0, false
	o.late.Store(false)
	if o.flags&wire.FlagFallback != 0 {
		o.standInAsked()
		return
	}
	me := placeOf(o.slots, o.r.self)
	switch {
	case me >= 0 && !o.slots[me].CatchingUp && !o.handsOver():
		o.tried = 1 << me
		o.coordinate(me)
	case o.noHop():
		o.decline(me)
	default:
		o.forward()
	}
}

// handsOver reports whether this node, which is about to stop, leaves the operation to
// another one. It does so once: if nobody has taken it, it coordinates after all.
func (o *operation) handsOver() bool {
	if o.tries > 0 || o.noHop() || !o.r.drain(o.r.self) {
		return false
	}
	i := o.candidate()
	return i >= 0 && !o.r.drain(o.slots[i].Node)
}

// Forsaken reports whether a blind command must not be tried, or tried once more: its
// caller is gone, will hear next that this node stops, or may have given it up while this
// process stood still. He asks another node then, and others may have written since: a try
// from here would replace that by a newer stamp. Any goroutine may ask.
func (o *operation) Forsaken() bool {
	return o.blind && (o.r.last.Load() || o.origin != nil && (o.origin.gone() || o.r.pauses.since(o.began)))
}

// forsake ends an operation that is forsaken.
func (o *operation) forsake() {
	switch {
	case o.r.last.Load():
		o.giveUp()
	case o.ran:
		o.settle(wire.Maybe, message("this node stood still, or its caller was gone: it was not tried again"))
	default:
		o.settle(wire.Deadline, message("this node stood still, or its caller was gone: it was not run"))
	}
}

// coordinate runs the operation with this node, in slot me, as its coordinator.
func (o *operation) coordinate(me int) {
	if o.op == wire.OpQuery {
		o.read(me)
		return
	}
	o.write(me)
}

// decline answers a router that took this node for a coordinator, after a look at
// the ring that it knows.
func (o *operation) decline(me int) {
	switch {
	case o.epoch > o.ring.Epoch && o.tries == 0:
		o.hear(o.epoch, o.from)
		o.again()
	case o.epoch > o.ring.Epoch:
		o.settle(wire.Behind, message("this node could not fetch the ring of epoch %d", o.epoch))
	case me >= 0:
		o.settle(wire.NotReadable, message("the slot is catching up"))
	default:
		o.settle(wire.Moved, message("this node has no slot of partition %d", o.part))
	}
}

// forward passes the operation to the next node that can coordinate it.
func (o *operation) forward() {
	if o.Forsaken() {
		o.forsake()
		return
	}
	i := o.candidate()
	if i < 0 {
		if o.left {
			o.left = false
			o.again() // the others cannot either, perhaps because they do not know yet that this node is back
			return
		}
		if o.late.Load() {
			o.again() // who is there and silent waits for the outcome of a transfer, or for a leader: that ends
			return
		}
		// An owner without room, on its disk or in its queue, is there: nobody may stand in
		// for it, and whoever asks again at once makes it worse. And who has heard from
		// each coordinator that too few replicas can be reached has waited for them.
		if o.full() || o.lastCode == wire.QuorumNotMet || o.vain() || !o.askFallback() && (o.hopeless() || !o.bePatient()) {
			o.expire()
		}
		return
	}
	o.tried |= 1 << i
	if o.encoded == nil {
		o.encoded = wire.AppendCall(nil, &o.call)
	}
	if o.op == wire.OpQuery && len(o.slots) > 1 {
		o.relay(i)
		return
	}
	o.send(o.slots[i].Node, 0, o.encoded, o.answered)
}

// full reports whether a replica that is there had no room for the operation.
func (o *operation) full() bool { return o.lastCode == wire.DiskFull || o.lastCode == wire.Overload }

// bePatient tries again for a while before the caller hears that nobody could be
// reached: a node that has just come, or come back, may not have been noticed yet.
func (o *operation) bePatient() bool {
	now := time.Now()
	if o.patience.IsZero() {
		o.patience = now.Add(min(patience, time.Until(o.deadline)/2))
	}
	if !now.Before(o.patience) {
		return false
	}
	o.again()
	return true
}

// candidate is a slot whose node is readable, up and not yet tried; -1 if there is
// none left. Equal slots take turns; those of nodes that are about to stop come last.
func (o *operation) candidate() int {
	last := -1
	k := len(o.slots)
	start := 0
	if k > 1 {
		start = int(o.r.turn.Add(1) % uint32(k))
	}
	for j := range k {
		i := (start + j) % k
		node := o.slots[i].Node
		if o.tried&(1<<i) == 0 && !o.slots[i].CatchingUp && node != o.r.self && (o.insist || o.r.up(node)) {
			if !o.r.drain(node) {
				return i
			}
			last = i
		}
	}
	return last
}

// send passes the operation to node, which may not pass it on. answered is told what
// comes of it.
func (o *operation) send(node ring.NodeID, flags wire.Flags, body []byte, answered func(ring.NodeID, wire.Code, uint64, []byte)) {
	flags |= wire.FlagNoHop
	if o.info.N == 1 && flags&wire.FlagFallback == 0 && o.r.held(node, o.service, o.part) {
		flags |= wire.FlagHeld
	}
	h := wire.Header{
		Kind: wire.KindRequest, Op: o.op, Service: o.service, Partition: uint16(o.part),
		Flags: flags, Gen: uint64(o.ring.Gen(o.part)), Epoch: uint64(o.ring.Epoch),
	}
	begun, until := time.Now(), o.tryDeadline()
	done := func(f wire.Frame, err error) {
		code, epoch, body := outcome(f, err)
		if code != wire.OK && o.repeatable() && time.Since(begun) >= until.Sub(begun)*3/4 && o.r.up(node) {
			o.late.Store(true)
		}
		answered(node, code, epoch, body)
	}
	done = o.traced(&h, node, done)
	o.r.peers.Send(node, h, body, until, done)
}

// tryDeadline leaves time for another node if there is one and the operation may run twice.
func (o *operation) tryDeadline() time.Time {
	if !o.repeatable() || len(o.slots) == 1 && o.info.N > 1 {
		return o.deadline
	}
	return time.Now().Add(time.Until(o.deadline) / 2)
}

// answered takes the answer of a coordinator, another node or this one.
func (o *operation) answered(node ring.NodeID, code wire.Code, epoch uint64, body []byte) {
	v := judge(code)
	if v != final && o.lastCode != wire.QuorumNotMet && !(code == wire.Unavailable && o.full()) { // of several reasons, the one that says what to do
		o.lastCode, o.lastText = code, body
	}
	switch {
	case v == anew:
		o.insist = o.insist || code == wire.OwnerUp
		o.hear(ring.Epoch(epoch), node)
		o.again()
	case code == wire.QuorumNotMet && node != o.r.self && o.repeatable() && !o.noHop():
		o.lastCode, o.lastText = code, body
		o.ran = true
		o.forward() // that coordinator may be the one that is cut off
	case v == final, v == unsure && !o.repeatable(), o.noHop():
		o.settle(code, body)
	default:
		o.ran = o.ran || v == unsure
		o.forward()
	}
}

// hear notes that node knows the ring of epoch.
func (o *operation) hear(epoch ring.Epoch, node ring.NodeID) {
	if epoch > o.news && node != o.r.self {
		o.news, o.newsFrom = epoch, node
	}
}

// expire tells the caller that no node answered: at the deadline, or before it
// when there is no node left to ask.
func (o *operation) expire() {
	text := o.lastText
	if len(text) == 0 {
		text = message("no replica of partition %d could be reached", o.part)
	}
	switch {
	case o.lastCode == wire.QuorumNotMet:
		o.settle(o.lastCode, text)
	case o.lastCode == wire.ClockAhead && o.ran:
		o.settle(wire.QuorumNotMet, append(text[:len(text):len(text)], "; the clocks of the nodes differ by over 500 ms: set them"...))
	case o.ran && o.op == wire.OpCommand:
		o.settle(wire.Maybe, text)
	case o.lastCode == wire.Deadline, o.full():
		o.settle(o.lastCode, text)
	case o.lastCode == wire.Maybe && !time.Now().Before(o.deadline): // a query
		o.settle(wire.Deadline, text)
	case o.lastCode == wire.OK && !time.Now().Before(o.deadline):
		o.settle(wire.Deadline, message("the deadline passed before a replica was asked"))
	default:
		o.settle(wire.Unavailable, text)
	}
}

// again begins another round, after it has fetched the ring that was heard of. A
// round with no newer ring than the last one waits a little.
func (o *operation) again() {
	last := o.ring.Epoch
	started := o.r.spawn(func() {
		o.r.catchUp(o.news, o.newsFrom, o.deadline)
		if o.r.rings.Ring().Epoch == last || o.tries > 2 {
			if !o.r.sleep(wait(o.tries), o.deadline) {
				o.giveUp()
				return
			}
		}
		o.tries++
		o.plan()
	})
	if !started {
		o.giveUp()
	}
}

// giveUp answers a caller whose router closes.
func (o *operation) giveUp() {
	if o.ran && o.op == wire.OpCommand {
		o.settle(wire.Maybe, message("the node shuts down"))
		return
	}
	o.settle(wire.ShuttingDown, message("the node shuts down"))
}

// wait is the pause after a number of tries, with jitter.
func wait(tries int) time.Duration {
	d := min(firstWait<<min(tries, 10), longestWait)
	return d/2 + rand.N(d)
}

// outcome is what an answer of Sender says.
func outcome(f wire.Frame, err error) (wire.Code, uint64, []byte) {
	if err == nil {
		return f.Code, f.Epoch, f.Body
	}
	e := asError(err)
	switch e.Code {
	case wire.Unavailable, wire.Overload, wire.TooLarge:
		return e.Code, e.Epoch, []byte(e.Message)
	}
	return wire.Maybe, e.Epoch, []byte(e.Message)
}

// placeOf is node's place among slots, -1 if it has none.
func placeOf(slots []ring.Replica, node ring.NodeID) int {
	for i := range slots {
		if slots[i].Node == node {
			return i
		}
	}
	return -1
}
