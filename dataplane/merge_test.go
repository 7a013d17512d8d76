package dataplane

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// listSource yields a list, then err. It overwrites each item before the next, as
// the rules allow.
type listSource struct {
	list []wire.Item
	err  error
	buf  wire.Item
}

func (s *listSource) next() (*wire.Item, error) {
	if len(s.list) == 0 {
		return nil, s.err
	}
	it := s.list[0]
	s.list = s.list[1:]
	s.buf.Key = append(s.buf.Key[:0], it.Key...)
	s.buf.Value = append(s.buf.Value[:0], it.Value...)
	s.buf.Stamp, s.buf.Deleted = it.Stamp, it.Deleted
	return &s.buf, nil
}

func (*listSource) close() {}

func sorted(m map[string]wire.Item) []wire.Item {
	var l []wire.Item
	for _, k := range slices.Sorted(maps.Keys(m)) {
		l = append(l, m[k])
	}
	return l
}

// Whatever lies in the sources and wherever they break, going on from the position
// reached hands over every key once, in order, in its newest version.
func TestMergeProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.IntRange(1, 5).Draw(t, "sources")
		newest := make(map[string]wire.Item)
		lists := make([][]wire.Item, k)
		for i := range k {
			mine := make(map[string]wire.Item)
			for range rapid.IntRange(0, 12).Draw(t, "items") {
				key := rapid.StringMatching(`[a-c]{0,2}`).Draw(t, "key")
				it := wire.Item{Key: []byte(key), Deleted: rapid.Bool().Draw(t, "deleted")}
				it.Stamp.Time = rapid.Uint64Range(1, 4).Draw(t, "time")
				it.Stamp.Node = uint64(i) // no two versions are equal
				it.Value = fmt.Appendf(nil, "%d.%d", it.Stamp.Time, i)
				mine[key] = it
			}
			lists[i] = sorted(mine)
			for key, it := range mine {
				if have, ok := newest[key]; !ok || it.Stamp.Compare(have.Stamp) > 0 {
					newest[key] = it
				}
			}
		}
		var got []wire.Item
		var at position
		for broken := true; broken; {
			sources := make([]source, k)
			broken = false
			for i := range sources {
				s := &listSource{list: lists[i], err: io.EOF}
				if rapid.IntRange(0, 3).Draw(t, "breaks") == 0 {
					s.list, s.err = s.list[:rapid.IntRange(0, len(s.list)).Draw(t, "at")], io.ErrUnexpectedEOF
				}
				sources[i] = s
			}
			err := merge(sources, &at, nil, func(_ int, it *wire.Item) error {
				got = append(got, wire.Item{Key: bytes.Clone(it.Key), Stamp: it.Stamp, Deleted: it.Deleted, Value: bytes.Clone(it.Value)})
				return nil
			})
			if err != nil {
				if _, ok := errors.AsType[*sourceError](err); !ok {
					t.Fatal(err)
				}
				broken = true
			}
		}
		equal := func(a, b wire.Item) bool {
			return bytes.Equal(a.Key, b.Key) && a.Stamp == b.Stamp && a.Deleted == b.Deleted && bytes.Equal(a.Value, b.Value)
		}
		if want := sorted(newest); !slices.EqualFunc(got, want, equal) {
			t.Fatalf("got %v\nwant %v", got, want)
		}
	})
}

// What was not delivered is not passed: the next attempt brings it again.
func TestMergeStopsWhereDeliverFails(t *testing.T) {
	list := []wire.Item{{Key: []byte("a")}, {Key: []byte("b")}, {Key: []byte("c")}}
	var at position
	stop := errors.New("stop")
	err := merge([]source{&listSource{list: list, err: io.EOF}}, &at, nil, func(_ int, it *wire.Item) error {
		if string(it.Key) == "b" {
			return stop
		}
		return nil
	})
	if err != stop || string(at.key) != "a" {
		t.Fatalf("%v at %q", err, at.key)
	}
}

// With a rule, all versions of a key make one item, whichever of the sources they lie in.
func TestMergeCombines(t *testing.T) {
	item := func(key, value string, time uint64) wire.Item {
		return wire.Item{Key: []byte(key), Value: []byte(value), Stamp: wire.Stamp{Time: time}}
	}
	sources := []source{
		&listSource{list: []wire.Item{item("a", "1", 1), item("b", "1", 3)}, err: io.EOF},
		&listSource{list: []wire.Item{item("b", "2", 2), item("c", "2", 1)}, err: io.EOF},
		&listSource{list: []wire.Item{item("a", "3", 3), item("b", "3", 1)}, err: io.EOF},
	}
	rule := func(a, b *wire.Item) (wire.Item, error) { return joined(nil, a, b) }
	var got []string
	var at position
	err := merge(sources, &at, rule, func(from int, it *wire.Item) error {
		got = append(got, fmt.Sprintf("%d %s=%s", from, it.Key, it.Value))
		return nil
	})
	if want := []string{"2 a=1 3", "0 b=1 2 3", "1 c=2"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

func BenchmarkMerge(b *testing.B) {
	var list []wire.Item
	for i := range 1000 {
		list = append(list, wire.Item{Key: fmt.Appendf(nil, "key%06d", i), Value: make([]byte, 100), Stamp: wire.Stamp{Time: 1}})
	}
	b.ReportAllocs()
	for b.Loop() {
		var at position
		sources := []source{&listSource{list: list, err: io.EOF}, &listSource{list: list, err: io.EOF}}
		if err := merge(sources, &at, nil, func(int, *wire.Item) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
