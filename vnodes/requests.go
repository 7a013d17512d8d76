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
	reads := v.svc.reads(r.Call.Body)
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
	tx := &Tx{
		m: v.m, partition: v.id.partition, bucket: r.Call.Bucket, key: r.Call.Key, store: v.store,
		partial: v.id.fallback != "", rename: v.m.actor,
		stamp: func(have Stamp) (Stamp, error) { return v.stamp(v.lowest(have, r.Above), r.Call.ID) },
	}
	reply, err := v.call(func() ([]byte, error) { return (*v.user.Load()).Command(tx, r.Call.Body) })
	if errors.Is(err, errPanicked) {
		defer v.renew() // its fields may be half changed; its records are as they were
	} else if tx.err != nil {
		err = tx.err
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
	if len(tx.writes) > 0 && r.OnEffect != nil {
		r.Ahead, r.Retract = v.ahead(tx.writes), v.retracting(tx.writes, tx.replaced)
		r.OnEffect(AppendWrites(nil, tx.writes), reply)
	}
	v.append(tx.writes, func(err error) {
		if err != nil {
			v.stale.Store(true)
			v.m.failErr(r, fmt.Errorf("write to disk: %w", err))
			return
		}
		r.Done(wire.OK, v.m.epoch(), reply)
	})
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
	writes, err := ParseWrites(r.Effect)
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
	v.merge(writes, from, func(newer Stamp, err error) {
		switch {
		case err != nil:
			v.m.failErr(r, err)
		case !newer.IsZero():
			r.Done(wire.Superseded, v.m.epoch(), newer.Append(nil))
		default:
			r.Done(wire.OK, v.m.epoch(), nil)
		}
	})
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
	changed, floor := writes[:0:0], v.tooOld(from)
	for _, w := range writes {
		have, ok, err := v.store.Latest(w.Key)
		if err != nil {
			done(Stamp{}, err)
			return
		}
		if !ok && w.Record.Stamp.Time < floor {
			v.m.compares.counts.late.Add(1)
			if from != kept {
				done(Stamp{Time: floor}, nil)
				return
			}
			continue
		}
		if ok {
			merged, superseded, err := v.mergeRecord(w.Key, have, w.Record, from == newWrite)
			switch {
			case err != nil:
				done(Stamp{}, err)
				return
			case superseded:
				done(have.Stamp, nil)
				return
			}
			if sameRecord(&merged, &have) {
				continue
			}
			w.Record = merged
		}
		changed = append(changed, w)
	}
	// Also with nothing to write: what is there may not be durable yet.
	v.append(changed, func(err error) {
		if err != nil {
			err = fmt.Errorf("write to disk: %w", err)
		}
		done(Stamp{}, err)
	})
}

// mergeRecord is the service's merge of two versions, unless incoming is a fresh
// write and superseded.
func (v *vnode) mergeRecord(key []byte, have, incoming Record, fresh bool) (merged Record, superseded bool, err error) {
	_, err = v.call(func() ([]byte, error) {
		if superseded = fresh && v.svc.superseded(key, have, incoming); !superseded {
			merged = v.svc.merge(key, have, incoming)
		}
		return nil, nil
	})
	return merged, superseded, err
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
