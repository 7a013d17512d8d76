package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// usage is what a process, alone in a network namespace, has used: its CPU time, and what went
// over the loopback device, acknowledgements of TCP included.
type usage struct {
	cpu            time.Duration
	packets, bytes float64
}

func usageOf(t *testing.T, pid int) (u usage) {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:])) // from the third on
	for _, s := range fields[11:13] {                                         // utime, stime
		ticks, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		u.cpu += time.Duration(ticks) * 10 * time.Millisecond
	}
	dev, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(dev)) {
		if name, counts, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && name == "lo" {
			if _, err := fmt.Sscan(counts, &u.bytes, &u.packets); err != nil {
				t.Fatal(err)
			}
		}
	}
	return u
}

// idleCost starts so many nodes in one process, waits until nothing moves, and measures what
// each of them costs in a second in which nobody asks for anything.
func idleCost(t *testing.T, nodes int) (u usage) {
	const host = 10
	l := newLAN(t, host)
	cmd := exec.Command("ringcore", "dev", "--nodes", strconv.Itoa(nodes), "--data-dir", filepath.Join(t.TempDir(), "dev"), "--log-level", "error")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := l.spawn(host)(cmd); err != nil {
		t.Fatal(err)
	}
	ready, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "ready cluster") {
				close(ready)
			}
		}
	}()
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		<-read
		_ = cmd.Wait()
	}()
	select {
	case <-ready:
	case <-time.After(3 * time.Minute):
		t.Fatalf("%d nodes are not ready\n%s", nodes, &said)
	}
	until(t, fmt.Sprintf("%d nodes are at rest", nodes), func() error {
		status := exec.Command("ringcore", "cluster", "status")
		var text bytes.Buffer
		status.Stdout, status.Stderr = &text, &text
		err := l.spawn(host)(status)
		if err == nil {
			err = status.Wait()
		}
		if err != nil || !strings.Contains(text.String(), "0 active, 0 waiting") {
			return fmt.Errorf("%w: %s", err, &text)
		}
		return nil
	})
	const length = 10 * time.Second
	before, begun := usageOf(t, cmd.Process.Pid), time.Now()
	<-time.After(length)
	after, took := usageOf(t, cmd.Process.Pid), time.Since(begun).Seconds()
	per := took * float64(nodes)
	return usage{
		time.Duration(float64(after.cpu-before.cpu) / per), (after.packets - before.packets) / per, (after.bytes - before.bytes) / per,
	}
}

// TestIdleNodes: what each of 10, 25 and 50 nodes costs that nobody asks for anything: raft, watches, pings between
// all, gossip. Every node pings every other, so a node's own cost grows with their number, and
// no faster than that. Part of make soak-nodes.
func TestIdleNodes(t *testing.T) {
	if os.Getenv("RINGCORE_SOAK_NODES") == "" {
		t.Skip("takes minutes: make soak-nodes")
	}
	sizes := []int{10, 25, 50}
	all := make(map[int]usage)
	for _, n := range sizes {
		t.Run(strconv.Itoa(n), func(t *testing.T) { all[n] = idleCost(t, n) })
		u := all[n]
		t.Logf("%d nodes, each, a second: %.1f ms of CPU, %.0f packets, %.0f bytes", n, float64(u.cpu.Microseconds())/1000, u.packets, u.bytes)
	}
	small, large := all[sizes[0]], all[sizes[2]]
	grown := 1.25 * float64(sizes[2]) / float64(sizes[0])
	for what, x := range map[string][2]float64{
		"CPU": {float64(large.cpu), float64(small.cpu)}, "packets": {large.packets, small.packets}, "bytes": {large.bytes, small.bytes},
	} {
		if x[0] > grown*x[1] {
			t.Errorf("%s of each node: %.0f with %d nodes, %.0f with %d: it grows faster than their number", what, x[0], sizes[2], x[1], sizes[0])
		}
	}
}
