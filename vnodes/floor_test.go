package vnodes

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// round has the node compare what it drives, without rest.
func (n *simNode) round() {
	m := n.m.Load()
	m.compareRound(0)
}

// compact has the node write a file anew for its slot of p.
func (n *simNode) compact(p ring.Partition, at uint64) {
	n.w.t.Helper()
	n.has(p, old("compacted", at, "v"))
	if err := n.m.Load().disk.Checkpoint(); err != nil {
		n.w.t.Fatal(err)
	}
}

// tombstones counts those in the node's slot of p.
func (n *simNode) tombstones(p ring.Partition) int {
	d := n.storeOf(p).Digest()
	return int(d.Records - d.Live)
}

func (n *simNode) sendEffect(w Write, flags wire.Flags) answer {
	r := request(wire.OpEffect, n.w.ring(), "kv", string(w.Key), "")
	r.Flags, r.Effect = flags, AppendWrites(nil, []Write{w})
	return n.ask(r)
}

// A deletion of which a replica that is down has not heard stays until that one has
// compared; then it goes in two rounds, and nothing older comes back from anywhere.
func TestTombstonesGoWhenAllHaveCompared(t *testing.T) {
	w := newWorld(t, 3, 3, quickCompares)
	const p = compareP
	key := keyIn(p, 0)
	for i := 1; i <= 3; i++ {
		w.node(i).has(p, old(key, 1, "old"))
	}
	w.node(3).stop()
	for i := 1; i <= 2; i++ {
		w.node(i).has(p, old(key, 2, ""))
	}
	for range 3 {
		w.node(1).round()
	}
	w.node(1).compact(p, 3)
	if f := w.state().floors[p]; f.floor > 0 || w.node(1).tombstones(p) != 1 {
		t.Fatalf("while a replica was down: floor %+v, %d tombstones", f, w.node(1).tombstones(p))
	}
	w.node(3).start()
	w.node(3).mustGet(key, "old")
	w.until("node 3 can be compared", func() bool { return w.node(3).phase(p) == serving })
	w.node(1).round() // moves the tombstone, and compares again
	w.node(3).mustGet(key, "")
	first := w.state().floors[p]
	if first.floor == 0 || first.reap != 0 {
		t.Fatalf("floor %+v after the first round", first)
	}
	w.node(1).compact(p, 4)
	if got := w.node(1).tombstones(p); got != 1 {
		t.Errorf("%d tombstones after one round", got)
	}
	pause(t.Context(), 2*time.Millisecond) // the next floor has a later time
	w.node(1).round()
	if f := w.state().floors[p]; f.reap != first.floor {
		t.Fatalf("floor %+v after %+v", f, first)
	}
	for i := 1; i <= 3; i++ {
		w.node(i).compact(p, 5)
		if got := w.node(i).tombstones(p); got != 0 {
			t.Errorf("node %d has %d tombstones", i, got)
		}
	}
	late := old(key, 1, "old")
	for _, flags := range []wire.Flags{wire.FlagFresh, 0} {
		a := w.node(2).sendEffect(late, flags)
		if stamp, err := wire.ParseStamp(a.body); a.code != wire.Superseded || err != nil || stamp.Time < first.floor {
			t.Errorf("a late effect: %v", a)
		}
	}
	r := request(wire.OpEffect, w.ring(), "kv", key, "")
	r.Effect, r.Flags, r.For = AppendWrites(nil, []Write{late}), wire.FlagFallback, string(nodeID(2))
	if a := w.node(1).ask(r); a.code != wire.OK {
		t.Errorf("a late hint: %v", a)
	}
	w.settled() // it has been delivered, and left out
	w.node(2).mustGet(key, "")
	if got := w.node(2).m.Load().CompareCounts().Late; got != 3 {
		t.Errorf("%d late records were counted", got)
	}
	if a := w.node(2).put(key, "new"); a.code != wire.OK {
		t.Errorf("a new write: %v", a)
	}
}

// Tombstones in memory go too.
func TestTombstonesInMemoryGo(t *testing.T) {
	w := newWorld(t, 2, 2, func(n *simNode) { quickCompares(n); n.memory = true })
	for i := 1; i <= 2; i++ {
		w.until("slots serve", func() bool { return w.node(i).m.Load().CatchingUp() == 0 })
		w.node(i).has(compareP, old("deleted", 1, ""), old("live", 1, "v"))
	}
	w.until("the tombstone is gone", func() bool { // a round may be told to come again
		w.node(1).round()
		w.node(1).m.Load().reapMemory()
		gone := w.node(1).tombstones(compareP) == 0
		if gone && w.state().floors[compareP].reap == 0 {
			t.Fatal("it went too early")
		}
		return gone
	})
	if err := storeModel(w, 1, compareP).miscounts(w.node(1).storeOf(compareP)); err != nil {
		t.Error(err)
	}
	if _, moved := w.node(2).compare(compareP); moved.Moved() > 0 {
		t.Errorf("moved %+v", moved)
	}
}

// What is below the floor and lost is taken from another replica all the same.
func TestFloorDoesNotKeepLostRecordsOut(t *testing.T) {
	w := newWorld(t, 3, 3, quickCompares)
	key := keyIn(compareP, 0)
	w.node(1).has(compareP, old(key, 1, "v"))
	w.node(1).round()
	if w.state().floors[compareP].floor == 0 {
		t.Fatal("the floor has not risen")
	}
	b := w.node(2)
	b.stop()
	forgetSlot(t, b, compareP)
	b.start()
	b.mustGet(key, "")
	w.until("node 2 can be compared", func() bool { return b.phase(compareP) == serving })
	w.node(1).compare(compareP)
	b.mustGet(key, "v")
}

// forgetSlot deletes the node's file of p so that nobody notices.
func forgetSlot(t *testing.T, n *simNode, p ring.Partition) {
	t.Helper()
	d, err := OpenDisk(n.dir, DiskOptions{Logger: n.log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("kv/p%04d.bolt", p)
	if err := d.Remove(name); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	j, err := OpenJournal(n.dir + "/journal.bolt")
	if err != nil {
		t.Fatal(err)
	}
	if err := j.UnmarkFile(name); err != nil {
		t.Error(err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// A floor does not rise while somebody keeps hints, while a member cannot be asked, or
// its clock says that the floor lies ahead.
func TestFloorWaits(t *testing.T) {
	var behind atomic.Int64
	w := newWorld(t, 4, 3, quickCompares, func(n *simNode) {
		n.tunedBy(func(c *Config) {
			if n.id == nodeID(4) {
				c.Now = func() time.Time { return time.Now().Add(-time.Duration(behind.Load())) }
			}
		})
	})
	floor := func(p ring.Partition) uint64 { return w.state().floors[p].floor }
	behind.Store(int64(time.Hour))
	w.node(1).round()
	if floor(0) > 0 {
		t.Error("a floor rose above a member's clock")
	}
	behind.Store(0)
	w.node(4).stop() // it has no slot
	w.node(1).round()
	if floor(0) > 0 {
		t.Error("a floor rose while a member was down")
	}
	w.node(4).start()
	w.node(2).stop()
	w.node(4).mustHint(keyIn(compareP, 0), "kept", 2)
	w.node(4).stop()
	w.node(2).start()
	w.net.setHook(func(f *passing) treatment {
		if hinted(f) {
			return sever
		}
		return deliver
	})
	w.node(4).start()
	w.until("node 2 is recovering", func() bool { return w.node(2).phase(0) == serving || w.node(2).phase(0) == gone })
	w.node(1).round()
	if floor(0) == 0 || floor(compareP) > 0 {
		t.Errorf("floors %+v while hints are kept for partition %d", w.state().floors, compareP)
	}
	w.net.setHook(nil)
	w.settled()
	w.node(1).round()
	if floor(compareP) == 0 {
		t.Error("the floor has not risen when the hints were delivered")
	}
}

// No member stamps anything below a floor, after a restart with its clock set back
// neither.
func TestFloorBindsClocks(t *testing.T) {
	var behind atomic.Int64
	w := newWorld(t, 2, 2, quickCompares, func(n *simNode) {
		n.tunedBy(func(c *Config) {
			c.Now = func() time.Time { return time.Now().Add(-time.Duration(behind.Load())) }
		})
	})
	if _, err := w.node(2).m.Load().keeps(clockTime(time.Now().Add(-time.Second))); err != nil {
		t.Fatal(err)
	}
	passed := w.node(2).m.Load().clock.Latest()
	behind.Store(int64(time.Hour))
	w.node(2).crash()
	w.node(2).start()
	if at, err := w.node(2).m.Load().clock.Now(); at <= passed || err != nil {
		t.Errorf("time %d after %d was passed, %v", at, passed, err)
	}
}

// fate of what a coordinator has sent to another slot.
type effectOnItsWay struct {
	to int
	w  Write
}

// resurrection runs random writes and deletions on replicas that come and go, with
// effects that arrive at any time later, hints, comparisons and compaction.
type resurrection struct {
	w     *world
	rng   *rand.Rand
	clock *atomic.Int64 // ms
	want  map[string]Record
	late  []effectOnItsWay
	step  uint64
}

func (x *resurrection) up() (up []int) {
	for i := 1; i <= 3; i++ {
		if x.w.node(i).up() {
			up = append(up, i)
		}
	}
	return up
}

func (x *resurrection) any() *simNode {
	up := x.up()
	return x.w.node(up[x.rng.IntN(len(up))])
}

func (x *resurrection) write() {
	key := keyIn(compareP, x.rng.IntN(5))
	body := "del"
	if x.rng.IntN(2) == 0 {
		body = fmt.Sprint("put ", x.step)
	}
	c := x.any()
	a := c.ask(request(wire.OpCommand, x.w.ring(), "kv", key, body))
	if a.code != wire.OK {
		return // it waits for hints still
	}
	writes, err := ParseWrites(a.effect)
	if err != nil {
		x.w.t.Fatal(err)
	}
	if have := x.want[key]; newer(&writes[0].Record, &have) {
		x.want[key] = writes[0].Record
	}
	for i := 1; i <= 3; i++ {
		to := x.w.node(i)
		switch chance := x.rng.IntN(10); {
		case to == c:
		case chance < 5 && to.up():
			to.sendEffect(writes[0], wire.FlagFresh)
		case chance < 8:
			r := request(wire.OpEffect, x.w.ring(), "kv", key, "")
			r.Effect, r.Flags, r.For = a.effect, wire.FlagFallback, string(to.id)
			if k := x.any(); k != to {
				k.ask(r)
				continue
			}
			fallthrough
		default:
			x.late = append(x.late, effectOnItsWay{i, writes[0]})
		}
	}
}

func (x *resurrection) arrive() {
	if len(x.late) == 0 {
		return
	}
	i := x.rng.IntN(len(x.late))
	if e := x.late[i]; x.w.node(e.to).up() {
		x.w.node(e.to).sendEffect(e.w, wire.FlagFresh)
		x.late = slices.Delete(x.late, i, i+1)
	}
}

func (x *resurrection) one() {
	x.step++
	switch op := x.rng.IntN(20); {
	case op < 8:
		x.write()
	case op < 12:
		x.arrive()
	case op < 14:
		x.clock.Add(5000)
	case op < 17:
		x.any().round()
	case op == 17 && len(x.up()) == 3:
		x.reap()
	case op == 18 && len(x.up()) == 3:
		x.any().stop()
	default:
		x.startAll()
	}
}

// reap lets hints arrive, and two floors rise.
func (x *resurrection) reap() {
	x.w.settled()
	for range 2 {
		x.clock.Add(5000)
		x.w.node(1).round()
	}
	for i := 1; i <= 3; i++ {
		x.w.node(i).compact(compareP, x.step)
	}
}

func (x *resurrection) startAll() {
	for i := 1; i <= 3; i++ {
		if n := x.w.node(i); !n.up() {
			n.start()
		}
	}
}

// end lets everything arrive and be compared.
func (x *resurrection) end() {
	x.startAll()
	for len(x.late) > 0 {
		x.arrive()
	}
	x.w.settled()
	x.clock.Add(5000)
	for i := 1; i <= 3; i++ {
		n := x.w.node(i)
		x.w.until("slots serve", func() bool { return n.phase(compareP) == serving || n.phase(compareP) == gone })
	}
	x.w.node(1).compare(compareP)
}

// Whatever is lost or late on its way, however often tombstones are reaped: each key
// ends as its newest write has left it, on every replica.
func TestNothingResurrects(t *testing.T) {
	var clock atomic.Int64
	clock.Store(time.Now().UnixMilli())
	w := newWorld(t, 3, 3, quickCompares, func(n *simNode) {
		n.tunedBy(func(c *Config) {
			c.FloorAge = time.Second
			c.Now = func() time.Time { return time.UnixMilli(clock.Load()) }
		})
	})
	seed := rand.Uint64()
	x := &resurrection{w: w, rng: rand.New(rand.NewPCG(seed, 1)), clock: &clock, want: make(map[string]Record)}
	for range 6 {
		for range 60 {
			x.one()
		}
		x.end()
		live := w.alike(compareP, 1, 2, 3)
		for key, r := range x.want {
			if got, has := live[key]; has == r.Deleted() || has && got != fmt.Sprint(r.Stamp, string(r.Value)) {
				t.Fatalf("seed %d: key %s is %q, its newest write %+v", seed, key, got, r)
			}
		}
	}
	// When all is quiet every tombstone goes.
	for range 2 {
		clock.Add(time.Hour.Milliseconds())
		w.node(1).round()
	}
	for i := 1; i <= 3; i++ {
		w.node(i).compact(compareP, x.step+1)
		if got := w.node(i).tombstones(compareP); got > 0 {
			t.Errorf("seed %d: %d tombstones are left on node %d", seed, got, i)
		}
	}
}
