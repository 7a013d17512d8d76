package dataplane

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// coverPart is where a coverage query gets items of a partition: at a replica, or at a
// node that keeps hints for another one.
type coverPart struct {
	node     ring.NodeID
	hintsFor ring.NodeID // empty: a replica
}

// coverRead is the reading of one partition: enough of its slots, and all hints for
// it, whoever keeps them. In the common case there are none. Hints hold what slots do
// not have yet: all writes of an owner that is down, and those that a fallback counted
// for. Their reading has begun before that of the slots does: hints that are delivered
// meanwhile either come themselves, or with a slot that is read after they have come there.
//
// It belongs to one goroutine.
type coverRead struct {
	c     *coverage
	p     ring.Partition
	ring  *ring.Ring  // of the last attempt
	parts []coverPart // of the last attempt, hints first
	hints []coverPart
	at    position // what was read, tombstones too
	items int
	bad   []coverPart // failed since the ring last changed
}

// errTooFew says that fewer slots are up and readable than must be read.
var errTooFew = errors.New("too few slots can be read")

// errReplaced says that replicas that have failed lack for as many slots as must be read.
var errReplaced = errors.New("too few slots have not failed")

// attempt reads on from where the last attempt stopped, with the newest ring; with
// fewer slots than must be only if partly says so, and that is an error still.
func (a *coverRead) attempt(ctx context.Context, partly bool) error {
	g := a.c.r.rings.Ring()
	if a.ring != nil && g.Gen(a.p) != a.ring.Gen(a.p) {
		a.bad = nil
	}
	a.ring = g
	slots := g.Replicas(a.p, a.c.n)
	err := a.choose(slots, coverQuorum(a.c.r1, len(slots)))
	if err != nil && !partly {
		return err
	}
	if err := a.read(ctx); err != nil {
		return err
	}
	return err
}

// choose picks the hints and need readable slots, this node first, and those of nodes
// that are about to stop only if there are too few others.
func (a *coverRead) choose(slots []ring.Replica, need int) error {
	r := a.c.r
	a.parts = a.parts[:0]
	for _, h := range a.hints {
		if !slices.Contains(a.bad, h) {
			a.parts = append(a.parts, h)
		}
	}
	k := len(slots)
	start := int(a.p) % max(k, 1)
	if me := placeOf(slots, r.self); me >= 0 {
		start = me
	}
	up, got := 0, 0
	for _, draining := range []bool{false, true} {
		for j := range k {
			s := &slots[(start+j)%k]
			if s.CatchingUp || s.Node != r.self && !r.up(s.Node) || r.drain(s.Node) != draining {
				continue
			}
			up++
			if part := (coverPart{node: s.Node}); got < need && !slices.Contains(a.bad, part) {
				a.parts = append(a.parts, part)
				got++
			}
		}
	}
	switch {
	case up < need:
		return errTooFew
	case got < need:
		return errReplaced
	}
	return nil
}

// read merges what the parts hold behind a.at.
func (a *coverRead) read(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call := wire.CoverCall{
		Service: a.c.service, Fold: a.c.fold, Partition: uint16(a.p), Gen: uint64(a.ring.Gen(a.p)), Epoch: uint64(a.ring.Epoch), Body: a.c.body,
	}
	if a.at.begun {
		call.After = slices.Clone(a.at.key)
	}
	sources := make([]source, len(a.parts))
	for i, part := range a.parts {
		s, err := a.open(ctx, part, call)
		if err == nil {
			defer s.close()
			if part.hintsFor != "" {
				s, err = prime(s)
			}
		}
		if err != nil {
			return &sourceError{i, err}
		}
		sources[i] = s
	}
	return merge(sources, &a.at, a.c.combiner(), func(i int, it *wire.Item) error {
		a.items++
		if it.Deleted {
			return nil
		}
		return a.c.deliver(ctx, CoverItem{Partition: a.p, Node: a.parts[i].node, Item: *it})
	})
}

// open begins to read one part.
func (a *coverRead) open(ctx context.Context, part coverPart, call wire.CoverCall) (source, error) {
	call.For = string(part.hintsFor)
	if part.node == a.c.r.self {
		return newLocalSource(ctx, a.c.r.local, &call), nil
	}
	return a.c.r.newRemoteSource(ctx, part.node, &call)
}

// settle learns from a failed attempt, and waits a little unless there is a newer ring.
func (a *coverRead) settle(ctx context.Context, err error, tries int) {
	if ctx.Err() != nil {
		return
	}
	r := a.c.r
	until, ok := ctx.Deadline()
	if !ok {
		until = time.Now().Add(r.timeout)
	}
	if e, ok := errors.AsType[*sourceError](err); ok {
		part := a.parts[e.source]
		a.bad = append(a.bad, part)
		if we, ok := errors.AsType[*wire.Error](e.err); ok && part.node != r.self {
			r.catchUp(ring.Epoch(we.Epoch), part.node, until)
		}
		r.log.Debug("coverage replica failed", "peer", part.node, "for", part.hintsFor, "partition", a.p, "err", e.err)
	}
	if err == errReplaced {
		a.bad = slices.DeleteFunc(a.bad, func(p coverPart) bool { return p.hintsFor == "" })
	}
	if len(a.hints) > 0 {
		a.hints = r.hintStores(ctx, a.c.service)[a.p] // those that have gone are with their owners now
	}
	if r.rings.Ring().Epoch != a.ring.Epoch && tries == 0 {
		return
	}
	pause := time.NewTimer(wait(tries))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
}
