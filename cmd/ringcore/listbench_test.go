//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/ringcore/ringcore/client"
)

const (
	listNodeBar   = 64_000_000 // bytes of RssAnon that listings add to a node's
	listClientBar = 32_000_000 // bytes of the client's heap
)

// TestListBench lists a large bucket of three nodes, three replicas, through the Go
// client and through HTTP, and watches the memory of both ends. RINGCORE_BENCH_LIST is
// how many keys.
func TestListBench(t *testing.T) {
	n := setting(t, "RINGCORE_BENCH_LIST", 0)
	if n == 0 {
		t.Skip("make bench-list runs it")
	}
	b := startBenchNode(t, "--replicas", "3")
	n2 := startProcess(t, "n2", "--join", b.node.addr, "--log-level", "warn")
	n3 := startProcess(t, "n3", "--join", b.node.addr, "--log-level", "warn")
	settle(t, b.node, n2, n3)
	_, err := b.each(t.Context(), n, func(ctx context.Context, c *client.Client, i int) error {
		return c.Put(ctx, benchBucket, benchKey(i), []byte("v"), client.WriteOptions{})
	})
	if err != nil {
		t.Fatal(err)
	}
	before, err := b.anonymous()
	if err != nil {
		t.Fatal(err)
	}
	memory := b.watchMemory()
	b.listByClient(n)
	b.listByHTTP(n)
	grown := memory.end() - before
	bar(t, grown < listNodeBar, "RssAnon grew by %s from %s; bar %s", mb(grown), mb(before), mb(listNodeBar))
}

// listByClient lists every key, and looks at this process's heap meanwhile.
func (b *benchNode) listByClient(n int) {
	b.t.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, m.HeapAlloc
	keys := 0
	began := time.Now()
	cover, err := b.clients[0].Keys(b.t.Context(), benchBucket, client.CoverOptions{Timeout: 10 * time.Minute}, func(*client.Item) error {
		if keys++; keys%50_000 == 0 {
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
		return nil
	})
	if err != nil || !cover.Complete || keys != n {
		b.t.Errorf("%d keys of %d, %+v, %v", keys, n, cover, err)
	}
	say("Go client: %d keys in %s", keys, round(time.Since(began)))
	grown := int64(most - before)
	bar(b.t, grown < listClientBar, "the client's heap grew by %s; bar %s", mb(grown), mb(listClientBar))
}

// listByHTTP lists every key at the node that is watched.
func (b *benchNode) listByHTTP(n int) {
	b.t.Helper()
	began := time.Now()
	resp, err := http.Get(fmt.Sprintf("http://%s/v1/kv/%s?list=keys&timeout=10m", b.node.http, benchBucket))
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	lines, last := -1, ""
	scan := bufio.NewScanner(resp.Body)
	for ; scan.Scan(); lines++ {
		last = scan.Text()
	}
	var end struct{ Complete bool }
	if err := json.Unmarshal([]byte(last), &end); err != nil || !end.Complete || lines != n {
		b.t.Errorf("%d lines for %d keys, the last one %q: %v", lines, n, last, err)
	}
	say("HTTP: %d keys in %s", lines, round(time.Since(began)))
}
