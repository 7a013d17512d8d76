package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// writers put rising versions of keys until they are stopped, and know which
// versions were acknowledged.
type writers struct {
	acked   []atomic.Int64 // by key
	tried   []atomic.Int64
	stop    atomic.Bool
	running sync.WaitGroup
}

func startWriters(nodes []*process, keys int, from int64) *writers {
	w := &writers{acked: make([]atomic.Int64, keys), tried: make([]atomic.Int64, keys)}
	const each = 8
	for i := range each {
		w.running.Go(func() {
			for version := from; !w.stop.Load(); version++ {
				for k := i; k < keys && !w.stop.Load(); k += each {
					w.tried[k].Store(version)
					status, _, err := kvRequest(nodes[k%len(nodes)], http.MethodPut, fmt.Sprint("key", k), strconv.FormatInt(version, 10))
					if err == nil && status/100 == 2 {
						w.acked[k].Store(version)
					}
				}
			}
		})
	}
	return w
}

func (w *writers) end() {
	w.stop.Store(true)
	w.running.Wait()
}

// check reads every key through every node: it must be as new as what was acknowledged.
func (w *writers) check(t *testing.T, nodes []*process) {
	t.Helper()
	count := 0
	for _, p := range nodes {
		for k := range w.acked {
			want := w.acked[k].Load()
			if want == 0 {
				continue
			}
			count++
			got, _ := strconv.ParseInt(get(t, p, fmt.Sprint("key", k)), 10, 64)
			if got < want || got > w.tried[k].Load() {
				t.Fatalf("key %d at %s: version %d, %d was acknowledged", k, p.name, got, want)
			}
		}
	}
	if count == 0 {
		t.Fatal("nothing was acknowledged")
	}
}

// All nodes die at once while they take writes, again and again, and are started
// again on the same ports and on others: every acknowledged write is there.
func TestKillOfAllNodes(t *testing.T) {
	long(t)
	for _, replicas := range []string{"1", "3"} {
		t.Run("replicas"+replicas, func(t *testing.T) {
			n1 := startProcess(t, "n1", "--replicas", replicas)
			nodes := []*process{n1, startProcess(t, "n2", "--join", n1.addr), startProcess(t, "n3", "--join", n1.addr)}
			settle(t, nodes...)
			version := int64(1)
			for round, elsewhere := range []bool{false, true, false, true} {
				w := startWriters(nodes, 64, version)
				until(t, "some writes are acknowledged", func() error {
					if w.acked[63].Load() < version+1 {
						return fmt.Errorf("version %d of the last key", w.acked[63].Load())
					}
					return nil
				})
				<-time.After(rand.N(100 * time.Millisecond)) // a random moment, not a wait for something
				killAll(nodes)
				w.end()
				t.Logf("round %d: versions up to %d acknowledged", round, w.acked[0].Load())
				restartAll(nodes, elsewhere)
				settle(t, nodes...)
				w.check(t, nodes)
				version = w.tried[0].Load() + 1
			}
		})
	}
}

func killAll(nodes []*process) {
	var wg sync.WaitGroup
	for _, p := range nodes {
		wg.Go(p.kill)
	}
	wg.Wait()
}

// restartAll starts the nodes at once, where they were or all on new ports. On
// new ports the first one's tells the others where somebody is.
func restartAll(nodes []*process, elsewhere bool) {
	if !elsewhere {
		for _, p := range nodes {
			p.start(p.places()...)
		}
		for _, p := range nodes {
			p.awaitReady()
		}
		return
	}
	nodes[0].start("--addr", "127.0.0.1:0")
	nodes[0].awaitReady()
	for _, p := range nodes[1:] {
		p.start("--addr", "127.0.0.1:0", "--join", nodes[0].addr)
	}
	for _, p := range nodes[1:] {
		p.awaitReady()
	}
}

// A node that is killed at a random moment of a join comes up as a member or as
// itself; and both sides agree on which.
func TestKillDuringJoin(t *testing.T) {
	n1 := startProcess(t, "n1", "--partitions", "16")
	n1.ok("kv", "put", "k", "v")
	members := []*process{n1}
	joined, alone := 0, 0
	for round := range 8 {
		p := startProcess(t, fmt.Sprint("joiner", round), "--partitions", "16")
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			p.ringcore("cluster", "join", n1.addr, "--commit")
		}()
		<-time.After(rand.N(60 * time.Millisecond)) // a random moment, not a wait for something
		p.kill()
		<-asked
		p.restart()
		if clusterOf(t, p) == clusterOf(t, n1) {
			joined++
			members = append(members, p)
			settle(t, members...)
			if got := p.ok("kv", "get", "k"); got != "v" {
				t.Fatalf("get at the joiner: %q", got)
			}
			if len(members) > 3 { // enough; make room
				n1.ok("cluster", "leave", p.name, "--commit")
				p.awaitExit(0)
				members = members[:len(members)-1]
				settle(t, members...)
			}
			continue
		}
		alone++
		settle(t, p)
		settle(t, members...)
		p.ok("kv", "put", "own", "data")
		p.kill()
	}
	t.Logf("%d joined, %d stayed themselves", joined, alone)
}

func clusterOf(t *testing.T, p *process) string {
	t.Helper()
	var r struct {
		ClusterID string `json:"cluster_id"`
	}
	if err := p.get("/v1/ring", &r); err != nil {
		t.Fatal(err)
	}
	return r.ClusterID
}
