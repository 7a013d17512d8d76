package codec

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// A context includes what it covers; a join the contexts that it is made of, and no more
// than a merge of what they stand for.
func TestContextsInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawObject(t), drawObject(t)
		ca, cb := a.Context(), b.Context()
		if got := ca.Includes(cb); got != ca.Covers(&b) {
			t.Fatalf("%+v includes %+v: %v, and covers it: %v", ca, cb, got, !got)
		}
		if !ca.Includes(ca) || !ca.Includes(Context{}) || (Context{}).Includes(ca) != ca.IsZero() {
			t.Fatalf("%+v does not include itself or nothing, or nothing includes it", ca)
		}
		join, merged := ca.Join(cb), MergeObjects(&a, &b)
		if join != merged.Context() || !join.Includes(ca) || !join.Includes(cb) || join != cb.Join(ca) {
			t.Fatalf("%+v and %+v join to %+v; their merge has seen %+v", ca, cb, join, merged.Context())
		}
		if ca.Includes(cb) && ca.Join(cb) != ca {
			t.Fatalf("%+v includes %+v, and joins with it to %+v", ca, cb, ca.Join(cb))
		}
	})
}

// A result shows a write that is the newest, or one of several.
func TestShows(t *testing.T) {
	o := Object{Base: Base{Stamp: wire.Stamp{Time: 1, ID: 11}, Live: true}}
	o.Put(Sibling{Dot: Dot{Actor: 7, Time: 9}, ID: 12})
	several := Result{State: Versions, Stamp: wire.Stamp{Time: 10, ID: 13}, Object: o}
	for id, want := range map[uint64]bool{10: false, 11: true, 12: true, 13: true} {
		if several.Shows(id) != want {
			t.Errorf("write %d is shown: %v", id, !want)
		}
	}
	gone := Result{State: Deleted, Stamp: wire.Stamp{Time: 1, ID: 11}}
	if !gone.Shows(11) || gone.Shows(12) {
		t.Error("a delete shows itself only")
	}
}
