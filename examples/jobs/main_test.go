package main

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/ringcoretest"
	"github.com/ringcore/ringcore/vnodes/vnodetest"
)

// clock is one that the test moves.
type clock struct{ sinceStart atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1e9, c.sinceStart.Load()) }
func (c *clock) advance(d time.Duration) { c.sinceStart.Add(int64(d)) }

func must1[T any](v T, err error) T {
	must(err)
	return v
}

func TestQueueIsAVnode(t *testing.T) {
	vnodetest.Run(t, service((&clock{}).now), vnodetest.Inputs{
		Commands: []ringcore.Call{
			must1(addJob.Call("a", add{"first"})), must1(addJob.Call("b", add{"second"})), must1(addJob.Call("a", add{"first"})),
			must1(claimJob.Call("a", claim{"w1", time.Minute})), must1(claimJob.Call("a", claim{"w2", time.Minute})),
			must1(doneJob.Call("a", done{"w1"})), must1(claimJob.Call("a", claim{"w2", time.Minute})),
		},
		Covers: [][]byte{must1(waiting.Body(struct{}{})), must1(all.Body(struct{}{}))},
	})
}

// Workers at three nodes do sixty jobs while a fourth node joins and one leaves. Each job
// is done once; those that a worker took and then fell silent are done by others when
// the lease is over; in the end nothing is left.
func TestEveryJobIsDone(t *testing.T) {
	const many, dropped = 60, 5
	var clk clock
	c := ringcoretest.Start(t, 3, ringcore.Config{Services: []ringcore.Service{service(clk.now)}, WithoutKV: true})
	for i := range many {
		if ok, err := addJob.Do(t.Context(), c.Node(i%3), fmt.Sprint("job", i), add{fmt.Sprint(i)}); err != nil || !ok {
			t.Fatalf("add: %v, %v", ok, err)
		}
	}
	for i := range dropped {
		if _, err := claimJob.Do(t.Context(), c.Node(0), fmt.Sprint("job", i), claim{"silent", time.Minute}); err != nil {
			t.Fatal(err)
		}
	}
	var times [many]atomic.Int64
	work := func(id string, _ job) error {
		var i int
		_, err := fmt.Sscanf(id, "job%d", &i)
		times[i].Add(1)
		return err
	}
	var workers sync.WaitGroup
	for _, n := range c.Nodes()[1:] {
		workers.Go(func() {
			for {
				did, err := round(t.Context(), n, n.Info().Name, time.Minute, work)
				if err != nil {
					t.Error(err)
				}
				if did == 0 || err != nil {
					return
				}
			}
		})
	}
	c.Join()
	c.Leave(c.Node(0))
	workers.Wait()
	left := must1(all.All(t.Context(), c.Node(0), struct{}{}))
	if len(left) != dropped {
		t.Errorf("%d jobs are left, want those %d that somebody has", len(left), dropped)
	}
	clk.advance(2 * time.Minute)
	if n, err := round(t.Context(), c.Node(0), "late", time.Minute, work); n != dropped || err != nil {
		t.Errorf("%d jobs are done when the lease is over, want %d: %v", n, dropped, err)
	}
	if _, err := doneJob.Do(t.Context(), c.Node(0), "job0", done{"silent"}); err != nil {
		t.Errorf("done twice: %v", err)
	}
	if _, err := claimJob.Do(t.Context(), c.Node(0), "job0", claim{"late", time.Minute}); !errors.Is(err, ringcore.ErrNotFound) {
		t.Errorf("claim what is done: %v", err)
	}
	for i := range many {
		if n := times[i].Load(); n != 1 {
			t.Errorf("job%d was done %d times", i, n)
		}
	}
	if left := must1(all.All(t.Context(), c.Node(0), struct{}{})); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
