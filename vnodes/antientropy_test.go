package vnodes

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

const compareP = 3

// quickCompares lets a test say when replicas are compared, and counts nothing as
// under way.
func quickCompares(n *simNode) {
	n.tune = func(c *Config) {
		c.ChunkBytes, c.SettleTime, c.FloorAge = 1<<10, time.Millisecond, time.Millisecond
		c.CompareBytes, c.RepairPatience = 1<<40, 2*time.Second
	}
}

// storeOf is the store of the node's slot of p.
func (n *simNode) storeOf(p ring.Partition) Store {
	n.w.t.Helper()
	m := n.m.Load()
	v, werr := m.openSlot(m.services[wire.ServiceID("kv")], p, 0)
	if werr != nil {
		n.w.t.Fatal(werr)
	}
	return v.store
}

// has puts records into the node's slot behind everybody's back.
func (n *simNode) has(p ring.Partition, writes ...Write) {
	n.w.t.Helper()
	if err := appendWait(n.storeOf(p), writes); err != nil {
		n.w.t.Fatal(err)
	}
}

// old is a record written at a time that is long ago.
func old(key string, at uint64, value string) Write {
	r := Record{Stamp: Stamp{Time: clockTime(time.UnixMilli(1_700_000_000_000)) + at<<16, Node: 1, ID: at}, Value: []byte(value)}
	if value == "" {
		r.Flags, r.Value = FlagTombstone, nil
	}
	return Write{Key: []byte(key), Record: r}
}

// compare has the node compare p with all others.
func (n *simNode) compare(p ring.Partition) (whole bool, moved CompareTally) {
	n.w.t.Helper()
	m := n.m.Load()
	before := m.CompareCounts()
	o, err := m.comparePartition(p)
	if err != nil {
		n.w.t.Fatalf("node %s compares partition %d: %v", n.id, p, err)
	}
	after := m.CompareCounts()
	return o.whole(), CompareTally{
		Compared: after.Compared - before.Compared, Sent: after.Sent - before.Sent, Received: after.Received - before.Received,
	}
}

// alike fails unless the nodes have the same live records of p, and returns those.
func (w *world) alike(p ring.Partition, nodes ...int) map[string]string {
	w.t.Helper()
	var first map[string]string
	for _, i := range nodes {
		have := make(map[string]string)
		for _, x := range collect(w.t, w.node(i).storeOf(p), nil) {
			if !x.Record.Deleted() {
				have[string(x.Key)] = fmt.Sprint(x.Record.Stamp, string(x.Record.Value))
			}
		}
		if first == nil {
			first = have
		}
		if fmt.Sprint(have) != fmt.Sprint(first) {
			w.t.Errorf("node %d has %d live records of partition %d, node %d %d, or others", i, len(have), p, nodes[0], len(first))
		}
	}
	return first
}

// Whatever replicas hold, comparing them leaves each with what a merge of all
// records would have; and then a comparison finds nothing to move.
func TestComparedReplicasConverge(t *testing.T) {
	run := 0
	w := newWorld(t, 3, 3, quickCompares)
	rapid.Check(t, func(rt *rapid.T) {
		run++
		p := ring.Partition(run % simQ)
		for i := 1; i <= 3; i++ {
			var writes []Write
			for range rapid.IntRange(0, 30).Draw(rt, "records") {
				key := fmt.Sprintf("run%d-%d", run, rapid.IntRange(0, 40).Draw(rt, "key"))
				writes = append(writes, old(key, rapid.Uint64Range(1, 5).Draw(rt, "time"), rapid.SampledFrom([]string{"", "a", "b", "ccc"}).Draw(rt, "value")))
			}
			w.node(i).has(p, writes...)
		}
		// What a node holds is what was written last, whatever its stamp.
		want := modelStore{}
		for i := 1; i <= 3; i++ {
			for key, r := range storeModel(w, i, p) {
				want.merge(key, r)
			}
		}
		driver := w.node(rapid.IntRange(1, 3).Draw(rt, "driver"))
		driver.compare(p)
		live := w.alike(p, 1, 2, 3)
		for key, r := range want {
			if got, has := live[key]; has == r.Deleted() || has && got != fmt.Sprint(r.Stamp, string(r.Value)) {
				rt.Fatalf("key %s: %q, want %+v", key, got, r)
			}
		}
		if whole, moved := driver.compare(p); !whole || moved.Moved() > 0 {
			rt.Fatalf("a further comparison: whole %t, moved %+v", whole, moved)
		}
	})
}

func (m modelStore) merge(key string, r Record) {
	if have, ok := m[key]; !ok || newer(&r, &have) {
		m[key] = r
	}
}

func storeModel(w *world, i int, p ring.Partition) modelStore {
	m := modelStore{}
	for _, x := range collect(w.t, w.node(i).storeOf(p), nil) {
		m[string(x.Key)] = x.Record
	}
	return m
}

// Many records come through small pages and chunks, both ways.
func TestCompareInPages(t *testing.T) {
	w := newWorld(t, 2, 2, quickCompares)
	const n = 2*headsAtOnce + 100
	var a, b []Write
	for i := range n {
		x := old(fmt.Sprintf("key%06d", i), 1, strings.Repeat("v", 1+i%50))
		if i%3 != 0 {
			a = append(a, x)
		}
		if i%3 != 1 {
			b = append(b, x)
		}
	}
	w.node(1).has(compareP, a...)
	w.node(2).has(compareP, b...)
	_, moved := w.node(1).compare(compareP)
	if got := len(w.alike(compareP, 1, 2)); got != n {
		t.Errorf("%d records, want %d", got, n)
	}
	if moved.Sent != int64(n-len(b)) || moved.Received != int64(n-len(a)) {
		t.Errorf("moved %+v, want %d and %d", moved, n-len(b), n-len(a))
	}
	// One lost record is found among those of its leaf alone.
	lost := a[7]
	lost.Record.Flags, lost.Record.Value, lost.Record.Stamp.Time = FlagTombstone, nil, lost.Record.Stamp.Time-1
	w.node(2).has(compareP, lost)
	if _, moved = w.node(1).compare(compareP); moved.Sent != 1 || moved.Received != 0 || moved.Compared > n/20 {
		t.Errorf("one lost record: %+v", moved)
	}
	w.alike(compareP, 1, 2)
}

// What is under way is left alone, and does not count as a difference.
func TestCompareLeavesYoungRecordsAlone(t *testing.T) {
	w := newWorld(t, 2, 2, quickCompares, func(n *simNode) {
		n.tunedBy(func(c *Config) { c.SettleTime = time.Hour })
	})
	w.node(1).mustPut(keyIn(compareP, 0), "only here yet")
	if whole, moved := w.node(2).compare(compareP); !whole || moved.Moved() > 0 {
		t.Errorf("whole %t, %+v", whole, moved)
	}
}

// What was missed a moment before a node came back, or somebody knew of it, is
// compared when it is old enough.
func TestCompareComesAgainForYoungRecords(t *testing.T) {
	w := newWorld(t, 2, 2, quickCompares, func(n *simNode) {
		n.tunedBy(func(c *Config) { c.SettleTime, c.CompareEvery = time.Second, time.Hour })
	})
	a, b := w.node(1), w.node(2)
	w.until("all have compared", func() bool {
		return a.m.Load().CompareCounts().Done >= simQ && b.m.Load().CompareCounts().Done >= simQ
	})
	b.stop()
	missed, suspected := keyIn(compareP, 0), keyIn(compareP+1, 0)
	a.mustPut(missed, "v")
	b.start()
	w.until("node 2 has what it missed", func() bool { return string(b.get(missed).body) == "v" })
	a.mustPut(suspected, "v")
	a.m.Load().Suspect(compareP + 1)
	w.until("what is suspected is compared", func() bool { return string(b.get(suspected).body) == "v" })
}

// A comparison is refused while a replica is not what it should be.
func TestCompareWaitsForReplicas(t *testing.T) {
	w := newWorld(t, 3, 2, quickCompares)
	w.node(1).has(compareP, old("k", 1, "v"))
	try := func() error {
		m := w.node(1).m.Load()
		_, err := m.comparePartition(compareP)
		return err
	}
	w.setFate(func(*simNode, Session) fate { return lostBefore })
	s := w.begin(move(compareP, 1, 2, 3))
	w.until("the move is proposed", func() bool { return w.node(2).phase(compareP) == proposed })
	if err := try(); !errors.Is(err, &wire.Error{Code: wire.Unavailable}) {
		t.Errorf("while the partition moves: %v", err)
	}
	w.setFate(nil)
	w.committed(s)
	w.settled()
	if err := try(); err != nil {
		t.Errorf("after it has moved: %v", err)
	}
	w.alike(compareP, 1, 3)
	w.node(3).stop()
	if whole, _ := w.node(1).compare(compareP); whole {
		t.Error("a node that is down was compared")
	}
}

// A restarted node that has silently lost records gets them back by itself, and the
// partitions of a node that was away are compared.
func TestCompareAfterReturn(t *testing.T) {
	w := newWorld(t, 3, 3, quickCompares, func(n *simNode) {
		n.tunedBy(func(c *Config) { c.CompareEvery = time.Hour })
	})
	w.until("all have compared", func() bool { return w.node(1).m.Load().CompareCounts().Done >= simQ })
	b := w.node(2)
	b.stop()
	for p := range ring.Partition(simQ) {
		w.node(1).has(p, old(keyIn(p, 0), 1, "missed"))
	}
	b.start()
	w.until("node 2 has what it missed", func() bool {
		for p := range ring.Partition(simQ) {
			if a := b.get(keyIn(p, 0)); a.code != wire.OK || string(a.body) != "missed" {
				return false
			}
		}
		return true
	})
	// Another one's word that a write was kept by nobody.
	w.node(1).has(compareP, old("suspect", 2, "v"))
	w.node(1).m.Load().Suspect(compareP)
	w.until("what was suspected is compared", func() bool { return len(storeModel(w, 3, compareP)) == 2 })
}

// Services are compared on as many replicas as they have, by their own merge.
func TestCompareByService(t *testing.T) {
	merging := simService("sum", 2)
	merging.New = func(p ring.Partition) Vnode { return &simMerger{simVnode{p: p}} }
	w := newWorld(t, 3, 3, quickCompares, func(n *simNode) { n.services = append(n.services, merging, simService("one", 1)) })
	put := func(i int, service, key, value string) {
		m := w.node(i).m.Load()
		v, werr := m.openSlot(m.services[wire.ServiceID(service)], compareP, 0)
		if werr != nil {
			t.Fatal(werr)
		}
		if err := appendWait(v.store, []Write{old(key, uint64(i), value)}); err != nil {
			t.Fatal(err)
		}
	}
	put(1, "sum", "k", "a")
	put(2, "sum", "k", "b")
	put(1, "one", "k", "alone")
	w.node(1).compare(compareP)
	for i := 1; i <= 2; i++ {
		m := w.node(i).m.Load()
		if r, _, err := m.services[wire.ServiceID("sum")].vnodes[compareP].Load().store.Get([]byte("k")); string(r.Value) != "ab" || err != nil {
			t.Errorf("node %d merged %q, %v", i, r.Value, err)
		}
	}
	for i := 2; i <= 3; i++ {
		if _, werr := w.node(i).m.Load().openSlot(w.node(i).m.Load().services[wire.ServiceID("one")], compareP, 0); werr == nil {
			t.Errorf("node %d has a slot of the service with one replica", i)
		}
	}
	if _, moved := w.node(1).compare(compareP); moved.Moved() > 0 {
		t.Errorf("a further comparison moved %+v", moved)
	}
}

// simMerger's records are sets of letters.
type simMerger struct{ simVnode }

func (*simMerger) Merge(_ []byte, have, incoming Record) Record {
	merged := have
	if incoming.Stamp.Compare(have.Stamp) > 0 {
		merged = incoming
	}
	var letters string
	for c := 'a'; c <= 'z'; c++ {
		if strings.ContainsRune(string(have.Value)+string(incoming.Value), c) {
			letters += string(c)
		}
	}
	merged.Value = []byte(letters)
	return merged
}

// Random writes on random replicas, with comparisons from all sides at once, end in
// the same records everywhere.
func TestCompareUnderTraffic(t *testing.T) {
	w := newWorld(t, 3, 3, quickCompares)
	tr := w.startTraffic("kv", 3, keysIn(compareP, 30))
	for range 20 {
		m := w.node(1 + rand.IntN(3)).m.Load()
		if _, err := m.comparePartition(compareP); err != nil {
			t.Error(err)
		}
	}
	tr.end()
	pause(t.Context(), 5*time.Millisecond) // the settle time
	w.node(1).compare(compareP)
	w.alike(compareP, 1, 2, 3)
}

// Two replicas that a day's partition has driven apart, by a tenth of their records,
// converge, deletions too; and a third comparison moves nothing.
func TestDivergedReplicasConverge(t *testing.T) {
	n := 10_000
	if s := os.Getenv("RINGCORE_TEST_RECORDS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, 2, 2, quickCompares)
	want := 0
	for p := range ring.Partition(simQ) {
		var all, one, two []Write
		for i := range n / simQ {
			key := fmt.Sprintf("key%06d", i)
			all = append(all, old(key, 1, strings.Repeat("v", 100)))
			later := old(key, uint64(2+i%2), "changed")
			switch i % 20 {
			case 0:
				later = old(key, 2, "")
				one = append(one, later)
				continue
			case 10:
				two = append(two, later)
			}
			want++
		}
		for i, own := range [][]Write{one, two} {
			w.node(i+1).has(p, all...)
			w.node(i+1).has(p, own...)
		}
	}
	begun := time.Now()
	var moved int64
	for p := range ring.Partition(simQ) {
		_, tally := w.node(1).compare(p)
		moved += tally.Moved()
	}
	t.Logf("%d records, %d of them moved in %v", n, moved, time.Since(begun).Round(time.Millisecond))
	got := 0
	for p := range ring.Partition(simQ) {
		got += len(w.alike(p, 1, 2))
		for i := 1; i <= 2; i++ {
			if _, tally := w.node(i).compare(p); tally.Moved() > 0 {
				t.Errorf("partition %d: a further comparison, by node %d, moved %+v", p, i, tally)
			}
		}
	}
	if got != want || moved < int64(n/10) {
		t.Errorf("%d live records, want %d; %d moved, want %d", got, want, moved, n/10)
	}
}

// Slots that are alike are compared without opening anything, also empty ones.
func TestIdleSlotsStayClosed(t *testing.T) {
	w := newWorld(t, 2, 2, quickCompares)
	const empty = compareP + 1
	for i := 1; i <= 2; i++ {
		w.node(i).has(compareP, old("k", 1, "v"))
	}
	for i := 1; i <= 2; i++ {
		w.node(i).restart()
	}
	opened := func(i int, p ring.Partition) bool {
		return w.node(i).m.Load().services[wire.ServiceID("kv")].vnodes[p].Load() != nil
	}
	for i := 1; i <= 2; i++ {
		m := w.node(i).m.Load()
		w.until("no hints are waited for", func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			return len(m.waiting) == 0
		})
	}
	for _, p := range []ring.Partition{compareP, empty} {
		if whole, moved := w.node(1).compare(p); !whole || moved.Moved() > 0 || opened(1, p) || opened(2, p) {
			t.Errorf("partition %d: whole %t, %+v, opened %t and %t", p, whole, moved, opened(1, p), opened(2, p))
		}
		w.node(1).has(p, old("new", 2, "v"))
		if _, moved := w.node(2).compare(p); moved.Received != 1 {
			t.Errorf("partition %d: %+v", p, moved)
		}
		w.alike(p, 1, 2)
	}
}
