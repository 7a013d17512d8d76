package vnodes

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// longest merges by the longer value, then by its bytes: another rule than the stamp's.
type longest struct{ plain }

func (longest) Merge(_ []byte, have, incoming Record) Record {
	if d := len(incoming.Value) - len(have.Value); d > 0 || d == 0 && bytes.Compare(incoming.Value, have.Value) > 0 {
		return incoming
	}
	return have
}

// Whatever replicas hold, the effects make them equal: each holds the merge of all
// versions, and no more is sent than each lacks.
func TestReconcileMakesReplicasEqual(t *testing.T) {
	for _, user := range []Vnode{plain{}, longest{}} {
		svc, err := newService(Service{Name: "kv", N: 1, New: func(ring.Partition) Vnode { return user }}, simQ)
		if err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(t *rapid.T) {
			replicas := make([]map[string]Record, rapid.IntRange(2, 5).Draw(t, "replicas"))
			records := make([][]byte, len(replicas))
			for i := range replicas {
				replicas[i] = rapid.MapOf(rapid.SampledFrom([]string{"a", "b", "c"}), rapid.Custom(func(t *rapid.T) Record {
					at := rapid.Uint64Range(1, 4).Draw(t, "time") // one stamp, one version
					return Record{Stamp: Stamp{Time: at}, Value: bytes.Repeat([]byte{byte(at)}, int(5-at))}
				})).Draw(t, "holds")
				records[i] = AppendWrites(nil, writesOf(replicas[i]))
			}
			effects, err := svc.reconcile(records)
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range effects {
				if e == nil {
					continue
				}
				writes, err := ParseWrites(e)
				if err != nil {
					t.Fatal(err)
				}
				for _, w := range writes {
					have, ok := replicas[i][string(w.Key)]
					if ok && sameRecord(&have, &w.Record) {
						t.Fatalf("replica %d is sent what it has: %q", i, w.Key)
					}
					if ok {
						w.Record = svc.merge(w.Key, have, w.Record)
					}
					replicas[i][string(w.Key)] = w.Record
				}
			}
			for i := range replicas {
				if !maps.EqualFunc(replicas[i], replicas[0], func(a, b Record) bool { return sameRecord(&a, &b) }) {
					t.Fatalf("replica %d: %v, replica 0: %v", i, replicas[i], replicas[0])
				}
			}
		})
	}
}

func writesOf(m map[string]Record) []Write {
	var writes []Write
	for _, key := range slices.Sorted(maps.Keys(m)) {
		writes = append(writes, Write{Key: []byte(key), Record: m[key]})
	}
	return writes
}

func TestReconcileRefuses(t *testing.T) {
	_, n := oneNode(t, 3, func(ring.Partition) Vnode { return &mergingVnode{} })
	m, id := n.m.Load(), wire.ServiceID("kv")
	if _, err := m.Reconcile(id+1, 0, nil); !errors.Is(err, &wire.Error{Code: wire.BadRequest}) {
		t.Errorf("no such service: %v", err)
	}
	if _, err := m.Reconcile(id, 0, [][]byte{{9}}); !errors.Is(err, wire.ErrBody) {
		t.Errorf("no records: %v", err)
	}
	record := func(v string) []byte {
		return AppendWrites(nil, []Write{{Key: []byte("a"), Record: Record{Value: []byte(v)}}})
	}
	if _, err := m.Reconcile(id, 0, [][]byte{record("x"), record("panic")}); !errors.Is(err, errPanicked) {
		t.Errorf("a panic in Merge: %v", err)
	}
}

// A read for records tells what the query has read, tombstones too, whatever the query
// makes of it; not what is not there, nor what is not durable.
func TestReadForRecords(t *testing.T) {
	n, s := scriptedNode(t)
	n.run(s, func(tx *Tx) ([]byte, error) {
		tx.Put([]byte("x"), []byte("1"))
		tx.Put([]byte("y"), []byte("2"))
		tx.Delete([]byte("z"))
		return nil, nil
	})
	ask := func(query func(tx *Tx) ([]byte, error)) answer {
		s.query = query
		r := request(wire.OpRead, n.w.ring(), "kv", "a", "")
		r.Flags = wire.FlagRecords
		return n.ask(r)
	}
	got := ask(func(tx *Tx) ([]byte, error) {
		tx.Get([]byte("x"))
		tx.Get([]byte("z"))
		tx.Get([]byte("nothing"))
		return []byte("reply"), wire.Errorf(wire.NotFound, "says the service")
	})
	writes, err := ParseWrites(got.body)
	if err != nil || got.code != wire.OK || len(writes) != 2 || string(writes[0].Record.Value) != "1" ||
		string(writes[1].Key) != "z" || !writes[1].Record.Deleted() || writes[1].Record.Stamp.IsZero() {
		t.Errorf("%v, %v, %v", got, writes, err)
	}
	if got := ask(func(*Tx) ([]byte, error) { panic("as told") }); got.code != wire.Internal {
		t.Errorf("a panic: %v", got)
	}
	if got := ask(func(tx *Tx) ([]byte, error) { tx.Put([]byte("x"), nil); return nil, nil }); got.code == wire.OK {
		t.Errorf("a query that writes: %v", got)
	}
}

// A read whose deadline has passed is not done.
func TestLateReadIsDropped(t *testing.T) {
	n, s := scriptedNode(t)
	for i := range 2 {
		ran := false
		s.query = func(*Tx) ([]byte, error) { ran = true; return nil, nil }
		r := request(wire.OpRead, n.w.ring(), "kv", "a", "")
		if i == 1 { // the first has opened the vnode
			r.Deadline = time.Now().Add(-time.Second)
		}
		if got := n.ask(r); ran != (i == 0) || i == 1 && got.code != wire.Deadline {
			t.Errorf("%v, ran %v", got, ran)
		}
	}
}
