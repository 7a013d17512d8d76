package dataplane

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

const (
	maxSuperseded   = 20 // times that a blind command runs again because a replica holds something newer
	hastySuperseded = 3  // of these, without a pause
	maxRedirects    = 4  // times that one slot's effect is sent again because the slot moved

	// countFor is how long a caller whose quorum cannot be met any more is kept waiting
	// for the answers under way, so that it is told how many replicas have the write.
	countFor = 20 * time.Millisecond
)

// slotState is how far a slot is with the effect of a write.
//
//	waiting → acked
//	   └────→ failed → hinting → hinted
//
// A slot whose node comes back while the caller waits is waiting once more.
type slotState uint8

const (
	waiting slotState = iota
	acked
	failed  // for good, without a hint
	hinting // a fallback is to keep the effect
	hinted
)

// write is one attempt at a command by its coordinator: this node's vnode runs it,
// the other slots merge its effect, fallbacks keep the effect for slots that miss it.
// It lives until every slot has settled, which may be after its caller was answered.
type write struct {
	o      *operation
	r      *Router
	ring   *ring.Ring
	k, me  int // slots, and this node's among them
	need   int // slots, or fallbacks too if sloppy
	needPW int // slots
	part   ring.Partition
	sloppy bool
	fresh  wire.Header // of an effect, but for its slot
	until  time.Time
	req    wire.Request // this node's own share; the vnode's until it has called Done

	mu         sync.Mutex // held for arithmetic only
	effect     []byte     // nil until the command has run; immutable then
	reply      []byte
	retract    func()                        // the vnode's, see wire.Request; may be nil
	nodes      [ring.MaxReplicas]ring.NodeID // of the slots; one that moves meanwhile changes
	state      [ring.MaxReplicas]slotState
	keeper     [ring.MaxReplicas]ring.NodeID // who keeps the slot's hint: distinct nodes, empty for nobody or this one
	redirects  [ring.MaxReplicas]uint8
	clockAhead bool                   // a replica's clock and this node's are too far apart
	full       []byte                 // what a replica without room says, on its disk or in its queue
	away       [ring.MaxReplicas]bool // slots whose nodes could not be reached, see comeback.go
	waits      bool                   // for these
	waited     bool
	counting   *time.Timer
	counted    bool // the answers that are still to come were waited for
	closed     bool // the operation was concluded or goes on without this attempt
	abandoned  bool // another attempt brings the effect everywhere: no hints for this one
}

// write coordinates a command from slot me.
func (o *operation) write(me int) {
	k := len(o.slots)
	w := &write{
		o: o, r: o.r, ring: o.ring, k: k, me: me, part: o.part, until: o.deadline,
		need: quorum(o.call.Quorum, k), needPW: primaryQuorum(o.call.Primary, k),
		sloppy: o.call.Flags&wire.CallSloppy != 0,
	}
	switch {
	case w.needPW > k:
		o.settle(wire.QuorumNotMet, tooMany("pw", w.needPW, k))
		return
	case w.need > k:
		o.settle(wire.QuorumNotMet, tooMany("w", w.need, k))
		return
	}
	for i := range k {
		w.nodes[i] = o.slots[i].Node
	}
	w.fresh = wire.Header{
		Kind: wire.KindRequest, Op: wire.OpEffect, Service: o.service, Partition: uint16(o.part),
		Flags: wire.FlagFresh, Gen: uint64(o.ring.Gen(o.part)), Epoch: uint64(o.ring.Epoch),
	}
	if o.call.Flags&wire.CallRestore != 0 {
		w.fresh.Flags = 0 // what a replica has that is newer is no reason to stamp them again: it merges
	}
	w.req = wire.Request{
		Op: wire.OpCommand, Service: o.service, Partition: uint16(o.part), Gen: w.fresh.Gen, Epoch: w.fresh.Epoch,
		Flags: o.flags & wire.FlagHeld, Call: o.call, Deadline: o.deadline, Caller: o, Above: o.above, Done: w.ranHere,
		Hasty: o.tries == 0 && k > 1 && o.candidate() >= 0, // in a second round nobody else was ready either
	}
	if k > 1 {
		w.req.OnEffect = w.spread
	}
	o.r.dispatch(&w.req, o.parent(), wire.SpanInside, "")
}

// spread sends the effect to the other slots. It runs in the vnode's worker.
func (w *write) spread(effect, reply []byte) {
	w.mu.Lock()
	w.effect, w.reply = effect, reply
	if w.req.Ahead {
		w.fresh.Flags |= wire.FlagAhead
	}
	w.retract = w.req.Retract
	nodes := w.nodes
	w.mu.Unlock()
	for i := range w.k {
		switch node := nodes[i]; {
		case i == w.me:
		case !w.r.up(node):
			w.missed(i, true)
		default:
			h := w.fresh
			h.Slot = uint8(i)
			w.send(i, node, h, w.until)
		}
	}
}

// send brings the effect to slot i.
func (w *write) send(i int, node ring.NodeID, h wire.Header, until time.Time) {
	done := func(f wire.Frame, err error) {
		code, epoch, body := outcome(f, err)
		w.replicated(i, node, code, epoch, body)
	}
	done = w.o.traced(&h, node, done)
	w.r.peers.Send(node, h, w.effect, until, done)
}

// ranHere takes the answer of this node's own vnode.
func (w *write) ranHere(code wire.Code, epoch uint64, body []byte) {
	w.mu.Lock()
	ran, closed := w.effect != nil, w.closed
	switch {
	case closed:
		w.mu.Unlock()
	case code == wire.OK && !ran:
		w.closed = true // nothing to replicate, or nobody to replicate it to
		w.mu.Unlock()
		w.o.settle(wire.OK, body)
	case code == wire.OK:
		w.state[w.me] = acked
		w.weigh()
	case ran:
		w.closed = true
		w.mu.Unlock()
		w.o.answered(w.r.self, wire.Maybe, epoch, body)
	default:
		w.closed = true
		w.mu.Unlock()
		w.o.left = w.req.Hasty && code == wire.NotReadable
		w.o.answered(w.r.self, code, epoch, body)
	}
}

// replicated takes the answer of slot i's node to the effect.
func (w *write) replicated(i int, node ring.NodeID, code wire.Code, epoch uint64, body []byte) {
	switch code {
	case wire.OK:
		w.mark(i, acked)
	case wire.Superseded:
		w.superseded(i, body)
	case wire.Moved, wire.Stale, wire.Behind:
		w.moved(i, node, code, ring.Epoch(epoch))
	case wire.ClockAhead:
		w.tellsOtherTime(i)
	case wire.DiskFull, wire.Overload:
		w.mu.Lock()
		w.full = fmt.Appendf(nil, "; node %s: %s", node, body)
		w.mu.Unlock()
		w.missed(i, false)
	default:
		w.missed(i, code == wire.Unavailable || code == wire.Maybe || code == wire.ShuttingDown)
	}
}

// mark puts slot i into state s and weighs the write anew.
func (w *write) mark(i int, s slotState) {
	w.mu.Lock()
	w.state[i] = s
	w.weigh()
}

// tellsOtherTime gives slot i up: its clock and this node's are too far apart.
func (w *write) tellsOtherTime(i int) {
	w.mu.Lock()
	w.clockAhead, w.state[i] = true, failed
	w.weigh()
}

// weigh answers the caller as soon as the outcome is certain. It is called with mu
// held, and releases it.
//
// This node's slot counts like any other. But a command that is not blind has built on
// this copy: if it came back from a crash without what others have been told, the next
// one would build on the same again, and the two would count as one. So its own disk is
// waited for. A blind command has read nothing, and its stamp is never given again.
func (w *write) weigh() {
	if w.closed {
		w.mu.Unlock()
		return
	}
	got, open, spare, spareOpen := w.count()
	met := got >= w.needPW && got+spare >= w.need
	lost := got+open < w.needPW || got+open+spare+spareOpen < w.need
	switch {
	case met && (w.o.blind || w.state[w.me] == acked):
		w.closed = true
		w.mu.Unlock()
		w.o.settle(wire.OK, w.reply)
	case lost && w.state[w.me] == acked && open > 0 && !w.counted:
		if w.counting == nil {
			w.counting = time.AfterFunc(countFor, w.countEnds)
		}
		w.mu.Unlock()
	case lost && w.state[w.me] == acked && w.await(got, spare):
		w.mu.Unlock()
	case lost && w.state[w.me] == acked:
		w.closed = true
		ahead, full := w.clockAhead, w.full
		w.mu.Unlock()
		if ahead && w.retract != nil {
			w.retract() // else it would hide what is written elsewhere until that time has come
		}
		w.fallShort(w.notMet(got, spare), ahead, full)
	default:
		w.mu.Unlock()
	}
}

// count returns how many slots have the effect or may yet get it, and how many
// fallbacks, if they count. A node counts once, whatever it keeps for others.
func (w *write) count() (got, open, spare, spareOpen int) {
	for i := range w.k {
		switch w.state[i] {
		case acked:
			got++
		case waiting:
			open++
		case hinting:
			spareOpen++
		case hinted:
			if w.keeper[i] != "" {
				spare++
			}
		}
	}
	if !w.sloppy {
		return got, open, 0, 0
	}
	return got, open, spare, spareOpen
}

// countEnds gives the caller the count as it stands.
func (w *write) countEnds() {
	w.mu.Lock()
	w.counted = true
	w.weigh()
}

// notMet says which quorum got slots, and spare fallbacks if they count, fall short of.
func (w *write) notMet(got, spare int) []byte {
	if got < w.needPW {
		return notMet("pw", got, w.needPW, w.k)
	}
	return notMet("w", got+spare, w.need, w.k)
}

// fallShort ends an attempt that too few slots took. When it is this node's clock
// that they refused, a blind command gets another coordinator. full is what a
// replica without room says, if there is one: that is no Overload, which would promise
// that nothing ran.
func (w *write) fallShort(why []byte, clockAhead bool, full []byte) {
	if clockAhead && w.o.blind {
		w.o.ran = true
		w.o.answered(w.r.self, wire.ClockAhead, uint64(w.ring.Epoch), why)
		return
	}
	w.o.settle(wire.QuorumNotMet, append(why, full...))
}

// superseded runs a blind command again, with a stamp above the newer one that slot
// i holds; any other has failed. Once the caller has been answered the newer record
// stands.
func (w *write) superseded(i int, body []byte) {
	stamp, err := wire.ParseStamp(body)
	switch {
	case err != nil:
		w.mark(i, failed)
	case !w.o.blind && w.abandon(false):
		w.o.settle(wire.QuorumNotMet, []byte("a replica holds a newer version, which this command has not seen: read it, and decide anew"))
	case w.o.blind && w.abandon(true):
		w.r.local.Observe(stamp)
		w.o.above = max(w.o.above, stamp.Time) // also if that is further ahead than the clock may go
		if w.o.superseded > hastySuperseded {
			w.o.again() // many write this key: not all of them at once
			return
		}
		w.o.plan()
	default: // the caller has been answered
		w.mark(i, failed)
	}
}

// abandon gives the operation up to another attempt; false if it is concluded, or
// was superseded too often.
func (w *write) abandon(superseded bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || superseded && w.o.superseded == maxSuperseded {
		return false
	}
	w.closed, w.abandoned = true, true
	w.o.ran = true
	if superseded {
		w.o.superseded++
	}
	return true
}

// moved deals with a slot whose node has another ring than the write was planned
// with. Stale says that the quorum may miss those of newer plans: a blind command
// is planned anew. Otherwise the effect has only to follow the slot.
func (w *write) moved(i int, node ring.NodeID, code wire.Code, epoch ring.Epoch) {
	if code == wire.Stale && w.o.blind && w.abandon(false) {
		w.o.lastCode, w.o.lastText = code, nil
		w.o.hear(epoch, node)
		w.o.again()
		return
	}
	if !w.r.spawn(func() { w.redirect(i, node, epoch) }) {
		w.mark(i, failed)
	}
}

// redirect sends slot i's effect to the node that has the slot now. A replica set
// that was rebuilt meanwhile does not count: its quorums may miss this write's.
func (w *write) redirect(i int, node ring.NodeID, epoch ring.Epoch) {
	until := w.hintDeadline()
	w.r.catchUp(epoch, node, until)
	if g := w.r.rings.Ring(); g.Epoch == w.ring.Epoch || w.redirects[i] > 0 {
		w.r.sleep(wait(int(w.redirects[i])), until)
	}
	w.redirects[i]++
	g := w.r.rings.Ring()
	now := g.Assignments[w.part]
	if uint64(now.Rebuilt) > w.fresh.Gen || w.redirects[i] > maxRedirects || i >= len(now.Replicas) || !w.follow(i, now.Replicas[i].Node) {
		w.mark(i, failed)
		return
	}
	h := w.fresh
	h.Slot, h.Gen, h.Epoch = uint8(i), uint64(now.Gen), uint64(g.Epoch)
	w.send(i, now.Replicas[i].Node, h, until)
}

// follow notes that slot i is node's now; false if node has another of the slots,
// and with it the effect, already.
func (w *write) follow(i int, node ring.NodeID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if j := w.slotOf(node); j >= 0 && j != i {
		return false
	}
	w.nodes[i] = node
	return true
}

// slotOf is the slot of node, -1 if it has none. It is called with mu held.
func (w *write) slotOf(node ring.NodeID) int { return slices.Index(w.nodes[:w.k], node) }

// missed has the effect for slot i kept by a fallback for its node, or by this
// node if there is no other. away says that the node could not be reached.
func (w *write) missed(i int, away bool) {
	w.mu.Lock()
	if w.abandoned {
		w.mu.Unlock()
		return
	}
	node, keeper := w.nodes[i], w.keeperFor(i)
	w.state[i], w.keeper[i], w.away[i] = hinting, keeper, away
	w.mu.Unlock()
	if keeper == "" {
		w.keep(i, node)
	} else {
		w.hint(i, node, keeper)
	}
	// A strict quorum may be lost already.
	w.mu.Lock()
	w.weigh()
}

// keeperFor is the fallback for slot i's node: one that keeps nothing of this write
// yet, so that each hint may count. It is called with mu held.
func (w *write) keeperFor(i int) ring.NodeID {
	return fallbackFor(w.ring, w.part, w.k, w.nodes[i], func(n ring.NodeID) bool {
		if w.slotOf(n) >= 0 {
			return n != w.nodes[i] // whatever its state, a slot's node stands in for nobody
		}
		return !slices.Contains(w.keeper[:w.k], n) && w.r.up(n)
	})
}

// hint sends the effect for node in slot i to keeper.
func (w *write) hint(i int, node, keeper ring.NodeID) {
	h := w.fresh
	h.Slot, h.Flags = uint8(i), wire.FlagFallback
	body := appendHint(nil, node, w.effect)
	done := w.o.traced(&h, keeper, func(f wire.Frame, err error) {
		if code, _, _ := outcome(f, err); code != wire.OK {
			w.keep(i, node)
			return
		}
		w.hintEnds(i, hinted, keeper)
	})
	w.r.peers.Send(keeper, h, body, w.hintDeadline(), done)
}
