package dataplane

import (
	"context"
	"errors"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Fold reads the records of one partition of a service as they are, and not what the
// service makes of them, and calls emit with each in key order: those of enough replicas
// to meet every write that was acknowledged before, and of hints, merged as replicas
// merge them, tombstones left out. Each replica's are those of one moment, so that what
// one command has written is there as a whole or not at all. body says which are asked for;
// it is package vnodes' own. An item is valid only during the call.
//
// An attempt that fails is followed by another one, with other replicas, only before the first
// item: what comes of two attempts is not of one moment. The error is emit's, ctx's, or a *wire.Error.
func (r *Router) Fold(ctx context.Context, service string, p ring.Partition, body []byte, emit func(*wire.Item) error) error {
	id := wire.ServiceID(service)
	info, ok := r.local.Service(id)
	switch {
	case !ok:
		return wire.Errorf(wire.NotFound, "this node knows no service %q", service)
	case int(p) >= r.rings.Ring().Q():
		return wire.Errorf(wire.NotFound, "there is no partition %d", p)
	}
	if err := r.beginCover(); err != nil {
		return err
	}
	defer r.covers.Add(-1)
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.stop, cancel)()
	c := &coverage{
		r: r, service: id, n: info.N, body: body, fold: true, merge: info.MergeFold, turn: make(chan struct{}, 1), cancel: cancel,
		emit: func(it CoverItem) error { return emit(&it.Item) },
	}
	read := coverRead{c: c, p: p, hints: r.hintStores(run, id)[p]}
	err := read.fold(run)
	switch {
	case err == nil:
		return nil
	case c.failed != nil:
		return c.failed
	case ctx.Err() != nil:
		return ctx.Err()
	case r.stop.Err() != nil:
		return wire.Errorf(wire.ShuttingDown, "the node shuts down")
	}
	if e, ok := errors.AsType[*wire.Error](err); ok && e.Code != wire.Moved && e.Code != wire.Stale && e.Code != wire.Behind {
		return e
	}
	return wire.Errorf(wire.Unavailable, "partition %d of service %s: %v", p, service, err)
}

// errConflict says that what was asked for is not there any more: no other replica helps.
var errConflict error = &wire.Error{Code: wire.Conflict}

// fold is what partition is to a coverage query.
func (a *coverRead) fold(ctx context.Context) error {
	for tries := 0; ; tries++ {
		err := a.attempt(ctx, false)
		if err == nil || a.items > 0 || ctx.Err() != nil || tries == coverTries || err == errTooFew && !a.c.patient() || errors.Is(err, errConflict) {
			return err
		}
		a.settle(ctx, err, tries)
	}
}

// Restore has the vnode of partition p store records of a backup, encoded as an effect's
// are, as new writes, and returns when a majority of its replicas has them durably.
// Its error is a *wire.Error; it may be called again after any.
func (r *Router) Restore(ctx context.Context, service string, p ring.Partition, records []byte) error {
	_, err := r.wait(ctx, &operation{
		op: wire.OpCommand, service: wire.ServiceID(service), part: p,
		call: wire.Call{Quorum: wire.QuorumMajority, Flags: wire.CallRestore | wire.CallBlind | wire.CallStrict, Body: records},
	}, wire.Deadline)
	return err
}
