package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/vnodes/vnodetest"
)

func TestCounterIsAVnode(t *testing.T) {
	apples, pears := ringcore.Call{Key: []byte("apples")}, ringcore.Call{Key: []byte("pears")}
	vnodetest.Run(t, service(), vnodetest.Inputs{
		Commands: []ringcore.Call{apples, pears, apples, apples},
		Queries:  []ringcore.Call{apples, pears, {Key: []byte("plums")}},
	})
}

// names are the counters that the test counts up: more than there are partitions.
const names = 100

// member is a node with its HTTP server.
type member struct {
	*ringcore.Node
	url string
}

func open(t *testing.T, name string, join ...string) member {
	t.Helper()
	n, err := ringcore.Open(t.Context(), ringcore.Config{
		Dir: t.TempDir(), Name: name, Addr: "127.0.0.1:0", HTTPAddr: "off", Join: join, OneMachine: true, WithoutKV: true,
		Services: []ringcore.Service{service()}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(handler(n))
	t.Cleanup(func() {
		srv.Close()
		if err := n.Close(); err != nil {
			t.Errorf("close %s: %v", name, err)
		}
	})
	if err := n.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return member{n, srv.URL}
}

// ask sends a request and returns the number that it is answered with; 0 for none.
func ask(method, url string) (int, error) {
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch text := strings.TrimSpace(string(body)); {
	case err != nil:
		return 0, err
	case resp.StatusCode != http.StatusOK:
		return 0, fmt.Errorf("%s: %s", resp.Status, text)
	case text == "":
		return 0, nil
	default:
		return strconv.Atoi(text)
	}
}

// clerk counts up at one member until it is stopped.
type clerk struct {
	counted [names]int // as acknowledged
	total   atomic.Int64
	err     atomic.Pointer[error] // why it has stopped by itself
	stop    chan struct{}
	done    sync.WaitGroup
}

func work(m member) *clerk {
	c := &clerk{stop: make(chan struct{})}
	c.done.Go(func() {
		for i := 0; ; i = (i + 1) % names {
			select {
			case <-c.stop:
				return
			default:
			}
			if _, err := ask("POST", fmt.Sprint(m.url, "/incr/", i)); err != nil {
				err = fmt.Errorf("count %d up at %s: %w", i, m.Info().Name, err)
				c.err.Store(&err)
				return
			}
			c.counted[i]++
			c.total.Add(1)
		}
	})
	return c
}

func (c *clerk) end() {
	close(c.stop)
	c.done.Wait()
}

// hasWorked waits until every clerk has gone round all counters once more.
func hasWorked(t *testing.T, clerks ...*clerk) {
	t.Helper()
	for _, c := range clerks {
		goal := c.total.Load() + names
		await(t, "a clerk counts", func() bool { return c.total.Load() >= goal || c.err.Load() != nil })
	}
}

// await waits until ok, for a minute at most.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: still not after a minute", what)
		}
	}
}

// A third node joins and leaves while all count: every increment that was
// acknowledged is in the end, and none twice.
func TestNoIncrementIsLost(t *testing.T) {
	a := open(t, "a")
	b := open(t, "b", a.Info().Addr)
	clerks := []*clerk{work(a), work(b)}
	hasWorked(t, clerks...)
	c := open(t, "c", a.Info().Addr)
	visitor := work(c)
	hasWorked(t, append(clerks, visitor)...)
	visitor.end()
	if err := a.Leave(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Done():
	case <-time.After(time.Minute):
		t.Fatal("c has not left")
	}
	hasWorked(t, clerks...)
	for _, w := range clerks {
		w.end()
	}
	clerks = append(clerks, visitor)
	for i := range names {
		want := 0
		for _, w := range clerks {
			want += w.counted[i]
		}
		for _, m := range []member{a, b} {
			if got, err := ask("GET", fmt.Sprint(m.url, "/count/", i)); err != nil || got != want {
				t.Errorf("counter %d is %d at %s, want %d: %v", i, got, m.Info().Name, want, err)
			}
		}
	}
	for _, w := range clerks {
		if err := w.err.Load(); err != nil {
			t.Error(*err)
		}
		t.Logf("%d increments", w.total.Load())
	}
}
