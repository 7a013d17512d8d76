package vnodes

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// handle runs one request. Worker only.
func (v *vnode) handle(r *wire.Request) {
	if v.late(r) {
		v.m.fail(r, wire.Deadline, "the deadline passed before the work was done")
		return
	}
	v.heedDoubt()
	g := v.gate.Load()
	switch verdict, code := g.check(r.Op, r.Gen); verdict {
	case hold:
		if r.Hasty && g.phase == recovering {
			v.m.fail(r, wire.NotReadable, "the slot waits for what others have taken for it")
			return
		}
		v.hold(r)
	case behind:
		v.m.catchUp(r)
	case reject:
		v.m.fail(r, code, g.reason)
	default:
		switch r.Op {
		case wire.OpCommand:
			if v.m.last.Load() {
				v.m.fail(r, wire.ShuttingDown, "the node is stopping: the command was not run")
				return
			}
			v.command(r)
		case wire.OpEffect:
			v.effect(r)
		case wire.OpRead:
			reply, err := v.answer(r) // the gate cannot change meanwhile
			v.m.reply(r, reply, err)
		default:
			v.m.fail(r, wire.BadRequest, "vnodes run commands, reads and effects")
		}
	}
}

// command runs one command, hands out its effect, and answers when it is durable here.
func (v *vnode) command(r *wire.Request) {
	restores := r.Call.Flags&wire.CallRestore != 0
	reads := !restores && v.svc.reads(r.Call.Body)
	if err := v.writable("the command was not run"); err != nil {
		v.m.failErr(r, err)
		return
	}
	if v.stale.Swap(false) {
		v.renew()
	}
	switch {
	case reads && v.id.fallback != "":
		v.m.fail(r, wire.Unavailable, "the owner is down, and this command reads what only the owner knows")
		return
	case reads && v.svc.merger == nil && v.svc.replicas(v.m.rings.Ring()) > 1:
		v.m.fail(r, wire.Refused, "this command reads what it replaces: that needs one replica or a service with its own Merge")
		return
	}
	x := &running{v: v, r: r}
	x.tx = Tx{
		m: v.m, partition: v.id.partition, bucket: r.Call.Bucket, key: r.Call.Key, store: v.store,
		partial: v.id.fallback != "", rename: v.m.actor, stamp: x.stamp, scratch: &v.scratch,
		writes: x.write[:0], replaced: x.replaced[:0],
	}
	run := x.run
	if restores {
		run = x.restore
	}
	err := run()
	if errors.Is(err, errPanicked) {
		defer v.renew() // its fields may be half changed; its records are as they were
	} else if x.tx.err != nil {
		err = x.tx.err
	}
	if err != nil {
		v.refuse(r, err)
		return
	}
	if v.late(r) || !reads && r.Caller != nil && r.Caller.Forsaken() {
		// A process that was stopped meanwhile may have stamped the writes only now: their
		// caller has written elsewhere since, and what was written after that is newer.
		v.stale.Store(true)
		v.m.fail(r, wire.Deadline, "the deadline passed while the command ran, or its caller has given it up: nothing was written")
		return
	}
	if len(x.tx.writes) > 0 && r.OnEffect != nil {
		r.Ahead, r.Retract = v.ahead(x.tx.writes), x.retract
		r.OnEffect(AppendWrites(make([]byte, 0, effectSize(x.tx.writes)), x.tx.writes), x.reply)
	}
	v.append(x.tx.writes, x.durable)
}

// running is a command from when it begins to run until what it has written is durable.
// It holds what most commands need, so that one costs few allocations.
type running struct {
	v        *vnode
	r        *wire.Request
	tx       Tx
	reply    []byte
	write    [1]Write
	replaced [1]Stamp
}

// run calls the user's vnode; a panic becomes an error and is logged.
func (x *running) run() (err error) {
	defer func() {
		if why := recover(); why != nil {
			err = x.v.m.panicked(x.v.svc, x.v.id.partition, why)
		}
	}()
	x.reply, err = (*x.v.user.Load()).Command(&x.tx, x.r.Call.Body)
	return err
}

// stamp issues a stamp for what the command writes in the place of have.
func (x *running) stamp(have Stamp) (Stamp, error) {
	return x.v.stamp(x.v.lowest(have, x.r.Above), x.r.Call.ID)
}

// durable answers the command.
func (x *running) durable(err error) {
	if err != nil {
		x.v.stale.Store(true)
		x.v.m.failErr(x.r, fmt.Errorf("write to disk: %w", err))
		return
	}
	x.r.Done(wire.OK, x.v.m.epoch(), x.reply)
}

// stamp issues a stamp newer than have.
func (v *vnode) stamp(have Stamp, id uint64) (Stamp, error) {
	switch {
	case v.id.fallback != "":
		return v.m.standInStamp(have, id)
	case v.svc.replicas(v.m.rings.Ring()) == 1:
		return v.m.soleStamp(have, id)
	}
	return v.m.stamp(have, id)
}

// refuse answers a command that has done nothing. If this copy is damaged and there
// are others, one of those may run it.
func (v *vnode) refuse(r *wire.Request, err error) {
	if errors.Is(err, ErrCorrupt) && v.id.fallback == "" && v.svc.replicas(v.m.rings.Ring()) > 1 {
		v.m.fail(r, wire.NotReadable, err.Error())
		return
	}
	v.m.failErr(r, err)
}

// effect merges a coordinator's writes and answers when they are durable here.
func (v *vnode) effect(r *wire.Request) {
	if err := v.writable("the write was not taken"); err != nil {
		v.m.failErr(r, err)
		return
	}
	x := &taking{v: v, r: r}
	writes, err := parseWrites(x.write[:0], r.Effect)
	if err != nil {
		v.m.fail(r, wire.BadRequest, err.Error())
		return
	}
	fresh := r.Flags&wire.FlagFresh != 0
	for i := range writes {
		if err := v.m.clock.Observe(writes[i].Record.Stamp.Time); err != nil && fresh && r.Flags&wire.FlagAhead == 0 {
			v.m.fail(r, wire.ClockAhead, err.Error())
			return
		}
	}
	from := effect
	if fresh {
		from = newWrite
	}
	changed, newer, err := v.reconcile(writes, writes[:0], from)
	if err != nil || !newer.IsZero() {
		x.answer(newer, err)
		return
	}
	v.append(changed, x.durable) // also with nothing to write: what is there may not be durable yet
}

// taking is an effect from when it is merged until the result is durable.
type taking struct {
	v     *vnode
	r     *wire.Request
	write [1]Write // of most effects, all
}

// durable answers the effect.
func (x *taking) durable(err error) { x.answer(Stamp{}, unwritten(err)) }

func (x *taking) answer(newer Stamp, err error) {
	switch {
	case err != nil:
		x.v.m.failErr(x.r, err)
	case !newer.IsZero():
		x.r.Done(wire.Superseded, x.v.m.epoch(), newer.Append(nil))
	default:
		x.r.Done(wire.OK, x.v.m.epoch(), nil)
	}
}

// unwritten says of err, if there is one, that it came of writing.
func unwritten(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write to disk: %w", err)
}

// origin says where writes come from that are merged.
type origin uint8

const (
	newWrite origin = iota // an effect that something newer refuses
	effect                 // any other effect
	kept                   // hints, and what can be read of a damaged file
	replica                // another replica's records, that has compared what it has
)

// merge merges writes into the store; done is told when the result is durable, or
// at once of a newer stamp that refuses a new write: of the floor, if that is what it
// lies below. Of what was kept, that which lies below the floor is left out. Worker only.
func (v *vnode) merge(writes []Write, from origin, done func(newer Stamp, err error)) {
	changed, newer, err := v.reconcile(writes, nil, from)
	if err != nil || !newer.IsZero() {
		done(newer, err)
		return
	}
	// Also with nothing to write: what is there may not be durable yet.
	v.append(changed, func(err error) { done(Stamp{}, unwritten(err)) })
}

// reconcile appends to changed, which may begin where writes do, what merging writes
// changes in the store, or tells the newer stamp that refuses them. Worker only: what it
// returns is good until it is called again.
func (v *vnode) reconcile(writes, changed []Write, from origin) ([]Write, Stamp, error) {
	floor := v.tooOld(from)
	for i := range writes {
		w := writes[i]
		have, ok, err := v.latest(w.Key, len(writes) == 1)
		if err != nil {
			return nil, Stamp{}, err
		}
		if !ok && w.Record.Stamp.Time < floor {
			v.m.compares.counts.late.Add(1)
			if from != kept {
				return nil, Stamp{Time: floor}, nil
			}
			continue
		}
		if ok {
			merged, superseded, err := v.mergeRecord(w.Key, have, w.Record, from == newWrite)
			switch {
			case err != nil:
				return nil, Stamp{}, err
			case superseded:
				return nil, have.Stamp, nil
			}
			if sameRecord(&merged, &have) {
				continue
			}
			w.Record = merged
		}
		changed = append(changed, w)
	}
	return changed, Stamp{}, nil
}

// latest is the newest record under key. If it is looked at alone its value may lie in
// the vnode's scratch memory. Worker only.
func (v *vnode) latest(key []byte, alone bool) (Record, bool, error) {
	if s, ok := v.store.(scratchStore); ok && alone {
		return s.latestIn(key, &v.scratch)
	}
	return v.store.Latest(key)
}

// mergeRecord is the service's merge of two versions, unless incoming is a fresh
// write and superseded.
func (v *vnode) mergeRecord(key []byte, have, incoming Record, fresh bool) (merged Record, superseded bool, err error) {
	defer func() {
		if why := recover(); why != nil {
			merged, superseded, err = Record{}, false, v.m.panicked(v.svc, v.id.partition, why)
		}
	}()
	if fresh && v.svc.superseded(key, have, incoming) {
		return Record{}, true, nil
	}
	return v.svc.merge(key, have, incoming), false, nil
}

// query answers a read beside the worker. What it read counts only if the vnode
// still serves afterwards; else the worker decides.
func (v *vnode) query(r *wire.Request) {
	reply, err := v.answer(r)
	if g := v.gate.Load(); g.phase == gone || g.phase == proposed {
		v.enqueue(r)
		return
	}
	v.m.reply(r, reply, err)
}

func (v *vnode) answer(r *wire.Request) ([]byte, error) {
	c := &r.Call
	q, ok := (*v.user.Load()).(Querier)
	if !ok {
		return nil, wire.Errorf(wire.BadRequest, "service %s answers no queries", v.svc.Name)
	}
	tx := &Tx{m: v.m, partition: v.id.partition, bucket: c.Bucket, key: c.Key, store: v.store, partial: v.id.fallback != ""}
	if r.Flags&wire.FlagRecords != 0 {
		return v.read(tx, q, c.Body)
	}
	reply, err := v.call(func() ([]byte, error) { return q.Query(tx, c.Body) })
	if tx.err != nil {
		return nil, tx.err
	}
	return reply, err
}

// read runs a query for the records that it reads. What it makes of them, also an error,
// is of no interest, but for a panic.
func (v *vnode) read(tx *Tx, q Querier, body []byte) ([]byte, error) {
	tx.seen = new([]Write)
	_, err := v.call(func() ([]byte, error) { return q.Query(tx, body) })
	switch {
	case tx.err != nil:
		return nil, tx.err
	case errors.Is(err, errPanicked):
		return nil, err
	}
	return AppendWrites(nil, *tx.seen), nil
}

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
	case errors.Is(err, ErrDiskFull), isDiskFull(err):
		return wire.Errorf(wire.DiskFull, "%v", err)
	case errors.Is(err, ErrCorrupt):
		return wire.Errorf(wire.Corrupt, "%v", err)
	case errors.Is(err, ErrClockAhead):
		return wire.Errorf(wire.ClockAhead, "%v", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return wire.Errorf(wire.Deadline, "%v", err)
	}
	return wire.Errorf(wire.Internal, "%v", err)
}
