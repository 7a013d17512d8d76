package vnodes

import (
	"bytes"
	"context"
	"errors"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Cover runs one vnode's part of a coverage query: emit is called with its items
// in key order, tombstones included, from the calling goroutine.
func (m *Manager) Cover(ctx context.Context, c *wire.CoverCall, emit func(*wire.Item) error) error {
	svc := m.services[c.Service]
	if svc == nil || int(c.Partition) >= m.rings.Ring().Q() {
		return wire.Errorf(wire.BadRequest, "unknown service or partition")
	}
	coverer, ok := svc.proto.(Coverer)
	if !ok {
		return wire.Errorf(wire.BadRequest, "service %s answers no coverage queries", svc.Name)
	}
	v, err := m.coverSource(ctx, svc, c)
	if err != nil || v == nil {
		return err
	}
	if c.For == "" {
		coverer = (*v.user.Load()).(Coverer)
	}
	tx := &Tx{partition: v.id.partition, store: v.store}
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
	switch g := v.gate.Load(); {
	case tx.err != nil && !errors.Is(tx.err, ErrClosed):
		return asError(tx.err)
	case c.For == "" && (g.phase == gone || g.phase == proposed || tx.err != nil):
		return &wire.Error{Code: wire.Moved, Epoch: m.epoch()} // what came so far was right; the end may be missing
	case err != nil:
		return asError(err)
	}
	return nil
}

// coverSource is the vnode that c asks for; nil if it is a fallback's and holds nothing.
func (m *Manager) coverSource(ctx context.Context, svc *service, c *wire.CoverCall) (*vnode, error) {
	p := ring.Partition(c.Partition)
	if c.For != "" {
		return m.hintVnode(svc, p, ring.NodeID(c.For), false)
	}
	for fetched := false; ; fetched = true {
		v, werr := m.openSlot(svc, p, c.Gen)
		verdict, code := behind, wire.Behind
		if werr == nil {
			verdict, code = v.gate.Load().check(wire.OpCover, c.Gen)
		} else if werr.Code != wire.Behind {
			werr.Epoch = m.epoch()
			return nil, werr
		}
		switch {
		case verdict == admit:
			return v, nil
		case verdict == behind && !fetched:
			if err := m.rings.Fetch(ctx, ring.Epoch(c.Epoch), ""); err != nil {
				return nil, &wire.Error{Code: wire.Behind, Message: err.Error(), Epoch: m.epoch()}
			}
			m.install()
			if v != nil {
				v.do(func(*vnode) {})
			}
		case verdict == reject:
			return nil, &wire.Error{Code: code, Epoch: m.epoch()}
		default:
			return nil, &wire.Error{Code: wire.Unavailable, Message: "the partition is about to move", Epoch: m.epoch()}
		}
	}
}
