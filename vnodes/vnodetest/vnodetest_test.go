package vnodetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
	"github.com/ringcore/ringcore/vnodes/kv"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

func TestKV(t *testing.T) {
	for _, n := range []int{1, 3} {
		for name, siblings := range map[string]func(string) bool{"Last": nil, "Siblings": func(string) bool { return true }} {
			t.Run(fmt.Sprint(name, n), func(t *testing.T) { Run(t, kv.Service(n, "000000000000000a", siblings), kvInputs()) })
		}
	}
}

// kvInputs are commands of every kind, with contexts and without.
func kvInputs() Inputs {
	var in Inputs
	// What the first copy has taken in the first seconds of the suite's clock.
	until := uint64(time.Date(2026, 1, 1, 0, 0, 15, 0, time.UTC).UnixMilli()) << 16
	seen := codec.Context{Base: wire.Stamp{Time: 1}, Dots: string(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, 1), until))}
	call := func(key int, body []byte) wire.Call {
		return wire.Call{Bucket: "b", Key: []byte{'k', byte('0' + key)}, Body: body}
	}
	command := func(key int, c codec.Command) {
		in.Commands = append(in.Commands, call(key, codec.AppendCommand(nil, &c)))
	}
	for key := range 4 {
		for i := range 3 {
			command(key, codec.Command{Op: codec.OpPut, Value: fmt.Append(nil, "value", i)})
		}
		command(key, codec.Command{Op: codec.OpPut, Context: seen, Value: []byte("beside what has not been seen")})
		command(key, codec.Command{Op: codec.OpPutIf, Cond: codec.IfAbsent, Value: []byte("not stored")})
		command(key, codec.Command{Op: codec.OpTake})
		command(key, codec.Command{Op: codec.OpPutIf, Cond: codec.IfAbsent, Value: []byte("stored")})
		command(key, codec.Command{Op: codec.OpExpire, Expires: 1 << 60})
		command(key, codec.Command{Op: codec.OpDelete, Context: seen})
		if key%2 == 0 {
			command(key, codec.Command{Op: codec.OpDelete})
		}
	}
	for key := range 5 {
		for _, op := range []codec.QueryOp{codec.QueryGet, codec.QueryStat, codec.QueryPing} {
			in.Queries = append(in.Queries, call(key, codec.AppendQuery(nil, op)))
		}
	}
	for _, op := range []codec.CoverOp{codec.CoverKeys, codec.CoverValues} {
		in.Covers = append(in.Covers, codec.AppendCover(nil, &codec.Cover{Op: op, Bucket: "b"}))
	}
	return in
}

func TestMerger(t *testing.T) { Run(t, of(3, set{}), words("x", "y", "z", "x", "y")) }

func TestCoverMerger(t *testing.T) {
	Run(t, of(3, coverMerger{rule: unionItem}), words("x", "y", "z", "x", "y"))
}

func TestReader(t *testing.T) { Run(t, of(1, count{}), words("", "", "")) }

// of is a service of vnodes that have no state of their own.
func of(n int, v vnodes.Vnode) vnodes.Service {
	return vnodes.Service{Name: "tested", N: n, New: func(ring.Partition) vnodes.Vnode { return v }}
}

// words are commands with these bodies, all addressed to one key, and requests that read it.
func words(bodies ...string) Inputs {
	in := Inputs{Queries: []wire.Call{{Key: []byte("key")}}, Covers: [][]byte{[]byte("all")}}
	for _, b := range bodies {
		in.Commands = append(in.Commands, wire.Call{Key: []byte("key"), Body: []byte(b)})
	}
	return in
}

// every wrong vnode is found out by the check named, with a message that holds what is said.
func TestWrongVnodes(t *testing.T) {
	for _, tt := range []struct {
		check   string
		service vnodes.Service
		says    string
	}{
		{"Restart", vnodes.Service{Name: "tested", N: 1, New: func(ring.Partition) vnodes.Vnode { return new(forgetful) }}, "must be in the records"},
		{"Restart", vnodes.Service{Name: "tested", N: 1, New: func(ring.Partition) vnodes.Vnode { return new(keeper) }}, "must be in the records"},
		{"Restart", of(3, count{}), "must either be a BlindCommander"},
		{"Query", of(1, writingQuery{}), "read-only"},
		{"Query", vnodes.Service{Name: "tested", N: 1, New: func(ring.Partition) vnodes.Vnode { return new(countingQuery) }}, "must not change anything"},
		{"Cover", of(3, cover{order: slices.Reverse[[]vnodes.Item]}), "in key order"},
		{"Cover", of(3, cover{twice: true}), "comes twice"},
		{"Cover", of(3, cover{unstamped: true}), "stamp of a record"},
		{"Cover", of(3, cover{undead: true}), "does not say so"},
		{"Cover", of(3, cover{forgets: true}), "must be emitted as deleted"},
		{"CoverStops", of(3, cover{goesOn: true}), "called again"},
		{"CoverStops", of(3, cover{noError: true}), "instead of its error"},
		{"Merge", of(3, merger{concatenate}), "not idempotent"},
		{"Merge", of(3, merger{latecomer}), "not commutative"},
		{"Merge", of(3, merger{average}), "not associative"},
		{"Merge", of(3, merger{scribble}), "changes what it was given"},
		{"Merge", of(3, merger{greatest}), "has replaced it by"},
		{"Merge", of(3, stamper{older: true}), "not that of the newer one"},
		{"Merge", of(3, stamper{}), "not that of the newer one"},
		{"Merge", of(3, moody{}), "must depend on nothing else"},
		{"Merge", of(3, reviver{}), "has replaced it by"},
		{"Replicas", of(3, lateSet{}), "in another order"},
		{"Replicas", of(3, lastWord{}), "must be a CoverMerger"},
		{"Replicas", of(3, coverMerger{rule: func(a, _ vnodes.Item) vnodes.Item { return a }}), "order and repetition"},
		{"Replicas", of(3, coverMerger{rule: newestItem}), "do not make those of the merged one"},
		{"Replicas", of(3, sumResolver{}), "but the merged replica answers"},
		{"Resolve", of(3, resolver{func(replies [][]byte) []byte { return replies[0] }}), "order and repetition"},
		{"Resolve", of(3, resolver{func(replies [][]byte) []byte { return bytes.Join(replies, nil) }}), "order and repetition"},
		{"Blind", of(3, sighted{}), "says that it is blind"},
		{"Malformed", of(1, fragile{}), "panicked"},
		{"Malformed", of(1, uncoded{}), "*wire.Error"},
	} {
		t.Run(tt.check+"/"+tt.says, func(t *testing.T) {
			in := words("x", "y", "delete x", "z", "zz", "delete z")
			s := &suite{service: tt.service, in: in, tempDir: t.TempDir, log: slog.New(slog.DiscardHandler)}
			i := slices.IndexFunc(checks(), func(c check) bool { return c.name == tt.check })
			err := checks()[i].run(s)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("%s says %v, want something with %q", tt.check, err, tt.says)
			}
			t.Log(err)
		})
	}
}

// count is right: it counts its commands.
type count struct{}

func (count) Command(tx *vnodes.Tx, _ []byte) ([]byte, error) {
	old, _ := tx.Get(tx.Key())
	n, _ := strconv.Atoi(string(old))
	next := strconv.AppendInt(nil, int64(n+1), 10)
	tx.Put(tx.Key(), next)
	return next, nil
}

func (count) Query(tx *vnodes.Tx, _ []byte) ([]byte, error) {
	value, _ := tx.Get(tx.Key())
	return value, nil
}

func (count) Cover(tx *vnodes.Tx, _ []byte, emit func(vnodes.Item) error) error {
	return emitAll(tx, emit)
}

func emitAll(tx *vnodes.Tx, emit func(vnodes.Item) error) error {
	var err error
	tx.Ascend(nil, func(key []byte, r vnodes.Record) bool {
		err = emit(vnodes.Item{Key: key, Stamp: r.Stamp, Deleted: r.Deleted(), Value: r.Value})
		return err == nil
	})
	return err
}

// set is right: a growing set of words, of which each replica may have seen others.
type set struct{ count }

func (set) Command(tx *vnodes.Tx, cmd []byte) ([]byte, error) {
	old, _ := tx.Get(tx.Key())
	tx.Put(tx.Key(), union(old, cmd))
	return nil, nil
}

// MergeItems implements vnodes.CoverMerger.
func (set) MergeItems(_ []byte, a, b vnodes.Item) (vnodes.Item, error) { return unionItem(a, b), nil }

func unionItem(a, b vnodes.Item) vnodes.Item {
	a.Value = union(a.Value, b.Value)
	return a
}

func newestItem(a, b vnodes.Item) vnodes.Item {
	if a.Stamp.Compare(b.Stamp) > 0 {
		return a
	}
	return b
}

func (set) Merge(_ []byte, have, incoming vnodes.Record) vnodes.Record {
	merged := have
	if incoming.Stamp.Compare(have.Stamp) > 0 {
		merged = incoming
	}
	merged.Value = union(have.Value, incoming.Value)
	return merged
}

// union is the words of a and b, in order.
func union(a, b []byte) []byte {
	words := bytes.Fields(append(append(bytes.Clone(a), ' '), b...))
	slices.SortFunc(words, bytes.Compare)
	return bytes.Join(slices.CompactFunc(words, bytes.Equal), []byte(" "))
}
