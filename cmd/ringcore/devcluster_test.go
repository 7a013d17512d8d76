package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ringcore/ringcore/client"
)

// devPorts finds a base port whose nodes' ports are all free.
func devPorts(t *testing.T, nodes int) int {
	t.Helper()
	for range 100 {
		base := 20000 + rand.IntN(30000)
		if portsFree(base, nodes) {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}

func portsFree(base, nodes int) bool {
	for i := range nodes {
		for j := range 4 {
			ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(base+portStep*i+j))
			if err != nil {
				return false
			}
			_ = ln.Close()
		}
	}
	return true
}

// runDev runs `ringcore dev` until stop is called, which sends SIGINT.
func runDev(t *testing.T, dir string, base int) (stop func()) {
	t.Helper()
	cmd := exec.Command("ringcore", "dev", "--data-dir", dir, "--base-port", strconv.Itoa(base))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if lines.Text() == "ready cluster nodes=3" {
				close(ready)
			}
		}
		done <- cmd.Wait()
	}()
	stopped := false
	stop = func() {
		t.Helper()
		if stopped {
			return
		}
		stopped = true
		_ = cmd.Process.Signal(syscall.SIGINT)
		if err := <-done; err != nil {
			t.Errorf("dev after SIGINT: %v\n%s", err, log.String())
		}
	}
	t.Cleanup(stop)
	select {
	case <-ready:
	case <-time.After(30 * time.Second):
		t.Fatalf("dev is not ready\n%s", log.String())
	}
	return stop
}

// The command line, HTTP, a Redis client and the Go client see the same data on
// every node of a dev cluster; stopped and started again, there and on other
// ports, it is the same cluster with the same data.
func TestDevClusterThroughEveryDoor(t *testing.T) {
	long(t)
	dir := t.TempDir()
	base := devPorts(t, 3)
	stop := runDev(t, dir, base)
	cluster := devDoors(t, base, true)
	stop()
	stop = runDev(t, dir, base)
	if again := devDoors(t, base, false); again != cluster {
		t.Errorf("the same command has started cluster %s, not %s", again, cluster)
	}
	stop()
	base = devPorts(t, 3)
	stop = runDev(t, dir, base)
	if again := devDoors(t, base, false); again != cluster {
		t.Errorf("on other ports it is cluster %s, not %s", again, cluster)
	}
	stop()
}

// devDoors writes one key through each door, if write, and reads all of them
// through each door of each node. It returns the cluster's id.
func devDoors(t *testing.T, base int, write bool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var nodes []*process
	for i := range 3 {
		port := base + portStep*i
		at := func(off int) string { return "127.0.0.1:" + strconv.Itoa(port+off) }
		nodes = append(nodes, &process{t: t, name: fmt.Sprint("n", i+1), addr: at(0), http: at(2), resp: at(3)})
	}
	settle(t, nodes...)
	c, err := client.Open(ctx, client.Config{Addrs: []string{nodes[1].addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if write {
		nodes[0].ok("kv", "put", "by-cli", "1")
		put(t, nodes[1], "by-http", "2")
		rdb := goredis.NewClient(&goredis.Options{Addr: nodes[2].resp})
		defer rdb.Close()
		if err := rdb.Set(ctx, "by-redis", "3", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if err := c.Put(ctx, "default", []byte("by-client"), []byte("4"), client.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"by-cli": "1", "by-http": "2", "by-redis": "3", "by-client": "4"}
	for _, p := range nodes {
		rdb := goredis.NewClient(&goredis.Options{Addr: p.resp})
		defer rdb.Close()
		for key, value := range want {
			if got := p.ok("kv", "get", key); got != value {
				t.Errorf("%s by the command line at %s: %q", key, p.name, got)
			}
			if got := get(t, p, key); got != value {
				t.Errorf("%s by HTTP at %s: %q", key, p.name, got)
			}
			if got, err := rdb.Get(ctx, key).Result(); err != nil || got != value {
				t.Errorf("%s by Redis at %s: %q, %v", key, p.name, got, err)
			}
			obj, err := c.Get(ctx, "default", []byte(key), client.ReadOptions{})
			if err != nil || string(obj.Value) != value {
				t.Errorf("%s by the client: %q, %v", key, obj.Value, err)
			}
		}
	}
	if write {
		foreignTools(t, nodes)
	}
	return clusterOf(t, nodes[0])
}
