package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
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

func TestLimiterIsAVnode(t *testing.T) {
	var commands []ringcore.Call
	for i := range 6 {
		call, err := takeTokens.Call(fmt.Sprint("user", i%2), take{N: 1, Burst: 2, PerSecond: 1})
		if err != nil {
			t.Fatal(err)
		}
		commands = append(commands, call)
	}
	vnodetest.Run(t, service((&clock{}).now), vnodetest.Inputs{Commands: commands})
}

// All nodes at once ask for more than there is, of ten keys, while another node joins and
// takes some of them over: each key gives its burst and not one more, and as many again
// when the time for that has passed.
func TestTheFleetGetsTheLimitAndNoMore(t *testing.T) {
	const keys, burst, asked = 10, 20, 30
	var clk clock
	c := ringcoretest.Start(t, 2, ringcore.Config{Services: []ringcore.Service{service(clk.now)}, WithoutKV: true, Storage: "memory"})
	ask := func() {
		var got [keys]atomic.Int64
		var all sync.WaitGroup
		for i := range asked {
			for _, n := range c.Nodes() {
				all.Go(func() {
					k := i % keys
					for range keys {
						k = (k + 1) % keys
						a, err := takeTokens.Do(t.Context(), n, fmt.Sprint("key", k), take{N: 1, Burst: burst, PerSecond: burst})
						switch {
						case err != nil:
							t.Errorf("take: %v", err)
						case a.OK:
							got[k].Add(1)
						case a.RetryIn <= 0 || a.RetryIn > time.Second:
							t.Errorf("retry in %v", a.RetryIn)
						}
					}
				})
			}
		}
		c.Join()
		all.Wait()
		for k := range keys {
			if n := got[k].Load(); n != burst {
				t.Errorf("key%d has given %d, want %d", k, n, burst)
			}
		}
	}
	ask()
	clk.advance(time.Second)
	ask()

	srv := httptest.NewServer(handler(c.Node(0), take{N: 1, Burst: 1, PerSecond: 1}))
	defer srv.Close()
	for _, want := range []int{http.StatusOK, http.StatusTooManyRequests} {
		resp, err := http.Post(srv.URL+"/take/web", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("POST /take/web: %s, want %d", resp.Status, want)
		}
	}
}
