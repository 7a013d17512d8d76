package ringcore

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ringcore/ringcore/vnodes/kv"
)

// reaped are three nodes that compare their records all the time, and keep floors close to
// the clock.
type reaped struct {
	t     *testing.T
	cfgs  [3]Config
	nodes [3]*Node
}

// open starts a node, on other ports each time: it is told where the others are now.
func (r *reaped) open(i int) {
	r.t.Helper()
	cfg := r.cfgs[i]
	for _, n := range r.nodes {
		if n != nil {
			cfg.Join = append(cfg.Join, n.Info().Addr)
		}
	}
	r.nodes[i] = testNode(r.t, cfg)
}

func (r *reaped) close(i int) {
	r.t.Helper()
	if err := r.nodes[i].Close(); err != nil {
		r.t.Fatal(err)
	}
	r.nodes[i] = nil
}

// records are what node i has, those of deleted keys included.
func (r *reaped) records(i int) (n int64) {
	for _, size := range r.nodes[i].core.Load().vnodes.Sizes()["kv"] {
		n += size.Records
	}
	return n
}

// Keys that are deleted while a replica is down leave a small record each in the files of
// the others, for as long as it stays down. When it is back, and all have been compared
// twice, these are gone from every file, and so are the keys.
func TestTombstonesLeaveTheFiles(t *testing.T) {
	const keys = 10_000 // so many that files are copied to be rid of them
	r := &reaped{t: t}
	for i := range r.cfgs {
		r.cfgs[i] = Config{
			Name: fmt.Sprint("n", i+1), Dir: t.TempDir(), Replicas: 3, Partitions: 8,
			CompareEvery: 200 * time.Millisecond, floorAge: time.Millisecond,
		}
		r.open(i)
	}
	settled(t, r.nodes[:]...)
	var writers sync.WaitGroup
	for w := range 64 {
		writers.Go(func() {
			for k := w; k < keys; k += 64 {
				err := r.nodes[0].KV().Put(t.Context(), "default", fmt.Append(nil, "key", k), []byte("value"), kv.Options{Timeout: 30 * time.Second})
				if err != nil {
					t.Errorf("put %d: %v", k, err)
				}
			}
		})
	}
	writers.Wait()
	r.close(2)
	if c, err := r.nodes[0].KV().Clear(t.Context(), "default", kv.Options{Timeout: 30 * time.Second}); err != nil || c.Deleted != keys {
		t.Fatalf("clear: %+v, %v", c, err)
	}
	for i := range 2 { // what is deleted is in the files then
		r.close(i)
		r.open(i)
	}
	for i := range 2 {
		if got := r.records(i); got != keys {
			t.Errorf("node %d has %d records while a replica is down", i+1, got)
		}
	}
	r.open(2)
	gone := func(i int) {
		eventually(t, fmt.Sprintf("node %d has no records", i+1), func() error {
			if n := r.records(i); n > 0 {
				return fmt.Errorf("%d", n)
			}
			return nil
		})
	}
	gone(0)
	gone(1)
	r.close(2) // it has got them just now, and has not written them to its files
	r.open(2)
	gone(2)
	for i := range r.nodes {
		_, err := r.nodes[i].KV().Get(t.Context(), "default", []byte("key7"), kv.Options{Timeout: 30 * time.Second})
		if err == nil {
			t.Errorf("node %d has a deleted key", i+1)
		}
	}
}
