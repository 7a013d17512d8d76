package vnodes

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// pairs is a vnode whose commands write several records at once: "set v k1 k2 …", and
// "del k1 …".
type pairs struct{}

func (pairs) Command(tx *Tx, cmd []byte) ([]byte, error) {
	words := strings.Fields(string(cmd))
	for _, key := range words[1:] {
		switch {
		case words[0] == "del":
			tx.Delete([]byte(key))
		case key != words[1]:
			tx.Put([]byte(key), []byte(words[1]))
		}
	}
	return nil, nil
}

// folded is what a fold of node n's copy of p has.
func (n *simNode) folded(p ring.Partition, body []byte, each func(it *wire.Item)) (map[string]string, error) {
	r := n.w.ring()
	c := &wire.CoverCall{Service: wire.ServiceID("kv"), Partition: uint16(p), Gen: uint64(r.Gen(p)), Epoch: uint64(r.Epoch), Fold: true, Body: body}
	got := make(map[string]string)
	err := n.m.Load().Cover(context.Background(), c, func(it *wire.Item) error {
		if each != nil {
			each(it)
		}
		if !it.Deleted {
			got[string(it.Key)] = string(it.Value)
		}
		return nil
	})
	return got, err
}

// A fold sees all records as they were when it began, whatever commands do meanwhile
// before and behind it, and the commands do not wait for it.
func TestFoldIsOfOneMoment(t *testing.T) {
	_, n := oneNode(t, 0, func(ring.Partition) Vnode { return pairs{} })
	const p = 3
	at := keyIn(p, 0)
	do := func(format string, args ...any) {
		t.Helper()
		if got := n.command(at, fmt.Sprintf(format, args...)); got.code != wire.OK {
			t.Fatal(got)
		}
	}
	all := func() (keys string, want map[string]string) {
		want = make(map[string]string)
		for i := range 1000 { // several chunks
			key := fmt.Sprintf("r%04d", i)
			keys += " " + key
			want[key] = "1"
		}
		return keys, want
	}
	keys, want := all()
	do("set 1%s", keys)
	do("del r0999")
	delete(want, "r0999")
	leaves := AllLeaves()
	seen := 0
	got, err := n.folded(p, FoldRecords(&leaves, nil), func(*wire.Item) {
		switch seen++; seen {
		case 1:
			do("set 2%s new r0500x", keys)
		case 300:
			do("set 3 r0000 r0299 r0301 r0700 r0999 zz")
			do("del r0002 r0701")
		}
	})
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%d records, want %d: %v", len(got), len(want), err)
		for key, v := range want {
			if got[key] != v {
				t.Errorf("%s is %q", key, got[key])
				break
			}
		}
	}
	if used := n.m.Load().moments.Load(); used != 0 {
		t.Errorf("%d bytes are kept after the fold", used)
	}
	do("set 4 r0001") // nobody looks any more
	if got, err := n.folded(p, FoldRecords(&leaves, nil), nil); err != nil || got["r0001"] != "4" || got["r0700"] != "3" || got["zz"] != "3" || got["r0701"] != "" {
		t.Errorf("the next fold: %v, %v", got["r0001"], err)
	}
}

// What is kept for folds is bounded: one that cannot see its moment any more says so.
func TestFoldKeepsNoMoreThanItMay(t *testing.T) {
	_, n := oneNode(t, 0, func(ring.Partition) Vnode { return pairs{} })
	const p, others = 3, momentBytes - 4<<10 // what other folds keep
	at, keys, value := keyIn(p, 0), "", strings.Repeat("v", 100)
	for i := range 100 {
		keys += fmt.Sprintf(" k%03d", i)
	}
	n.command(at, "set "+value+keys)
	kept := &n.m.Load().moments
	kept.Store(others)
	leaves := AllLeaves()
	seen := 0
	_, err := n.folded(p, FoldRecords(&leaves, nil), func(*wire.Item) {
		if seen++; seen == 1 {
			n.command(at, "set 2"+keys)
		}
	})
	if asError(err).Code != wire.Overload || kept.Load() != others {
		t.Errorf("got %v, and %d bytes are kept", err, kept.Load()-others)
	}
}

// A fold tells in which leaves a copy differs, and gives the records of these alone: with
// them the other has the same.
func TestFoldOfWhatDiffers(t *testing.T) {
	_, n := oneNode(t, 0, func(ring.Partition) Vnode { return pairs{} })
	const p = 3
	at := keyIn(p, 0)
	for i := range 50 {
		n.command(at, fmt.Sprintf("set 1 k%02d", i))
	}
	leaves := AllLeaves()
	var known Tree
	if _, err := n.folded(p, FoldRecords(&leaves, nil), func(it *wire.Item) {
		known.Note(it.Key, &Record{Stamp: it.Stamp, Value: it.Value})
	}); err != nil {
		t.Fatal(err)
	}
	differ := func() (s Leaves) {
		t.Helper()
		if _, err := n.folded(p, FoldDiffer(&known), func(it *wire.Item) { s, _ = ParseLeaves(it.Value) }); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := differ(); !s.Empty() {
		t.Fatalf("nothing has changed, and leaves differ")
	}
	n.command(at, "set 2 k07")
	n.command(at, "del k08")
	n.command(at, "set 1 new")
	leaves = differ()
	for _, key := range []string{"k07", "k08", "new"} {
		if !leaves.Holds([]byte(key)) {
			t.Errorf("the leaf of %s does not differ", key)
		}
	}
	var then Tree
	got, err := n.folded(p, FoldRecords(&leaves, &known), func(it *wire.Item) {
		if !it.Deleted {
			then.Note(it.Key, &Record{Stamp: it.Stamp, Value: it.Value})
		}
	})
	if err != nil || got["k07"] != "2" || got["new"] != "1" || len(got) > 20 {
		t.Errorf("%v, %v", got, err)
	}
	if known.Take(&then, &leaves); differ() != (Leaves{}) {
		t.Error("with the records that differ it differs still")
	}
	none := Leaves{}
	if _, err := n.folded(p, FoldRecords(&none, &known), nil); err != nil {
		t.Errorf("nothing has changed: %v", err)
	}
	n.command(at, "set 3 k07 k09")
	leaves[leafOf([]byte("k09"))/8] = 0
	if _, err := n.folded(p, FoldRecords(&leaves, &known), func(*wire.Item) { t.Error("an item") }); asError(err).Code != wire.Conflict {
		t.Errorf("a leaf that was not asked for has changed: %v", err)
	}
	for _, body := range [][]byte{nil, {'?'}, {foldRecords, 1}, {foldDiffer, 1}} {
		if _, err := n.folded(p, body, nil); err == nil {
			t.Errorf("body %v was answered", body)
		}
	}
}

// restore sends records of a backup to the vnode of at.
func (n *simNode) restore(at string, writes ...Write) answer {
	r := request(wire.OpCommand, n.w.ring(), "kv", at, "")
	r.Call.Flags, r.Call.Body = wire.CallRestore, AppendWrites(nil, writes)
	return n.ask(r)
}

// Records of a backup are stored under new stamps, above their own and what is there.
func TestRestoreStampsAnew(t *testing.T) {
	w, n := oneNode(t, 0, func(ring.Partition) Vnode { return pairs{} })
	const p = 3
	at := keyIn(p, 0)
	n.command(at, "set old b")
	old := func(key string, time uint64) Write {
		return Write{Key: []byte(key), Record: Record{Stamp: Stamp{Time: time, Node: 9, ID: 9}, Value: []byte("restored")}}
	}
	future := clockTime(n.m.Load().now()) + clockSpan(maxClockAhead)/2
	if got := n.restore(at, old("a", 7), old("b", 8), old("c", future)); got.code != wire.OK {
		t.Fatal(got)
	}
	leaves := AllLeaves()
	got, err := n.folded(p, FoldRecords(&leaves, nil), func(it *wire.Item) {
		if it.Stamp.Time < future && string(it.Key) == "c" || it.Stamp.Time < 1<<32 || it.Stamp.Node == 9 {
			t.Errorf("%s has stamp %v", it.Key, it.Stamp)
		}
	})
	if want := map[string]string{"a": "restored", "b": "restored", "c": "restored"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for name, c := range map[string]struct {
		writes []Write
		code   wire.Code
	}{
		"another time": {[]Write{old("d", future+clockSpan(maxClockAhead))}, wire.ClockAhead},
		"order":        {[]Write{old("e", 1), old("d", 1)}, wire.BadRequest},
		"deleted":      {[]Write{{Key: []byte("d"), Record: Record{Flags: FlagTombstone}}}, wire.BadRequest},
	} {
		if got := n.restore(at, c.writes...); got.code != c.code {
			t.Errorf("%s: %v, want %v", name, got, c.code)
		}
	}
	w.node(1).restart()
	if got, err := n.folded(p, FoldRecords(&leaves, nil), nil); err != nil || len(got) != 3 {
		t.Errorf("after a restart: %v, %v", got, err)
	}
}

type placing struct{ pairs }

func (placing) Place(key []byte) (string, []byte) {
	bucket, rest, _ := bytes.Cut(key, []byte("/"))
	return string(bucket), rest
}

// A record finds the partition that its key belongs to in a ring of any size; if it lies
// elsewhere, only in a ring of the same one.
func TestPlace(t *testing.T) {
	w := newWorld(t, 1, 1, func(n *simNode) {
		n.services = append(n.services, Service{Name: "placing", N: 1, New: func(ring.Partition) Vnode { return placing{} }})
	})
	m := w.node(1).m.Load()
	for i := range 200 {
		key := fmt.Appendf(nil, "key%d", i)
		inBucket, plainly := ring.HashKey("b", key), ring.HashKey("", key)
		for _, q := range []int{8, 16, 64, 128, 4096} {
			if p, err := m.Place("placing", append([]byte("b/"), key...), ring.Locate(inBucket, 64), 64, q); err != nil || p != ring.Locate(inBucket, q) {
				t.Fatalf("placing: %d in a ring of %d: %v", p, q, err)
			}
			if p, err := m.Place("kv", key, ring.Locate(plainly, 64), 64, q); err != nil || p != ring.Locate(plainly, q) {
				t.Fatalf("%d in a ring of %d: %v", p, q, err)
			}
			_, err := m.Place("kv", key, (ring.Locate(plainly, 64)+1)%64, 64, q)
			if refused := err != nil; refused != (q != 64) {
				t.Fatalf("a record that lies elsewhere, in a ring of %d: %v", q, err)
			}
		}
	}
	if _, err := m.Place("nobody", []byte("k"), 0, 64, 64); asError(err).Code != wire.NotFound {
		t.Errorf("%v", err)
	}
}
