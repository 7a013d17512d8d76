package vnodes

import (
	"bytes"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Placer is a vnode whose records do not lie under the very keys that its commands are
// addressed to, in no bucket, but under others that tell where they belong. A backup of
// it can be restored into a cluster with another number of partitions; without it that
// of a service can only if its commands come without a bucket and write under Tx.Key alone.
type Placer interface {
	// Place returns the bucket and key that commands on the record under key are addressed
	// to. It is a pure function of its argument, and may be asked for any key.
	Place(key []byte) (bucket string, addressed []byte)
}

// Restorer is a vnode whose records mean something else under another stamp. A record
// of a backup is stored under a new one, above that which it had, so that it is not
// taken for one that arrives late.
type Restorer interface {
	// Restored returns the value that says under a newer stamp what r, the record under
	// key, says under its own. It is a pure function of its arguments; it may return r.Value.
	Restored(key []byte, r Record) []byte
}

// Place finds the partition of a record of a service in a ring of q partitions: that of
// the record under key in partition from of a ring of fromQ.
func (m *Manager) Place(service string, key []byte, from ring.Partition, fromQ, q int) (ring.Partition, error) {
	svc := m.services[wire.ServiceID(service)]
	if svc == nil {
		return 0, wire.Errorf(wire.NotFound, "service %s is not registered on this node", service)
	}
	if q == fromQ {
		return from, nil
	}
	bucket, addressed := "", key
	if pl, ok := svc.proto.(Placer); ok {
		if _, err := m.guard(svc, from, func() ([]byte, error) { bucket, addressed = pl.Place(key); return nil, nil }); err != nil {
			return 0, err
		}
	}
	h := ring.HashKey(bucket, addressed)
	if ring.Locate(h, fromQ) != from {
		return 0, wire.Errorf(wire.Refused, "the records of service %s do not tell by their keys to which of %d partitions they belong: "+
			"restore them into a cluster of %d, as that was which they come from; a service that is a Placer can have any number", service, q, fromQ)
	}
	return ring.Locate(h, q), nil
}

// restore is run for records of a backup, the body: each is stored as a new write of
// what it says, merged with what is there.
func (x *running) restore() (err error) {
	defer func() {
		if why := recover(); why != nil {
			err = x.v.m.panicked(x.v.svc, x.v.id.partition, why)
		}
	}()
	writes, err := ParseWrites(bytes.Clone(x.r.Call.Body)) // they outlive the call
	if err != nil {
		return wire.Errorf(wire.BadRequest, "records to restore: %v", err)
	}
	latest := clockTime(x.v.m.now()) + clockSpan(maxClockAhead)
	for i := range writes {
		switch t := writes[i].Record.Stamp.Time; {
		case writes[i].Record.Deleted() || i > 0 && bytes.Compare(writes[i-1].Key, writes[i].Key) >= 0:
			return wire.Errorf(wire.BadRequest, "records to restore come in the order of their keys, and none is deleted")
		case t > latest:
			return wire.Errorf(wire.ClockAhead, "the backup was made at a time %d ms ahead of this node's clock: set the clocks of the nodes", (t-latest)>>16)
		}
		if err := x.restoreOne(&writes[i]); err != nil {
			return err
		}
	}
	return nil
}

// restoreOne adds to the command's writes what w becomes here.
func (x *running) restoreOne(w *Write) error {
	have, ok, err := x.v.store.Latest(w.Key)
	if err != nil {
		return err
	}
	base := have.Stamp
	if base.Compare(w.Record.Stamp) < 0 {
		base = w.Record.Stamp
	}
	r := Record{Value: w.Record.Value}
	if re, ok := x.v.svc.proto.(Restorer); ok {
		r.Value = re.Restored(w.Key, w.Record)
	}
	if r.Stamp, err = x.stamp(base); err != nil {
		return err
	}
	if ok {
		r = x.v.svc.merge(w.Key, have, r)
	}
	w.Record = r
	if err := checkWrites([]Write{*w}); err != nil {
		return err
	}
	x.tx.writes, x.tx.replaced = append(x.tx.writes, *w), append(x.tx.replaced, base)
	return nil
}
