package ringcore

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/vnodes/kv"
)

// wrongClock is a wall clock that a test sets.
type wrongClock struct{ off atomic.Int64 }

func (c *wrongClock) now() time.Time        { return time.Now().Add(time.Duration(c.off.Load())) }
func (c *wrongClock) set(off time.Duration) { c.off.Store(int64(off)) }

// overwrite writes the same keys again and again, through each node in turn, and reads
// what was written through the next one.
func overwrite(t *testing.T, what string, nodes ...*Node) {
	t.Helper()
	for i := range 60 {
		key, value := fmt.Sprint("key", i%10), fmt.Sprint(what, i)
		o := kv.Options{Timeout: 5 * time.Second}
		begun := time.Now()
		if err := nodes[i%len(nodes)].KV().Put(t.Context(), "default", []byte(key), []byte(value), o); err != nil {
			t.Fatalf("%s: put %s: %v", what, key, err)
		}
		mustGet(t, nodes[(i+1)%len(nodes)], key, value)
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%s: took %v", what, took)
		}
	}
}

// The clock of one of three nodes is wrong, from a restart on or set while it runs: no
// write fails and each one is newer than those before it, also when one of the two others
// is down, and when the clock is right again.
func TestAWrongClockCostsNobodyAnything(t *testing.T) {
	var c wrongClock
	n1 := testNode(t, Config{Name: "n1", Replicas: 3})
	n2 := testNode(t, Config{Name: "n2", Join: []string{n1.Info().Addr}})
	cfg := Config{Name: "n3", Dir: t.TempDir(), Now: c.now, Join: []string{n1.Info().Addr}}
	n3 := testNode(t, cfg)
	settled(t, n1, n2, n3)
	overwrite(t, "before", n1, n2, n3)
	restart := func(off time.Duration) {
		t.Helper()
		if err := n3.Close(); err != nil {
			t.Fatal(err)
		}
		c.set(off)
		n3 = testNode(t, cfg)
	}
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		c.set(off)
		overwrite(t, fmt.Sprint("set to ", off), n3, n1, n2)
		restart(off)
		overwrite(t, fmt.Sprint("restarted with ", off), n3, n1, n2)
	}
	restart(100 * 365 * 24 * time.Hour)
	overwrite(t, "restarted in another century", n3, n1, n2)
	if err := n2.Close(); err != nil {
		t.Fatal(err)
	}
	overwrite(t, "with one down", n1, n3)
	restart(0)
	overwrite(t, "right again", n3, n1)
}

// A cluster of one lived in the next hour, then its clock was set and others joined: its
// records are ahead of everybody's time, and can be replaced all the same.
func TestRecordsAheadOfTheTimeAreReplaced(t *testing.T) {
	var c wrongClock
	c.set(time.Hour)
	cfg := Config{Name: "n1", Replicas: 3, Dir: t.TempDir(), Now: c.now}
	n1 := testNode(t, cfg)
	overwrite(t, "ahead", n1)
	if err := n1.Close(); err != nil {
		t.Fatal(err)
	}
	c.set(0)
	n1 = testNode(t, cfg)
	overwrite(t, "right", n1)
	n2 := testNode(t, Config{Name: "n2", Join: []string{n1.Info().Addr}})
	n3 := testNode(t, Config{Name: "n3", Join: []string{n1.Info().Addr}})
	settled(t, n1, n2, n3)
	overwrite(t, "three", n1, n2, n3)
	mustPut(t, n2, "another", "value")
	mustGet(t, n3, "another", "value")
}
