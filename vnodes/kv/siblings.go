package kv

import (
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// maxContextAhead is how far the times in a context may lie ahead of the vnode's
// clock: what was read elsewhere may be a little. It is twice what replicas accept
// from each other.
const maxContextAhead = time.Second

// add stores c's value beside what this copy holds and c's context has not seen, and
// in the place of what it has. It does not need to know what other copies hold:
// merging brings all of it together.
func (v vnode) add(tx records, key []byte, c *codec.Command) error {
	o, have, err := v.held(tx, key)
	if err != nil {
		return err
	}
	at, err := v.after(tx, have, c.Context)
	if err != nil {
		return err
	}
	o.Forget(c.Context)
	o.Put(codec.Sibling{
		Dot: codec.Dot{Actor: tx.Actor(), Time: at.Time}, ID: at.ID,
		Envelope: codec.Envelope{Expires: c.Expires, Value: c.Value},
	})
	o.Settle(tx.Settled())
	if err := o.CheckRoom(); err != nil {
		return err
	}
	tx.Put(key, codec.AppendObject(nil, &o))
	return nil
}

// forget removes what seen has seen, and remembers that it is gone.
func (v vnode) forget(tx records, key []byte, seen codec.Context) error {
	o, have, err := v.held(tx, key)
	if err != nil {
		return err
	}
	if _, err := v.after(tx, have, seen); err != nil {
		return err
	}
	o.Forget(seen)
	if o.Settle(tx.Settled()); o.Empty() {
		tx.Bury(key, codec.AppendObject(nil, &o))
	} else {
		tx.Put(key, codec.AppendObject(nil, &o))
	}
	return nil
}

// held is what this copy holds under key, without what has expired, and its stamp.
func (v vnode) held(tx records, key []byte) (codec.Object, vnodes.Stamp, error) {
	r, ok := tx.Held(key)
	if !ok {
		return codec.Object{}, r.Stamp, tx.Err()
	}
	s := stored(&r)
	o, err := s.Object()
	o.Expire(unixMS(v.now()))
	return o, r.Stamp, err
}

// after is a stamp later than have and all that seen has seen, so that what is
// written next is later too. A context of times that are still to come is not
// followed: it would take the clock with it.
func (v vnode) after(tx records, have vnodes.Stamp, seen codec.Context) (vnodes.Stamp, error) {
	at := tx.NewStamp(have)
	newest := seen.Newest()
	switch {
	case tx.Err() != nil:
		return at, tx.Err()
	case newest < at.Time:
		return at, nil
	case newest-at.Time > uint64(maxContextAhead.Milliseconds())<<16:
		return at, wire.Errorf(wire.ClockAhead, "the context has seen writes of %d ms ahead of this node's clock: "+
			"read the key again; if that does not help, set the nodes' clocks", (newest-at.Time)>>16)
	}
	at = tx.NewStamp(vnodes.Stamp{Time: newest})
	return at, tx.Err()
}
