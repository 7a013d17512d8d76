package dataplane

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// hedgeAfter is how long a replica may take before another one is asked too.
const hedgeAfter = 30 * time.Millisecond

// readTurn is how many reads in a row ask the same peers first: those of a batch go together.
const readTurn = 64

// read is one attempt at a query by its coordinator. It asks as many readable
// slots as must answer, this node first, and one more for each that fails or is slow.
// A sloppy one asks fallbacks last, for what they hold for slots that are down.
type read struct {
	o       *operation
	slots   []ring.Replica
	me      int
	need    int
	needPR  int           // of these, slots
	standIn []ring.NodeID // by slot, who is asked in its node's place; empty for nobody, nil if none is
	head    wire.Header   // of an OpRead, but for its slot
	body    []byte        // the encoded call; nil until a peer is asked
	req     wire.Request

	mu       sync.Mutex              // held for arithmetic only, never across a call out
	order    [ring.MaxReplicas]uint8 // slots to ask, in this order
	up       int                     // of order: slots whose nodes are up; fallbacks follow
	n, next  int                     // of order: how many, and how many were asked
	want     int                     // need, and one more for each hedge
	open     int                     // asked and not answered
	replies  [][]byte                // if need > 1
	missing  int                     // answers NotFound
	slotted  int                     // answers of slots, of both kinds
	code     wire.Code               // of the last replica that failed, or of one that is overloaded
	outdated bool                    // a replica knows another ring
	closed   bool
	text     []byte
	news     ring.Epoch
	newsFrom ring.NodeID
}

// read coordinates a query from slot me.
func (o *operation) read(me int) {
	q := &read{o: o, slots: o.slots, me: me}
	readable := q.choose()
	q.need = 1
	if o.info.Resolves || o.call.Quorum != wire.QuorumDefault || o.call.Primary != wire.QuorumDefault {
		q.needPR = primaryQuorum(o.call.Primary, readable)
		q.need = max(quorum(o.call.Quorum, readable), q.needPR, 1)
	}
	switch {
	case q.needPR > readable:
		o.settle(wire.QuorumNotMet, tooMany("pr", q.needPR, readable))
		return
	case q.need > readable:
		o.settle(wire.QuorumNotMet, tooMany("r", q.need, readable))
		return
	case q.need > 1 && !o.info.Resolves:
		o.settle(wire.BadRequest, message("service %s cannot make one answer of several: use r=1", o.info.Name))
		return
	case q.need > q.n, q.needPR > q.up:
		if !o.bePatient() {
			o.settle(wire.QuorumNotMet, q.notMet(q.n, q.up))
		}
		return
	}
	q.head = wire.Header{
		Kind: wire.KindRequest, Op: wire.OpRead, Service: o.service, Partition: uint16(o.part),
		Gen: uint64(o.ring.Gen(o.part)), Epoch: uint64(o.ring.Epoch),
	}
	q.want = q.need
	q.pump()
	if q.waits() {
		o.r.hedges.add(q)
	}
}

// choose fills order with this node and the other readable slots that are up,
// which take turns. It returns how many slots are readable, up or not.
func (q *read) choose() (readable int) {
	k := len(q.slots)
	q.order[0], q.n = uint8(q.me), 1
	start := 0
	if k > 2 {
		start = int(q.o.r.turn.Add(1) / readTurn % uint32(k))
	}
	for j := range k {
		i := (start + j) % k
		if q.slots[i].CatchingUp {
			continue
		}
		readable++
		if i != q.me && q.o.r.up(q.slots[i].Node) {
			q.order[q.n] = uint8(i)
			q.n++
		}
	}
	q.up = q.n
	if q.o.call.Flags&wire.CallSloppy != 0 && q.up < readable {
		q.addFallbacks()
	}
	return readable
}

// addFallbacks has those asked last who may hold something for slots that are down.
func (q *read) addFallbacks() {
	o := q.o
	for _, t := range o.ring.PreferencesOf(o.part, len(q.slots), o.r.up).Targets {
		i := placeOf(q.slots, t.For)
		// Who was up a moment ago may be down now.
		if t.Fallback && !q.slots[i].CatchingUp && !slices.Contains(q.order[:q.n], uint8(i)) {
			if q.standIn == nil {
				q.standIn = make([]ring.NodeID, len(q.slots))
			}
			q.standIn[i] = t.Node
			q.order[q.n] = uint8(i)
			q.n++
		}
	}
}

// pump asks replicas until as many answers are there or under way as are wanted.
func (q *read) pump() {
	for {
		q.mu.Lock()
		if q.closed || q.next == q.n || len(q.replies)+q.missing+q.open >= q.want {
			q.mu.Unlock()
			return
		}
		i := int(q.order[q.next])
		q.next++
		q.open++
		q.mu.Unlock()
		q.ask(i)
	}
}

// stoodIn reports whether a fallback is asked for slot i.
func (q *read) stoodIn(i int) bool { return q.standIn != nil && q.standIn[i] != "" }

func (q *read) ask(i int) {
	if i == q.me {
		q.req = wire.Request{
			Op: wire.OpRead, Service: q.head.Service, Partition: q.head.Partition, Gen: q.head.Gen, Epoch: q.head.Epoch,
			Flags: q.o.flags & wire.FlagHeld, Call: q.o.call, Deadline: q.o.deadline,
			Done: func(code wire.Code, epoch uint64, body []byte) { q.answered(i, q.o.r.self, code, epoch, body) },
		}
		q.o.r.dispatch(&q.req, q.o.parent(), wire.SpanInside, "")
		return
	}
	node, h, body := q.slots[i].Node, q.head, q.encoded()
	h.Slot = uint8(i)
	if q.stoodIn(i) {
		call := q.o.call
		call.For = string(node)
		node, h.Flags, body = q.standIn[i], wire.FlagFallback, wire.AppendCall(nil, &call)
	}
	done := func(f wire.Frame, err error) {
		code, epoch, body := outcome(f, err)
		q.answered(i, node, code, epoch, body)
	}
	done = q.o.traced(&h, node, done)
	q.o.r.peers.Send(node, h, body, q.o.deadline, done)
}

func (q *read) encoded() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.body == nil {
		q.body = wire.AppendCall(nil, &q.o.call)
	}
	return q.body
}

// waits reports whether another replica could be asked if those that were are slow.
func (q *read) waits() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.closed && q.next < q.n
}

// slow has one more replica asked, unless there is no need or none left.
func (q *read) slow() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.next == q.n {
		return false
	}
	q.want++
	return true
}

// answered takes the answer for slot i, of its node or a fallback.
func (q *read) answered(i int, node ring.NodeID, code wire.Code, epoch uint64, body []byte) {
	q.mu.Lock()
	q.open--
	if q.closed {
		q.mu.Unlock()
		return
	}
	switch {
	case q.need == 1 && !replicaFails(code), code != wire.OK && code != wire.NotFound && !replicaFails(code):
		q.close()
		q.o.settle(code, body)
		return
	case code == wire.OK:
		q.replies = append(q.replies, body)
		q.counts(i)
	case code == wire.NotFound:
		q.missing++
		q.counts(i)
	default:
		q.fail(node, code, ring.Epoch(epoch), body)
	}
	switch {
	case len(q.replies) >= q.need && q.slotted >= q.needPR:
		q.close()
		q.resolve()
	case q.missing >= q.need && q.slotted >= q.needPR:
		q.close()
		repair := q.differing()
		q.o.settle(wire.NotFound, body)
		q.o.r.repairs.add(repair)
	case q.next == q.n && q.open == 0:
		why := q.notMet(len(q.replies), q.slotted)
		q.close()
		q.fallShort(why)
	default:
		// Answers that differ in kind do not add up: one side must reach need.
		q.want = max(q.want, q.need+min(q.missing, len(q.replies)))
		q.mu.Unlock()
		q.pump()
	}
}

// counts notes that slot i's answer counts. It is called with mu held.
func (q *read) counts(i int) {
	if !q.stoodIn(i) {
		q.slotted++
	}
}

// differing is the repair that the answers call for; nil if they are the same.
func (q *read) differing() *repair {
	if len(q.replies) == 0 {
		return nil
	}
	for _, reply := range q.replies[1:] {
		if !bytes.Equal(reply, q.replies[0]) {
			return q.o.r.repairs.note(q.o)
		}
	}
	if q.missing > 0 {
		return q.o.r.repairs.note(q.o)
	}
	return nil
}

// fail notes why a replica does not count. It is called with mu held.
func (q *read) fail(node ring.NodeID, code wire.Code, epoch ring.Epoch, body []byte) {
	if q.code != wire.Overload {
		q.code, q.text = code, body
	}
	if judge(code) == anew {
		q.outdated = true
		if epoch > q.news {
			q.news, q.newsFrom = epoch, node
		}
	}
}

// close ends the attempt: whoever calls it goes on with the operation. It is called
// with mu held, and releases it.
func (q *read) close() {
	q.closed = true
	q.mu.Unlock()
}

// resolve answers the caller with what the service makes of the replies.
func (q *read) resolve() {
	o := q.o
	defer o.r.repairs.add(q.differing())
	reply, err := o.r.local.Resolve(o.service, o.part, o.call.Body, q.replies)
	if err != nil {
		e := asError(err)
		o.settle(e.Code, []byte(e.Message))
		return
	}
	o.settle(wire.OK, reply)
}

// fallShort ends an attempt that too few replicas answered.
func (q *read) fallShort(why []byte) {
	o := q.o
	switch {
	case q.outdated:
		o.lastCode, o.lastText = q.code, q.text
		o.hear(q.news, q.newsFrom)
		o.again()
	case len(q.slots) == 1:
		o.answered(o.r.self, q.code, 0, q.text)
	case q.code == wire.Overload:
		o.settle(wire.Overload, append(why, "; "+string(q.text)...))
	case !time.Now().Before(o.deadline):
		o.settle(wire.Deadline, append(why, " before the deadline"...))
	default:
		if !o.bePatient() {
			o.settle(wire.QuorumNotMet, why)
		}
	}
}

// notMet says which quorum so many answers, and those of slots among them, fall short of.
func (q *read) notMet(answers, slotted int) []byte {
	if slotted < q.needPR {
		return notMet("pr", slotted, q.needPR, len(q.slots))
	}
	return notMet("r", answers, q.need, len(q.slots))
}

// asError gives err a code: its own, or Internal.
func asError(err error) *wire.Error {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return e
	}
	return &wire.Error{Code: wire.Internal, Message: err.Error()}
}
