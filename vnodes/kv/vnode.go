package kv

import (
	"bytes"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// Service is the key/value service with n replicas, the cluster's if 0. self is
// the node that registers it, whose id answers to pings.
func Service(n int, self ring.NodeID) vnodes.Service {
	return vnodes.Service{
		Name: codec.Service,
		N:    n,
		New:  func(p ring.Partition) vnodes.Vnode { return vnode{partition: p, node: self, now: time.Now} },
	}
}

// vnode serves one partition. It has no state of its own beside its records.
type vnode struct {
	partition ring.Partition
	node      ring.NodeID
	now       func() time.Time // for expiry only; stamps are the toolkit's
}

var (
	_ vnodes.Querier        = vnode{}
	_ vnodes.Coverer        = vnode{}
	_ vnodes.Resolver       = vnode{}
	_ vnodes.BlindCommander = vnode{}
)

// records is what the vnode needs of a *vnodes.Tx.
type records interface {
	Bucket() string
	Key() []byte
	Record(key []byte) (vnodes.Record, bool)
	Put(key, value []byte)
	Delete(key []byte)
	Ascend(from []byte, fn func(key []byte, r vnodes.Record) bool)
	Err() error
}

// Command implements vnodes.Vnode.
func (v vnode) Command(tx *vnodes.Tx, cmd []byte) ([]byte, error) { return v.command(tx, cmd) }

// Query implements vnodes.Querier.
func (v vnode) Query(tx *vnodes.Tx, q []byte) ([]byte, error) { return v.query(tx, q) }

// Cover implements vnodes.Coverer.
func (v vnode) Cover(tx *vnodes.Tx, req []byte, emit func(vnodes.Item) error) error {
	return v.cover(tx, req, emit)
}

// Blind implements vnodes.BlindCommander.
func (v vnode) Blind(cmd []byte) bool { return codec.Blind(cmd) }

// Resolve implements vnodes.Resolver: the newest result wins; any pong will do.
func (v vnode) Resolve(q []byte, replies [][]byte) ([]byte, error) {
	op, err := codec.ParseQuery(q)
	if err != nil {
		return nil, err
	}
	if op == codec.QueryPing && len(replies) > 0 {
		return replies[0], nil
	}
	return codec.Newest(replies)
}

func (v vnode) command(tx records, cmd []byte) ([]byte, error) {
	c, err := codec.ParseCommand(cmd)
	if err != nil {
		return nil, err
	}
	if err := codec.CheckKey(tx.Bucket(), tx.Key()); err != nil {
		return nil, err
	}
	key := codec.RecordKey(tx.Bucket(), tx.Key())
	switch c.Op {
	case codec.OpPut:
		tx.Put(key, cmd[1:]) // what follows the op is the envelope
		return nil, nil
	case codec.OpDelete:
		tx.Delete(key)
		return nil, nil
	}
	old, err := v.look(tx, key)
	if err != nil {
		return nil, err
	}
	switch c.Op {
	case codec.OpTake:
		if old.State == codec.Live {
			tx.Delete(key)
		}
		return codec.AppendResult(nil, &old), nil
	case codec.OpPutIf:
		return v.putIf(tx, key, &c, &old), nil
	default: // OpExpire: ParseCommand knows no other
		return v.expire(tx, key, &c, &old), nil
	}
}

func (v vnode) putIf(tx records, key []byte, c *codec.Command, old *codec.Result) []byte {
	out := codec.Outcome{Old: *old}
	there := old.State == codec.Live
	if holds(c.Cond, there) {
		out.Applied = true
		e := codec.Envelope{Expires: c.Expires, Value: c.Value}
		if c.Cond&codec.KeepTTL != 0 && there {
			e.Expires = old.Expires
		}
		tx.Put(key, codec.AppendEnvelope(nil, &e))
	}
	return codec.AppendOutcome(nil, &out)
}

// holds reports whether cond lets a value be stored, where there tells if there is one already.
func holds(cond codec.Cond, there bool) bool {
	return !(there && cond&codec.IfAbsent != 0) && !(!there && cond&codec.IfExists != 0)
}

func (v vnode) expire(tx records, key []byte, c *codec.Command, old *codec.Result) []byte {
	out := codec.Outcome{Old: *old, Applied: old.State == codec.Live && (c.Expires != 0 || old.Expires != 0)}
	if out.Applied {
		tx.Put(key, codec.AppendEnvelope(nil, &codec.Envelope{Expires: c.Expires, Value: old.Value}))
	}
	return codec.AppendOutcome(nil, &out)
}

func (v vnode) query(tx records, q []byte) ([]byte, error) {
	op, err := codec.ParseQuery(q)
	if err != nil {
		return nil, err
	}
	if op == codec.QueryPing {
		return codec.AppendPong(nil, &codec.Pong{Partition: uint16(v.partition), Node: string(v.node)}), nil
	}
	if err := codec.CheckKey(tx.Bucket(), tx.Key()); err != nil {
		return nil, err
	}
	r, err := v.look(tx, codec.RecordKey(tx.Bucket(), tx.Key()))
	if err != nil {
		return nil, err
	}
	if op == codec.QueryStat {
		r.Value = nil
	}
	return codec.AppendResult(make([]byte, 0, 1+wire.StampSize+9+len(r.Value)), &r), nil
}

// look reads the record under key. An expired value is a deleted one, with its
// stamp, so that it outweighs older values on other replicas.
func (v vnode) look(tx records, key []byte) (codec.Result, error) {
	r, ok := tx.Record(key)
	switch {
	case tx.Err() != nil:
		return codec.Result{}, tx.Err()
	case !ok:
		return codec.Result{}, nil
	case r.Deleted():
		return codec.Result{State: codec.Deleted, Stamp: r.Stamp}, nil
	}
	e, err := codec.ParseEnvelope(r.Value)
	switch {
	case err != nil:
		return codec.Result{}, err
	case e.Expired(unixMS(v.now())):
		return codec.Result{State: codec.Deleted, Stamp: r.Stamp}, nil
	}
	return codec.Result{State: codec.Live, Stamp: r.Stamp, Expires: e.Expires, Value: e.Value}, nil
}

func (v vnode) cover(tx records, req []byte, emit func(vnodes.Item) error) error {
	c, err := codec.ParseCover(req)
	if err != nil {
		return err
	}
	if !c.Touches(uint16(v.partition)) {
		return nil
	}
	prefix, now := codec.RecordKey(c.Bucket, nil), unixMS(v.now())
	var failed error
	tx.Ascend(prefix, func(key []byte, r vnodes.Record) bool {
		if !bytes.HasPrefix(key, prefix) {
			return false
		}
		if !c.Wants(key) {
			return true
		}
		it, err := item(&c, key[len(prefix):], &r, now)
		if err == nil {
			err = emit(it)
		}
		failed = err
		return err == nil
	})
	if failed != nil {
		return failed
	}
	return tx.Err()
}

// item makes of a record what a coverage query collects.
func item(c *codec.Cover, key []byte, r *vnodes.Record, now uint64) (vnodes.Item, error) {
	it := vnodes.Item{Key: key, Stamp: r.Stamp, Deleted: r.Deleted()}
	if it.Deleted {
		return it, nil
	}
	e, err := codec.ParseEnvelope(r.Value)
	if err != nil {
		return it, err
	}
	it.Deleted = e.Expired(now)
	if !it.Deleted && c.Op == codec.CoverValues {
		it.Value = e.Value
	}
	return it, nil
}

// unixMS is t in the unit in which values expire.
func unixMS(t time.Time) uint64 { return uint64(max(t.UnixMilli(), 0)) }
