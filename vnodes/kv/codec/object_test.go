package codec

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// event is a write of the model: a value with what its writer had seen.
type event struct {
	plain bool // it replaces all before it, by the clock
	value string
	dot   Dot
	stamp wire.Stamp
	kills map[*event]bool // what the context covers
}

// copyOf is one copy of a key, and in events what the model knows of it.
type copyOf struct {
	actor  uint64
	clock  uint64
	record Stored
	events map[*event]bool
}

func (c *copyOf) tick() uint64 {
	c.clock = max(c.clock, c.record.Stamp.Time) + 1
	return c.clock
}

// world is some copies of a key on which writes of all kinds run in any order.
type world struct {
	t       *rapid.T
	copies  []*copyOf
	records []Stored // all that ever was
	writes  uint64
}

func newWorld(t *rapid.T) *world {
	w := &world{t: t}
	for i := range uint64(3) {
		w.copies = append(w.copies, &copyOf{actor: 100 + i, clock: rapid.Uint64Range(0, 6).Draw(t, "clock"), record: Stored{Deleted: true}, events: map[*event]bool{}})
	}
	return w
}

func (w *world) pick() *copyOf { return rapid.SampledFrom(w.copies).Draw(w.t, "copy") }

// store makes r, with e in it, the record of c.
func (w *world) store(c *copyOf, r Stored, e *event) {
	c.record = r
	if e != nil {
		c.events[e] = true
	}
	w.records = append(w.records, r)
}

func (w *world) object(r *Stored) Object {
	o, err := r.Object()
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

// read is what a reader of some copies sees, and the events that it knows of.
func (w *world) read() (Context, map[*event]bool) {
	r := Stored{Deleted: true}
	known := map[*event]bool{}
	for range rapid.IntRange(0, 2).Draw(w.t, "reads") {
		c := w.pick()
		r = Merge(r, c.record)
		for e := range c.events {
			known[e] = true
			for k := range e.kills { // who has seen e has seen that these are gone
				known[k] = true
			}
		}
	}
	o := w.object(&r)
	return o.Context(), known
}

// write runs one write at a copy.
func (w *world) write() {
	c := w.pick()
	w.writes++
	id := w.writes
	switch kind := rapid.IntRange(0, 4).Draw(w.t, "kind"); kind {
	case 0, 1: // the last write wins, or a delete of that kind
		e := &event{plain: true, stamp: wire.Stamp{Time: c.tick(), Node: c.actor, ID: id}}
		r := Stored{Stamp: e.stamp, Deleted: kind == 1}
		if kind == 0 {
			e.value = fmt.Sprint("plain ", id)
			r.Value = AppendEnvelope(nil, &Envelope{Value: []byte(e.value)})
		}
		w.store(c, r, e)
	default:
		seen, known := w.read()
		c.clock = max(c.clock, seen.Newest())
		o := w.object(&c.record)
		o.Forget(seen)
		e := &event{kills: known, dot: Dot{c.actor, c.tick()}}
		if kind > 2 {
			e.value = fmt.Sprint("sibling ", id)
			o.Put(Sibling{Dot: e.dot, ID: id, Envelope: Envelope{Value: []byte(e.value)}})
		}
		w.store(c, StoredObject(wire.Stamp{Time: c.tick(), Node: c.actor, ID: id}, &o), e)
	}
}

// replicate brings what one copy has to another.
func (w *world) replicate() {
	from, to := w.pick(), w.pick()
	w.store(to, Merge(to.record, from.record), nil)
	for e := range from.events {
		to.events[e] = true
	}
	to.clock = max(to.clock, to.record.Stamp.Time)
}

// visible is what the model says that a copy with these events shows.
func visible(events map[*event]bool) []string {
	dead := map[*event]bool{}
	var base *event
	for e := range events {
		for k := range e.kills {
			dead[k] = true
		}
		if e.plain && (base == nil || e.stamp.Compare(base.stamp) > 0) {
			base = e
		}
	}
	// What a killer had seen hides too, although its own copy may not have it.
	for e := range dead {
		if e.plain && (base == nil || e.stamp.Compare(base.stamp) > 0) {
			base = e
		}
	}
	var values []string
	for e := range events {
		hidden := base != nil && (e.plain && e != base || !e.plain && e.dot.Time <= base.stamp.Time)
		if !hidden && !dead[e] && e.value != "" {
			values = append(values, e.value)
		}
	}
	slices.Sort(values)
	return values
}

func shown(o *Object) []string {
	var values []string
	for _, v := range o.Values() {
		values = append(values, string(v.Value))
	}
	slices.Sort(values)
	return values
}

// Whatever is written where, with what context and of which kind, every copy shows
// just what was written to it and not replaced since: a write is gone only if a
// writer had seen it, or a last write wins over it.
func TestObjectsShowWhatNobodyReplaced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "step") == 0 {
				w.replicate()
			} else {
				w.write()
			}
			for _, c := range w.copies {
				o := w.object(&c.record)
				if got, want := shown(&o), visible(c.events); !slices.Equal(got, want) {
					t.Fatalf("copy %d shows %q, want %q", c.actor, got, want)
				}
				if o.Empty() != c.record.Deleted {
					t.Fatalf("copy %d: deleted is %v, it shows %q", c.actor, c.record.Deleted, shown(&o))
				}
			}
		}
	})
}

func sameStored(a, b Stored) bool {
	return a.Stamp == b.Stamp && a.Deleted == b.Deleted && bytes.Equal(a.Value, b.Value)
}

// The laws of a merge hold for any mixture of plain records and objects, to the byte.
func TestMergeLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.write()
		for range rapid.IntRange(1, 15).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "replicate") {
				w.replicate()
			} else {
				w.write()
			}
		}
		draw := func(name string) Stored { return rapid.SampledFrom(w.records).Draw(t, name) }
		a, b, c := draw("a"), draw("b"), draw("c")
		if got := Merge(a, a); !sameStored(got, a) {
			t.Fatalf("not idempotent: %+v became %+v", a, got)
		}
		ab := Merge(a, b)
		if got := Merge(b, a); !sameStored(ab, got) {
			t.Fatalf("not commutative: %+v, %+v: %+v or %+v", a, b, ab, got)
		}
		left, right := Merge(ab, c), Merge(a, Merge(b, c))
		if !sameStored(left, right) {
			t.Fatalf("not associative: %+v, %+v, %+v: %+v or %+v", a, b, c, left, right)
		}
		// A listing of replicas comes to the same as their merge.
		o, listed := w.object(&left), w.list(c, w.list(a, b))
		if listed.Deleted != o.Empty() {
			t.Fatalf("listed as deleted: %v; the merge holds %q", listed.Deleted, shown(&o))
		} else if listed.Deleted {
			return
		}
		if values, err := ListedValues(listed.Value); err != nil || len(values) != len(o.Values()) {
			t.Fatalf("listed are %+v, %v; the merge holds %q", values, err, shown(&o))
		}
	})
}

// list is the coverage item of records, merged as replicas' items are.
func (w *world) list(a Stored, b any) wire.Item {
	item := func(r *Stored) wire.Item {
		value, deleted, err := ListStored(CoverValues, r, 0)
		if err != nil {
			w.t.Fatal(err)
		}
		return wire.Item{Stamp: r.Stamp, Deleted: deleted, Value: value}
	}
	x := item(&a)
	y, ok := b.(wire.Item)
	if r, stored := b.(Stored); stored {
		y = item(&r)
	} else if !ok {
		w.t.Fatal("neither")
	}
	merged, err := MergeListed(&x, &y)
	if err != nil {
		w.t.Fatal(err)
	}
	return merged
}

func TestWhatAWriteSupersedes(t *testing.T) {
	at := func(time uint64) wire.Stamp { return wire.Stamp{Time: time} }
	plain := func(time uint64) Stored { return Stored{Stamp: at(time), Value: []byte{0}} }
	object := func(base, dot uint64) Stored {
		o := Object{Base: Base{Stamp: at(base), Live: base > 0}}
		o.Put(Sibling{Dot: Dot{1, dot}})
		return StoredObject(at(dot+1), &o)
	}
	for _, c := range []struct {
		name           string
		have, incoming Stored
		want           bool
	}{
		{"an older plain write", plain(5), plain(4), true},
		{"a newer plain write", plain(5), plain(6), false},
		{"a plain write below a sibling", object(0, 5), plain(5), true},
		{"a sibling below a plain write", plain(5), object(0, 5), true},
		{"a sibling above it", plain(5), object(0, 6), false},
		{"a sibling beside a newer one", object(0, 9), object(0, 6), false},
	} {
		if got := Supersedes(&c.have, &c.incoming); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// Two copies take the same write, tried again: it is one value, and one context
// covers both.
func TestARetryIsOneValue(t *testing.T) {
	var a, b Object
	a.Put(Sibling{Dot: Dot{1, 5}, ID: 7, Envelope: Envelope{Value: []byte("v")}})
	b.Put(Sibling{Dot: Dot{2, 6}, ID: 7, Envelope: Envelope{Value: []byte("v")}})
	m := MergeObjects(&a, &b)
	if got := shown(&m); !slices.Equal(got, []string{"v"}) {
		t.Errorf("shown are %q", got)
	}
	m.Forget(m.Context())
	if !m.Empty() {
		t.Errorf("left is %+v", m)
	}
	a.Put(Sibling{Dot: Dot{1, 9}, ID: 7, Envelope: Envelope{Value: []byte("v")}})
	if len(a.Siblings) != 1 || a.Siblings[0].Time != 9 {
		t.Errorf("at one copy: %+v", a.Siblings)
	}
}

// Two clients that pass on what they read never see more than two values.
func TestInterleavedClientsMakeTwoSiblings(t *testing.T) {
	var o Object
	contexts := [2]Context{}
	for i := range uint64(1000) {
		who := i % 2
		o.Forget(contexts[who])
		o.Put(Sibling{Dot: Dot{1 + i%3, i + 1}, ID: i + 1})
		if len(o.Siblings) > 2 {
			t.Fatalf("write %d: %d siblings", i, len(o.Siblings))
		}
		contexts[1-who] = o.Context()
	}
}

func TestRoomOfAnObject(t *testing.T) {
	var many, large, known Object
	for i := range uint64(MaxSiblings + 1) {
		many.Put(Sibling{Dot: Dot{1, i + 1}, ID: i + 1})
	}
	large.Put(Sibling{Dot: Dot{1, 1}, Envelope: Envelope{Value: make([]byte, MaxSiblingsBytes+1)}})
	for i := range uint64(MaxActors + 1) {
		known.Put(Sibling{Dot: Dot{i + 1, i + 1}, ID: 1})
	}
	for o, want := range map[*Object]wire.Code{&many: wire.Refused, &large: wire.TooLarge, &known: wire.Refused} {
		if err := o.CheckRoom(); !errors.Is(err, &wire.Error{Code: want}) {
			t.Errorf("%v: %v", want, err)
		}
	}
	// What a reader got it can hand back, also if it is a little too much.
	if c, err := ParseContext(known.Context().String()); err != nil || !c.Covers(&known) {
		t.Errorf("the context of too many copies: %v", err)
	}
	for _, s := range []string{"!", "AAAA", strings.Repeat("A", 1<<20), "=="} {
		if _, err := ParseContext(s); !errors.Is(err, &wire.Error{Code: wire.BadRequest}) {
			t.Errorf("context %.10q: %v", s, err)
		}
	}
}
