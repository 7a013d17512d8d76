package vnodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// cover reads partition p of the node behind after, and calls each for every key.
func (n *simNode) cover(p ring.Partition, owner string, after []byte, each func(key string) error) error {
	r := n.w.ring()
	c := &wire.CoverCall{
		Service: wire.ServiceID("kv"), Partition: uint16(p), Gen: uint64(r.Gen(p)), Epoch: uint64(r.Epoch),
		For: owner, After: after,
	}
	return n.m.Load().Cover(context.Background(), c, func(it *wire.Item) error { return each(string(it.Key)) })
}

func sortedKeys(p ring.Partition, count int) []string {
	keys := keysIn(p, count)
	slices.Sort(keys)
	return keys
}

// A coverage query sees all records in order, tombstones too, and stops when its
// receiver does.
func TestCover(t *testing.T) {
	w := newWorld(t, 1, 1)
	const p, records = 3, 50
	n := w.node(1)
	n.fill(p, records)
	n.command(keyIn(p, 0), "del")
	var got []string
	if err := n.cover(p, "", nil, func(key string) error { got = append(got, key); return nil }); err != nil {
		t.Fatal(err)
	}
	want := sortedKeys(p, records)
	if !slices.Equal(got, want) {
		t.Errorf("%d keys of %d", len(got), records)
	}
	enough := wire.Errorf(wire.Deadline, "enough")
	err := n.cover(p, "", []byte(want[9]), func(key string) error {
		if key != want[10] {
			t.Errorf("behind %s comes %s", want[9], key)
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := &wire.CoverCall{Service: wire.ServiceID("kv"), Partition: p, Gen: 1, Epoch: 1}
	if err := n.m.Load().Cover(ctx, c, func(*wire.Item) error { t.Error("an item"); return nil }); err == nil {
		t.Error("no error although the caller has gone")
	}
}

// Whose part cannot be had, and why.
func TestCoverRefused(t *testing.T) {
	w := newWorld(t, 2, 1, func(n *simNode) {
		n.services = append(n.services, Service{Name: "plain", New: func(ring.Partition) Vnode { return plain{} }})
	})
	const p = 3
	w.node(1).fill(p, 3)
	none := func(*wire.Item) error { t.Error("an item"); return nil }
	for name, c := range map[string]struct {
		node int
		call wire.CoverCall
		want wire.Code
	}{
		"elsewhere":   {2, wire.CoverCall{Service: wire.ServiceID("kv"), Partition: p, Gen: 1}, wire.Moved},
		"service":     {1, wire.CoverCall{Service: 1, Partition: p, Gen: 1}, wire.BadRequest},
		"partition":   {1, wire.CoverCall{Service: wire.ServiceID("kv"), Partition: simQ, Gen: 1}, wire.BadRequest},
		"no coverage": {1, wire.CoverCall{Service: wire.ServiceID("plain"), Partition: p, Gen: 1}, wire.BadRequest},
		"newer gen":   {1, wire.CoverCall{Service: wire.ServiceID("kv"), Partition: p, Gen: 7, Epoch: 99}, wire.Behind},
	} {
		if err := w.node(c.node).m.Load().Cover(t.Context(), &c.call, none); asError(err).Code != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := w.node(2).cover(p, string(nodeID(1)), nil, func(string) error { t.Error("an item"); return nil }); asError(err).Code != wire.Moved {
		t.Errorf("hints that are not there: %v", err)
	}
	w.setFate(func(*simNode, Session) fate {
		if err := w.node(1).cover(p, "", nil, func(string) error { t.Error("an item"); return nil }); asError(err).Code != wire.Unavailable {
			t.Errorf("while the switch is on: %v", err)
		}
		return applied
	})
	w.do(move(p, 0, 1, 2))
}

// The partition moves in the middle of a query: the source says so at the end of
// what it had, and the target goes on behind the last key.
func TestCoverResumes(t *testing.T) {
	w := newWorld(t, 2, 1)
	const p, records = 3, 600 // more than a chunk
	w.node(1).fill(p, records)
	var got []string
	err := w.node(1).cover(p, "", nil, func(key string) error {
		if got = append(got, key); len(got) == 200 {
			w.do(move(p, 0, 1, 2))
		}
		return nil
	})
	if asError(err).Code != wire.Moved || asError(err).Epoch != uint64(w.ring().Epoch) {
		t.Fatalf("%v, epoch %d", err, asError(err).Epoch)
	}
	if err := w.node(2).cover(p, "", []byte(got[len(got)-1]), func(key string) error {
		got = append(got, key)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, sortedKeys(p, records)) {
		t.Errorf("%d keys of %d", len(got), records)
	}
}

// The part that a fallback keeps; and when it is delivered and dropped in the middle
// of a query, the query does not pass for complete.
func TestCoverOfHints(t *testing.T) {
	w := newWorld(t, 2, 1)
	const p, records = 3, 600
	w.node(1).stop()
	for i := range records {
		w.node(2).mustHint(keyIn(p, i), fmt.Sprint(i), 1)
	}
	seen := 0
	if err := w.node(2).cover(p, string(nodeID(1)), nil, func(string) error { seen++; return nil }); err != nil || seen != records {
		t.Errorf("%d of %d, %v", seen, records, err)
	}
	seen = 0
	err := w.node(2).cover(p, string(nodeID(1)), nil, func(string) error {
		if seen++; seen == 10 {
			w.node(1).start()
			w.settled()
		}
		return nil
	})
	if asError(err).Code != wire.Moved || seen == records {
		t.Errorf("%d of %d, %v", seen, records, err)
	}
}
