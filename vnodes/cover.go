package vnodes

import (
	"bytes"
	"context"
	"errors"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Cover runs one vnode's part of a coverage query, or of a fold: emit is called with its items
// in key order, tombstones included, from the calling goroutine.
func (m *Manager) Cover(ctx context.Context, c *wire.CoverCall, emit func(*wire.Item) error) error {
	svc := m.services[c.Service]
	if svc == nil || int(c.Partition) >= m.rings.Ring().Q() {
		return wire.Errorf(wire.BadRequest, "unknown service or partition")
	}
	coverer, ok := svc.proto.(Coverer)
	if !ok && !c.Fold {
		return wire.Errorf(wire.BadRequest, "service %s answers no coverage queries", svc.Name)
	}
	v, err := m.coverSource(ctx, svc, c)
	if err != nil {
		return err
	}
	tx := &Tx{m: v.m, partition: v.id.partition, store: v.store, stop: ctx.Err}
	if c.Fold {
		err = v.fold(ctx, c, emit)
	} else {
		if c.For == "" {
			coverer = (*v.user.Load()).(Coverer)
		}
		_, err = v.call(func() ([]byte, error) {
			return nil, coverer.Cover(tx, c.Body, func(it Item) error {
				if len(c.After) > 0 && bytes.Compare(it.Key, c.After) <= 0 {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				return emit(&it)
			})
		})
	}
	switch g := v.gate.Load(); {
	case tx.err != nil && !errors.Is(tx.err, ErrClosed):
		return asError(tx.err)
	case tx.err != nil || c.For == "" && (g.phase == gone || g.phase == proposed):
		return &wire.Error{Code: wire.Moved, Epoch: m.epoch()} // what came so far was right; the end may be missing
	case err != nil:
		return asError(err)
	}
	return nil
}

// hintStores lists the hints of a service that can be read here.
func (m *Manager) hintStores(svc *service) []byte {
	m.mu.Lock()
	var held []*vnode
	for id, v := range m.hints {
		if id.service == svc.id {
			held = append(held, v)
		}
	}
	m.mu.Unlock()
	var list []byte
	for _, v := range held {
		if v.check() == nil && v.store.Digest().Records > 0 {
			list = wire.AppendHintStore(list, &wire.HintStore{Partition: uint16(v.id.partition), For: string(v.id.fallback)})
		}
	}
	return list
}

// coverSource is the vnode that c asks for. Hints that have gone are MOVED: they
// are with their owner, who may have been read before they came.
func (m *Manager) coverSource(ctx context.Context, svc *service, c *wire.CoverCall) (*vnode, error) {
	p := ring.Partition(c.Partition)
	if c.For != "" {
		v, err := m.hintVnode(svc, p, ring.NodeID(c.For), false)
		if v == nil && err == nil {
			err = &wire.Error{Code: wire.Moved, Message: "there are no such hints here", Epoch: m.epoch()}
		}
		return v, err
	}
	m.noticeGap()
	for fetched := false; ; {
		v, werr := m.openSlot(svc, p, c.Gen)
		if v != nil && v.doubted() {
			if err := v.await(ctx, (*vnode).heedDoubt); err != nil {
				return nil, err
			}
		}
		verdict, code, reason := behind, wire.Behind, ""
		if werr == nil {
			g := v.gate.Load()
			verdict, code = g.check(wire.OpCover, c.Gen)
			reason = g.reason
		} else if werr.Code != wire.Behind {
			werr.Epoch = m.epoch()
			return nil, werr
		}
		switch {
		case verdict == admit && v.begun.Load():
			if err := v.check(); err != nil { // opens the file, if nobody has yet
				return nil, asError(err)
			}
			return v, nil
		case verdict == admit:
			if err := v.idle(ctx); err != nil {
				return nil, err
			}
		case verdict == behind && !fetched:
			fetched = true
			if err := m.fetch(ctx, ring.Epoch(c.Epoch)); err != nil {
				return nil, &wire.Error{Code: wire.Behind, Message: err.Error(), Epoch: m.epoch()}
			}
			if v != nil {
				if err := v.idle(ctx); err != nil {
					return nil, err
				}
			}
		case verdict == behind, verdict == reject:
			return nil, &wire.Error{Code: code, Message: reason, Epoch: m.epoch()}
		default:
			return nil, &wire.Error{Code: wire.Unavailable, Message: "the partition is about to move", Epoch: m.epoch()}
		}
	}
}
