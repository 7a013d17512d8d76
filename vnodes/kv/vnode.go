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
// the node that registers it, whose id answers to pings. siblings tells in which
// buckets concurrent values are kept; in none if it is nil.
func Service(n int, self ring.NodeID, siblings func(bucket string) bool) vnodes.Service {
	if siblings == nil {
		siblings = func(string) bool { return false }
	}
	return vnodes.Service{
		Name: codec.Service,
		N:    n,
		New: func(p ring.Partition) vnodes.Vnode {
			return vnode{partition: p, node: self, siblings: siblings, now: time.Now}
		},
	}
}

// vnode serves one partition. It has no state of its own beside its records.
type vnode struct {
	partition ring.Partition
	node      ring.NodeID
	siblings  func(bucket string) bool
	now       func() time.Time // for expiry only; stamps are the toolkit's
}

var (
	_ vnodes.Querier         = vnode{}
	_ vnodes.Coverer         = vnode{}
	_ vnodes.Merger          = vnode{}
	_ vnodes.Superseder      = vnode{}
	_ vnodes.Resolver        = vnode{}
	_ vnodes.BlindCommander  = vnode{}
	_ vnodes.PromptCommander = vnode{}
	_ vnodes.Placer          = vnode{}
	_ vnodes.Restorer        = vnode{}
)

// records is what the vnode needs of a *vnodes.Tx.
type records interface {
	reader
	Held(key []byte) (vnodes.Record, bool)
	Put(key, value []byte)
	Delete(key []byte)
	Bury(key, value []byte)
	Actor() uint64
	NewStamp(have vnodes.Stamp) vnodes.Stamp
	Settled() uint64
}

// reader is what queries need.
type reader interface {
	Bucket() string
	Key() []byte
	Record(key []byte) (vnodes.Record, bool)
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

// Prompt implements vnodes.PromptCommander: none of the commands waits for anything.
func (v vnode) Prompt([]byte) bool { return true }

// Merge implements vnodes.Merger.
func (v vnode) Merge(_ []byte, have, incoming vnodes.Record) vnodes.Record {
	m := codec.Merge(stored(&have), stored(&incoming))
	r := vnodes.Record{Stamp: m.Stamp, Value: m.Value}
	if m.Deleted {
		r.Flags = vnodes.FlagTombstone
	}
	return r
}

// Superseded implements vnodes.Superseder.
func (v vnode) Superseded(_ []byte, have, fresh vnodes.Record) bool {
	h, f := stored(&have), stored(&fresh)
	return codec.Supersedes(&h, &f)
}

func stored(r *vnodes.Record) codec.Stored {
	return codec.Stored{Stamp: r.Stamp, Deleted: r.Deleted(), Value: r.Value}
}

// MergeItems makes one coverage item of those of two replicas.
func (v vnode) MergeItems(_ []byte, a, b vnodes.Item) (vnodes.Item, error) {
	return codec.MergeListed(&a, &b)
}

// Resolve implements vnodes.Resolver: the newest result wins, versions are merged;
// any pong will do.
func (v vnode) Resolve(q []byte, replies [][]byte) ([]byte, error) {
	op, err := codec.ParseQuery(q)
	if err != nil {
		return nil, err
	}
	if op == codec.QueryPing && len(replies) > 0 {
		return replies[0], nil
	}
	return codec.Resolve(replies)
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
	keeps := v.siblings(tx.Bucket())
	switch {
	case c.Op == codec.OpPut && !keeps:
		tx.Put(key, codec.PlainValue(cmd))
		return nil, nil
	case c.Op == codec.OpPut:
		return nil, v.add(tx, key, &c)
	case c.Op == codec.OpDelete && (!keeps || c.Context.IsZero()):
		tx.Delete(key)
		return nil, nil
	case c.Op == codec.OpDelete:
		return nil, v.forget(tx, key, c.Context)
	}
	old, err := v.look(tx, key)
	if err != nil {
		return nil, err
	}
	switch c.Op {
	case codec.OpTake:
		if old.Exists() {
			tx.Delete(key)
		}
		return codec.AppendResult(nil, &old), nil
	case codec.OpPutIf:
		return v.putIf(tx, key, &c, &old)
	default: // OpExpire: ParseCommand knows no other
		return v.expire(tx, key, &c, &old)
	}
}

func (v vnode) putIf(tx records, key []byte, c *codec.Command, old *codec.Result) ([]byte, error) {
	out := codec.Outcome{Old: *old}
	if c.Meets(old) {
		out.Applied = true
		if err := v.replace(tx, key, c, old); err != nil {
			return nil, err
		}
	}
	return codec.AppendOutcome(nil, &out), nil
}

func (v vnode) expire(tx records, key []byte, c *codec.Command, old *codec.Result) ([]byte, error) {
	out := codec.Outcome{Old: *old}
	if values := old.Values(); len(values) > 0 && (c.Expires != 0 || values[0].Expires != 0) {
		out.Applied = true
		c.Value = values[0].Value
		if err := v.replace(tx, key, c, old); err != nil {
			return nil, err
		}
	}
	return codec.AppendOutcome(nil, &out), nil
}

// replace stores c's value in the place of old, which is all that this copy holds,
// and of what c's context has seen.
func (v vnode) replace(tx records, key []byte, c *codec.Command, old *codec.Result) error {
	if v.siblings(tx.Bucket()) {
		if c.Context.IsZero() {
			c.Context = old.Context()
		}
		return v.add(tx, key, c)
	}
	if _, err := v.after(tx, old.Stamp, c.Context); err != nil {
		return err
	}
	tx.Put(key, codec.AppendEnvelope(nil, &codec.Envelope{Expires: c.Expires, Value: c.Value}))
	return nil
}

func (v vnode) query(tx reader, q []byte) ([]byte, error) {
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
		r.Object.Strip()
	}
	return codec.AppendResult(make([]byte, 0, 1+wire.StampSize+9+len(r.Value)), &r), nil
}

// look reads the record under key. An expired value is a deleted one, with its
// stamp, so that it outweighs older values on other replicas.
func (v vnode) look(tx reader, key []byte) (codec.Result, error) {
	r, ok := tx.Record(key)
	s := stored(&r)
	switch {
	case tx.Err() != nil:
		return codec.Result{}, tx.Err()
	case !ok:
		return codec.Result{}, nil
	case s.IsObject():
		o, err := s.Object()
		o.Expire(unixMS(v.now()))
		return codec.Result{State: codec.Versions, Stamp: r.Stamp, Object: o}, err
	case s.Deleted:
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

func (v vnode) cover(tx reader, req []byte, emit func(vnodes.Item) error) error {
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
		it, s := vnodes.Item{Key: key[len(prefix):], Stamp: r.Stamp}, stored(&r)
		if it.Value, it.Deleted, failed = codec.ListStored(c.Op, &s, now); failed == nil {
			failed = emit(it)
		}
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	return tx.Err()
}

// unixMS is t in the unit in which values expire.
func unixMS(t time.Time) uint64 { return uint64(max(t.UnixMilli(), 0)) }
