package vnodes

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// latest is what the node's copy holds under key.
func (n *simNode) latest(key string) Record {
	n.w.t.Helper()
	v := n.m.Load().services[wire.ServiceID("kv")].vnodes[partitionOf(key)].Load()
	r, _, err := v.store.Latest([]byte(key))
	if err != nil {
		n.w.t.Fatal(err)
	}
	return r
}

// ofTheTime checks that a stamp is of now.
func ofTheTime(t *testing.T, what string, s Stamp) {
	t.Helper()
	if now := clockTime(time.Now()); s.Time > now || now-s.Time > clockSpan(time.Minute) {
		t.Errorf("%s is stamped %d ms off", what, int64(s.Time>>16)-int64(now>>16))
	}
}

// A clock whose ceiling is far ahead begins anew with the wall clock, but not below what
// was passed; the journal knows which life this is, over restarts.
func TestClockIsSetBackWhenItWasWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.bolt")
	reopen := func(j *Journal) *Journal {
		if j != nil {
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
		j, err := OpenJournal(path)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	j := reopen(nil)
	wall := time.UnixMilli(1_700_000_000_000)
	start := func(at time.Time) uint64 {
		t.Helper()
		j = reopen(j)
		c := newTestClock(t, func() time.Time { return at }, j)
		got, err := c.Now()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		return got
	}
	last := start(wall.Add(time.Hour))
	if got := start(wall.Add(time.Hour - time.Second)); got <= last || j.Life() != 0 {
		t.Errorf("a clock set back by a second issues %d after %d, in life %d", got, last, j.Life())
	}
	for life := uint64(1); life <= 11; life++ { // more than a digit
		if got, now := start(wall), clockTime(wall); got < now || got-now > clockSpan(time.Second) || j.Life() != life {
			t.Fatalf("%d ms off in life %d, want %d", int64(got>>16)-int64(now>>16), j.Life(), life)
		}
		if got := start(wall); j.Life() != life || got <= clockTime(wall) {
			t.Fatalf("another start made it life %d", j.Life())
		}
		_ = start(wall.Add(time.Hour))
	}
	passed := clockTime(wall.Add(time.Minute))
	if err := j.Pass(passed); err != nil {
		t.Fatal(err)
	}
	if err := j.Pass(passed - 1); err != nil || j.Passed() != passed {
		t.Fatal(j.Passed(), err)
	}
	if got := start(wall); got <= passed || got-passed > clockSpan(time.Second) {
		t.Errorf("issued %d, and %d was passed", got, passed)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// A node ran with a clock that was an hour ahead, or a century. When its clock is right
// again so are its stamps; only what replaces a record of that time is above it. Its
// copies have other names, since they may be given times again.
func TestRestartAfterAWrongClock(t *testing.T) {
	for _, wrong := range []time.Duration{time.Hour, 100 * 365 * 24 * time.Hour} {
		var ahead atomic.Int64
		s := &scripted{}
		w, n := oneNode(t, 1, func(ring.Partition) Vnode { return s })
		n.stop()
		n.tunedBy(func(c *Config) {
			c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		})
		var actors []uint64
		put := func(value string) {
			t.Helper()
			if got := n.run(s, func(tx *Tx) ([]byte, error) {
				actors = append(actors, tx.Actor())
				tx.Put([]byte("a"), []byte(value))
				tx.Put([]byte("new/"+value), nil)
				return nil, nil
			}); got.code != wire.OK {
				t.Fatal(got)
			}
		}
		latest := func(key string) Record {
			t.Helper()
			v := n.m.Load().services[wire.ServiceID("kv")].vnodes[partitionOf("a")].Load()
			r, _, err := v.store.Latest([]byte(key))
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		ahead.Store(int64(wrong))
		n.start()
		put("wrong")
		was := latest("a").Stamp
		if was.Time < clockTime(time.Now().Add(wrong-time.Minute)) {
			t.Fatalf("stamped %d ms before that", (clockTime(time.Now().Add(wrong))-was.Time)>>16)
		}
		n.crash()
		ahead.Store(0)
		n.start()
		put("right")
		n.crash()
		n.start()
		put("again")
		ofTheTime(t, "a new record", latest("new/right").Stamp)
		ofTheTime(t, "a new record of another life", latest("new/again").Stamp)
		if r := latest("a"); string(r.Value) != "again" || r.Stamp.Time <= was.Time || r.Stamp.Time-was.Time > clockSpan(10*time.Millisecond) {
			t.Errorf("%q, stamped %d ms above what it replaces", r.Value, (r.Stamp.Time-was.Time)>>16)
		}
		if len(actors) != 3 || actors[0] == actors[1] || actors[1] != actors[2] || actors[1] == 0 {
			t.Errorf("the copy is called %d: want another name once", actors)
		}
		w.settled()
	}
}

// What counts on from something far ahead is taken and moves no clock; what comes of a
// clock far ahead is refused.
func TestStampsThatCountOn(t *testing.T) {
	w := newWorld(t, 1, 1)
	n := w.node(1)
	n.mustPut("b", "1") // opens the vnodes
	ahead := Record{Stamp: Stamp{Time: clockTime(time.Now().Add(time.Hour)), Node: 2, ID: 7}, Value: []byte("ahead")}
	if got := n.effect("a", ahead, wire.FlagFresh); got.code != wire.ClockAhead {
		t.Errorf("a clock ahead: %v", got)
	}
	if got := n.effect("a", ahead, wire.FlagFresh|wire.FlagAhead); got.code != wire.OK {
		t.Errorf("a time that counts on: %v", got)
	}
	n.mustPut("b", "2")
	ofTheTime(t, "another record", n.latest("b").Stamp)

	// What another replica holds is above all that this node knows of.
	req := request(wire.OpCommand, w.ring(), "kv", "c", "put mine")
	req.Above = ahead.Stamp.Time
	if got := n.ask(req); got.code != wire.OK || !req.Ahead {
		t.Errorf("%v, ahead %v", got, req.Ahead)
	}
	if got := n.latest("c").Stamp.Time; got <= req.Above || got-req.Above > clockSpan(time.Millisecond)+1 {
		t.Errorf("stamped %d, above %d", got, req.Above)
	}
	req = request(wire.OpCommand, w.ring(), "kv", "d", "put mine")
	if got := n.ask(req); got.code != wire.OK || req.Ahead {
		t.Errorf("%v, ahead %v: it is of the time", got, req.Ahead)
	}
}

// The other replicas refuse this node's clock: what it wrote stays, just newer than what
// it replaced, and hides nothing of what they write. The same write of another
// coordinator takes its place; one that has replaced it meanwhile is left alone.
func TestWritesThatAreRefusedAreStampedAnew(t *testing.T) {
	var ahead atomic.Int64
	w := newWorld(t, 1, 1, func(n *simNode) {
		n.tunedBy(func(c *Config) {
			c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		})
	})
	n := w.node(1)
	n.mustPut("a", "before")
	before := n.latest("a").Stamp
	ahead.Store(int64(time.Hour))
	req := request(wire.OpCommand, w.ring(), "kv", "a", "put refused")
	if got := n.ask(req); got.code != wire.OK || req.Retract == nil {
		t.Fatal(got)
	}
	req.Retract()
	w.until("it is stamped anew", func() bool { return n.latest("a").Stamp.Time == before.Time+1 })
	if r := n.latest("a"); string(r.Value) != "refused" || r.Stamp.ID != req.Call.ID {
		t.Errorf("%+v", r)
	}
	n.mustGet("a", "refused")
	same := Record{Stamp: Stamp{Time: clockTime(time.Now()), Node: 2, ID: req.Call.ID}, Value: []byte("refused")}
	if got := n.effect("a", same, wire.FlagFresh); got.code != wire.OK || n.latest("a").Stamp != same.Stamp {
		t.Errorf("%v, and the record is of %v", got, n.latest("a").Stamp)
	}

	req = request(wire.OpCommand, w.ring(), "kv", "a", "put refused too")
	if got := n.ask(req); got.code != wire.OK {
		t.Fatal(got)
	}
	n.mustPut("a", "newer")
	newer := n.latest("a")
	req.Retract()
	if err := n.m.Load().services[wire.ServiceID("kv")].vnodes[partitionOf("a")].Load().idle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := n.latest("a"); r.Stamp != newer.Stamp {
		t.Errorf("a newer record was stamped anew: %+v", r)
	}
}

// Replicas that differ in records far ahead of the time compare them like any others.
func TestRecordsFarAheadAreCompared(t *testing.T) {
	w := newWorld(t, 2, 2, quickCompares)
	key := keyIn(compareP, 0)
	far := Write{Key: []byte(key), Record: Record{Stamp: Stamp{Time: clockTime(time.Now().Add(time.Hour)), Node: 1, ID: 1}, Value: []byte("ahead")}}
	w.node(1).mustPut(key, "older")
	w.node(2).mustPut(key, "older too")
	w.node(1).has(compareP, far)
	w.node(1).round()
	w.node(2).mustGet(key, "ahead")
}
