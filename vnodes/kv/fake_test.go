package kv

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const fakeQ = 8

// fakeCluster runs the vnode's own code on maps: one copy of each partition,
// whatever n says, and refuses what a real cluster of n replicas refuses.
type fakeCluster struct {
	n    int
	ring *ring.Ring

	mu             sync.Mutex
	parts          [fakeQ]map[string]vnodes.Record
	time           uint64
	clock          time.Time
	keeps          bool                                       // siblings, in all buckets
	actor, settled uint64                                     // what Tx says
	calls          int                                        // commands and queries
	down           map[ring.Partition]bool                    // cannot be covered
	refuse         func(op wire.Op, c *wire.Call) error       // may be nil
	before         func(ctx context.Context, call *wire.Call) // runs without mu; may be nil
}

func newFake(n int) *fakeCluster {
	f := &fakeCluster{n: n, ring: ring.New(fakeQ, n, "aaaaaaaaaaaaaaaa"), clock: time.UnixMilli(1_000_000), down: map[ring.Partition]bool{}}
	for p := range f.parts {
		f.parts[p] = map[string]vnodes.Record{}
	}
	return f
}

func (f *fakeCluster) kv() *KV { return New(f, func() int { return f.n }, f.siblings) }

// siblings is changed only while nothing runs.
func (f *fakeCluster) siblings(string) bool { return f.keeps }

func (f *fakeCluster) Ring() *ring.Ring { return f.ring }

func (f *fakeCluster) NodeName(n ring.NodeID) string { return "n1" }

func (f *fakeCluster) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clock
}

func (f *fakeCluster) advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clock = f.clock.Add(d)
}

func (f *fakeCluster) vnode(p ring.Partition) vnode {
	clock := f.clock
	return vnode{partition: p, node: f.ring.Owner(p), siblings: f.siblings, now: func() time.Time { return clock }}
}

// Queries runs the calls at the same time, as a cluster does.
func (f *fakeCluster) Queries(ctx context.Context, service string, calls []wire.Call, each func(int, []byte, error)) {
	replies, errs := make([][]byte, len(calls)), make([]error, len(calls))
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() { replies[i], errs[i] = f.Query(ctx, service, calls[i]) })
	}
	wg.Wait()
	for i := range calls {
		each(i, replies[i], errs[i])
	}
}

func (f *fakeCluster) call(ctx context.Context, op wire.Op, c *wire.Call, run func(vnode, *fakeTx) ([]byte, error)) ([]byte, error) {
	if f.before != nil {
		f.before(ctx, c)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.refuse != nil {
		if err := f.refuse(op, c); err != nil {
			return nil, err
		}
	}
	p := ring.Locate(ring.HashKey(c.Bucket, c.Key), fakeQ)
	tx := &fakeTx{f: f, records: f.parts[p], bucket: c.Bucket, key: c.Key, id: c.ID}
	return run(f.vnode(p), tx)
}

func (f *fakeCluster) Command(ctx context.Context, service string, c wire.Call) ([]byte, error) {
	return f.call(ctx, wire.OpCommand, &c, func(v vnode, tx *fakeTx) ([]byte, error) {
		blind := v.Blind(c.Body)
		if blind != (c.Flags&wire.CallBlind != 0) {
			return nil, wire.Errorf(wire.BadRequest, "the blind flag lies")
		}
		reply, err := v.command(tx, c.Body)
		if err == nil {
			maps.Copy(tx.records, tx.writes)
		}
		return reply, err
	})
}

func (f *fakeCluster) Query(ctx context.Context, service string, c wire.Call) ([]byte, error) {
	return f.call(ctx, wire.OpQuery, &c, func(v vnode, tx *fakeTx) ([]byte, error) {
		reply, err := v.query(tx, c.Body)
		if err != nil {
			return nil, err
		}
		return v.Resolve(c.Body, [][]byte{reply})
	})
}

func (f *fakeCluster) Cover(ctx context.Context, service string, body []byte, r wire.Quorum,
	emit func(ring.Partition, ring.NodeID, *wire.Item) error,
) (bool, []ring.Partition, error) {
	var missing []ring.Partition
	for p := range f.parts {
		p := ring.Partition(p)
		f.mu.Lock()
		down, v := f.down[p], f.vnode(p)
		tx := &fakeTx{f: f, records: maps.Clone(f.parts[p])}
		f.mu.Unlock()
		if down {
			missing = append(missing, p)
			continue
		}
		err := v.cover(tx, body, func(it vnodes.Item) error {
			if it.Deleted {
				return nil
			}
			return emit(p, f.ring.Owner(p), &it)
		})
		if err != nil {
			return false, missing, err
		}
	}
	return len(missing) == 0, missing, ctx.Err()
}

// fakeTx is a *vnodes.Tx on a map.
type fakeTx struct {
	f       *fakeCluster
	records map[string]vnodes.Record
	writes  map[string]vnodes.Record
	bucket  string
	key     []byte
	id      uint64 // of the call
}

func (t *fakeTx) Bucket() string { return t.bucket }
func (t *fakeTx) Key() []byte    { return t.key }
func (t *fakeTx) Err() error     { return nil }

func (t *fakeTx) Record(key []byte) (vnodes.Record, bool) {
	r, ok := t.records[string(key)]
	return r, ok
}

func (t *fakeTx) Held(key []byte) (vnodes.Record, bool) { return t.Record(key) }
func (t *fakeTx) Actor() uint64                         { return max(t.f.actor, 1) }
func (t *fakeTx) Settled() uint64                       { return t.f.settled }

func (t *fakeTx) NewStamp(have vnodes.Stamp) vnodes.Stamp {
	t.f.time = max(t.f.time, have.Time) + 1
	return wire.Stamp{Time: t.f.time, Node: 1, ID: t.id}
}

func (t *fakeTx) Bury(key, value []byte) {
	t.write(key, vnodes.Record{Flags: vnodes.FlagTombstone, Value: slices.Clone(value)})
}

func (t *fakeTx) Put(key, value []byte) { t.write(key, vnodes.Record{Value: slices.Clone(value)}) }
func (t *fakeTx) Delete(key []byte)     { t.write(key, vnodes.Record{Flags: vnodes.FlagTombstone}) }

func (t *fakeTx) write(key []byte, r vnodes.Record) {
	if t.writes == nil {
		t.writes = map[string]vnodes.Record{}
	}
	r.Stamp = t.NewStamp(t.records[string(key)].Stamp)
	t.writes[string(key)] = r
}

func (t *fakeTx) Ascend(from []byte, fn func([]byte, vnodes.Record) bool) {
	keys := slices.Sorted(maps.Keys(t.records))
	for _, k := range keys {
		if strings.Compare(k, string(from)) >= 0 && !fn([]byte(k), t.records[k]) {
			return
		}
	}
}

// reading reports whether c is a command that reads.
func reading(op wire.Op, c *wire.Call) bool { return op == wire.OpCommand && !codec.Blind(c.Body) }
