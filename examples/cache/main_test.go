package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
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

func TestCacheIsAVnode(t *testing.T) {
	none := struct{}{}
	vnodetest.Run(t, service((&clock{}).now), vnodetest.Inputs{
		Commands: []ringcore.Call{
			must1(setKey.Call("a", set{[]byte("1"), time.Second})), must1(setKey.Call("b", set{[]byte("2"), -1})),
			must1(setKey.Call("a", set{[]byte("3"), -1})), must1(dropKey.Call("b", none)),
		},
		Queries: []ringcore.Call{must1(getKey.Call("a", none)), must1(getKey.Call("b", none))},
		Covers:  [][]byte{must1(expired.Body(none))},
	})
}

// While a node is down what it held is missed, never wrong and never an error; what is set
// meanwhile is there. Another node joins and takes keys over. All expires in its time.
func TestANodeThatGoesIsAMiss(t *testing.T) {
	const keys = 20
	var clk clock
	c := ringcoretest.Start(t, 3, ringcore.Config{Services: []ringcore.Service{service(clk.now)}, WithoutKV: true, Storage: "memory"})
	put := func(from, to int, generation string) {
		t.Helper()
		for i := from; i < to; i++ {
			if _, err := setKey.Do(t.Context(), c.Node(i%2), fmt.Sprint("key", i), set{fmt.Append(nil, generation, i), time.Minute}); err != nil {
				t.Fatal(err)
			}
		}
	}
	hits := func(from, to int, generation string) (n int) {
		t.Helper()
		for i := from; i < to; i++ {
			v, err := get(t.Context(), c.Node(i%2), fmt.Sprint("key", i))
			if want := fmt.Sprint(generation, i); err != nil || v != nil && string(v) != want {
				t.Errorf("key%d is %q, want %q or a miss: %v", i, v, want, err)
			}
			if v != nil {
				n++
			}
		}
		return n
	}
	put(0, keys, "old")
	if n := hits(0, keys, "old"); n != keys {
		t.Errorf("%d hits of %d", n, keys)
	}
	c.Stop(c.Node(2))
	put(0, keys/2, "new")
	if n := hits(0, keys/2, "new"); n != keys/2 {
		t.Errorf("%d hits of %d that were set while a node is down", n, keys/2)
	}
	if n := hits(keys/2, keys, "old"); n == keys/2 {
		t.Errorf("%d hits of %d, some of them on the node that is down", n, keys/2)
	}
	c.Join()
	if n := hits(0, keys/2, "new"); n != keys/2 {
		t.Errorf("%d hits of %d after another node has joined", n, keys/2)
	}
	clk.advance(2 * time.Minute)
	if n := hits(0, keys/2, "no"); n > 0 {
		t.Errorf("%d hits of what has expired", n)
	}
	overHTTP(t, c.Node(0))
}

func overHTTP(t *testing.T, n *ringcore.Node) {
	srv := httptest.NewServer(handler(n))
	defer srv.Close()
	req := must1(http.NewRequest("PUT", srv.URL+"/web?ttl=1m", strings.NewReader("hello")))
	must1(http.DefaultClient.Do(req)).Body.Close()
	resp := must1(http.Get(srv.URL + "/web"))
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "hello" {
		t.Errorf("GET /web: %s, %q, %v", resp.Status, b, err)
	}
}

// A sweep drops what has expired, on all nodes, and only that.
func TestSweep(t *testing.T) {
	var clk clock
	c := ringcoretest.Start(t, 2, ringcore.Config{Services: []ringcore.Service{service(clk.now)}, WithoutKV: true, Storage: "memory"})
	for i := range 20 {
		if _, err := setKey.Do(t.Context(), c.Node(i%2), fmt.Sprint("key", i), set{[]byte("v"), time.Duration(i%2+1) * time.Minute}); err != nil {
			t.Fatal(err)
		}
	}
	clk.advance(90 * time.Second)
	for _, want := range []int{10, 0} {
		if n, err := sweep(t.Context(), c.Node(0)); n != want || err != nil {
			t.Errorf("swept %d, want %d: %v", n, want, err)
		}
	}
	if v, err := get(t.Context(), c.Node(1), "key1"); string(v) != "v" || err != nil {
		t.Errorf("what had time left: %q, %v", v, err)
	}
}
