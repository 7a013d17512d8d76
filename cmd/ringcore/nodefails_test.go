package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringcore/ringcore/client"
)

// store is a way to the key/value service.
type store interface {
	put(key, value string) error
	get(key string) (string, error)
}

// goStore goes through the Go client, straight to the replicas.
type goStore struct {
	ctx context.Context
	c   *client.Client
}

func (s goStore) put(key, value string) error {
	return s.c.Put(s.ctx, "default", []byte(key), []byte(value), client.WriteOptions{})
}

func (s goStore) get(key string) (string, error) {
	obj, err := s.c.Get(s.ctx, "default", []byte(key), client.ReadOptions{})
	return string(obj.Value), err
}

// httpStore goes through one node's HTTP API.
type httpStore struct{ p *process }

func (s httpStore) put(key, value string) error {
	status, body, err := kvRequest(s.p, http.MethodPut, key, value)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("%d %s", status, body)
	}
	return err
}

func (s httpStore) get(key string) (string, error) {
	status, body, err := kvRequest(s.p, http.MethodGet, key, "")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, body)
	}
	return body, err
}

// traffic is workers that write and read keys of their own without pause, each of which
// knows what it must find.
type traffic struct {
	t       *testing.T
	client  *client.Client
	stop    atomic.Bool
	running sync.WaitGroup
	ops     atomic.Int64

	mu      sync.Mutex
	failed  int
	first   string
	longest time.Duration // of any operation
	slow    string        // which one
}

const trafficKeys = 16 // of each worker

func (x *traffic) run(name string, s store) {
	x.running.Go(func() {
		for i := 0; !x.stop.Load(); i++ {
			key, value := fmt.Sprintf("%s-%d", name, i%trafficKeys), fmt.Sprint("version ", i)
			if i >= trafficKeys { // a write of before that was delayed may have come meanwhile
				x.read(s, key, fmt.Sprint("version ", i-trafficKeys))
			}
			x.do("put "+key, func() error { return s.put(key, value) })
			x.read(s, key, value)
		}
	})
}

func (x *traffic) read(s store, key, want string) {
	x.do("get "+key, func() error {
		got, err := s.get(key)
		if err == nil && got != want {
			err = fmt.Errorf("%q instead of %q", got, want)
		}
		return err
	})
}

func (x *traffic) do(what string, op func() error) {
	begun := time.Now()
	err := op()
	took := time.Since(begun)
	x.ops.Add(1)
	x.mu.Lock()
	defer x.mu.Unlock()
	if took > x.longest {
		x.longest, x.slow = took, what
	}
	if err != nil {
		if x.failed++; x.failed == 1 {
			x.first = fmt.Sprintf("%s: %v", what, err)
		}
	}
}

// One of three nodes is stopped in its tracks, its connections stay open and swallow
// what is sent; or it is killed and started again. Nobody gets an error or a wrong
// answer, and nobody waits for longer than it takes to notice.
func TestNodeFailsUnderLoad(t *testing.T) {
	n1 := startProcess(t, "n1", "--replicas", "3")
	nodes := []*process{n1, startProcess(t, "n2", "--join", n1.addr), startProcess(t, "n3", "--join", n1.addr)}
	settle(t, nodes...)
	away := 3 * time.Second
	if deep() {
		away = 10 * time.Second
	}
	for _, x := range []struct {
		name      string
		victim    *process
		fail, end func(*process)
	}{
		{"n2 hangs", nodes[1], freeze, thaw},
		{"n1 hangs", nodes[0], freeze, thaw},
		{"n3 is killed", nodes[2], (*process).kill, (*process).restart},
		{"n1 is killed", nodes[0], (*process).kill, (*process).restart},
	} {
		t.Run(x.name, func(t *testing.T) {
			load, stalled := startTraffic(t, x.name[:2]+x.name[3:4], nodes, x.victim), watchPauses()
			load.goOn(2 * time.Second)
			x.fail(x.victim)
			load.goOn(away)
			x.end(x.victim)
			load.goOn(2 * time.Second)
			load.end(stalled)
		})
		settle(t, nodes...)
	}
}

// startTraffic has workers use the Go client, and the HTTP API of all nodes but the
// victim: whoever talks to a node that hangs, hangs.
func startTraffic(t *testing.T, name string, nodes []*process, victim *process) *traffic {
	x := &traffic{t: t}
	var addrs []string
	for _, p := range nodes {
		addrs = append(addrs, p.addr)
		if p != victim {
			x.run(name+"-http-"+p.name, httpStore{p})
		}
	}
	var err error
	if x.client, err = client.Open(t.Context(), client.Config{Addrs: addrs}); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		x.run(fmt.Sprint(name, "-go-", i), goStore{t.Context(), x.client})
	}
	return x
}

// end stops the workers and says how they fared. stalled is for how long the machine
// has kept everybody waiting.
func (x *traffic) end(stalled func() time.Duration) {
	x.stop.Store(true)
	x.running.Wait()
	machine := stalled()
	x.t.Logf("%d operations, the longest %v (%s); the machine itself stalled for %v", x.ops.Load(), x.longest, x.slow, machine)
	if x.failed > 0 {
		x.t.Errorf("%d operations failed, the first: %s", x.failed, x.first)
	}
	if most := 1500*time.Millisecond + machine; x.longest > most {
		x.t.Errorf("the longest operation took %v, more than %v", x.longest, most)
	}
	if err := x.client.Close(); err != nil {
		x.t.Error(err)
	}
}

func freeze(p *process) { p.signal(syscall.SIGSTOP) }

func thaw(p *process) { p.signal(syscall.SIGCONT) }

// goOn lets the workers run for a while.
func (x *traffic) goOn(d time.Duration) {
	select {
	case <-time.After(d):
	case <-x.t.Context().Done():
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}
