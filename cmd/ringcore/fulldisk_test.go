package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A full disk: clear errors, reads all the time, then room, then normal service
// without a restart; nothing acknowledged is missing, also after a kill.
func TestFullDisk(t *testing.T) {
	long(t)
	disk := smallDisk(t, 64)
	p := startProcess(t, "n1", "--partitions", "8", "--replicas", "1", "--data-dir", filepath.Join(disk, "n1"))
	p.ok("kv", "put", "small", "good")
	f := newFiller(t, p.addr, 4<<10)

	// A disk that fills up, with writes.
	free := ballast(t, disk, 16<<20)
	f.fillUp()
	if len(f.acked) < 1000 {
		t.Errorf("only %d keys fit", len(f.acked))
	}
	mustBeFull(t, p)
	f.check(t.Context())
	free()
	f.goesOn("with room, writes go on")
	p.awaitCheck("disk", true)

	// Others take it to the last byte, while it writes.
	ctx, cancel := context.WithCancel(t.Context())
	refusals := make(chan []error, 1)
	go func() { refusals <- f.run(ctx) }()
	free = ballast(t, disk, 0)
	f.mustRefuse(<-refusals)
	cancel()
	until(t, "the disk is seen to be full", func() error {
		if ok, detail := p.check("disk"); ok || !strings.HasPrefix(detail, "0 of") {
			return errors.New(detail)
		}
		return nil
	})
	mustBeFull(t, p)
	f.check(t.Context())
	free()
	f.goesOn("after the last byte, writes go on")
	if ok, detail := p.check("log"); !ok {
		t.Error(detail)
	}
	if ok, detail := p.check("stores"); !ok {
		t.Error(detail)
	}
	for _, text := range []string{"commit log failed", "store failed", "panic"} {
		if strings.Contains(p.said(), text) {
			t.Errorf("%s:\n%s", text, p.said())
		}
	}

	// It can be stopped while the disk is full: what is not in the files is in the log.
	free = ballast(t, disk, 0)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.exited:
		t.Logf("stopped on a full disk: exit %d", p.cmd.ProcessState.ExitCode())
	case <-time.After(30 * time.Second):
		t.Fatalf("it does not stop:\n%s", p.said())
	}
	free()
	p.restart()
	f.check(t.Context())
	f.goesOn("after a stop on a full disk, writes go on")

	// Nothing is missing after a kill. With a little room it starts and serves reads.
	p.kill()
	free = ballast(t, disk, 0)
	giveBack(t, disk, 5<<20)
	p.restart()
	mustBeFull(t, p)
	f.check(t.Context())
	p.kill()
	free()

	// A start on a disk with no room at all does no harm.
	free = ballast(t, disk, 0)
	p.start(p.places()...)
	select {
	case <-p.ready:
		f.check(t.Context())
		t.Log("a start on a full disk serves reads")
		p.kill()
	case <-p.exited:
		if code := p.cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(p.said(), "no space left on device") ||
			!strings.Contains(p.said(), "make room on it and start again") {
			t.Errorf("exit %d:\n%s", code, p.said())
		}
		t.Log("a start on a full disk says so")
	case <-time.After(30 * time.Second):
		t.Fatalf("neither ready nor ended:\n%s", p.said())
	}
	free()
	p.restart()
	f.check(t.Context())
	f.goesOn("after the start, writes go on")
}

// A full disk is relieved by another node, which joins and takes partitions.
func TestFullDiskIsRelieved(t *testing.T) {
	disk := smallDisk(t, 48)
	n1 := startProcess(t, "n1", "--partitions", "8", "--replicas", "1", "--data-dir", filepath.Join(disk, "n1"))
	n1.ok("kv", "put", "small", "good")
	f := newFiller(t, n1.addr, 4<<10)
	f.fillUp()
	mustBeFull(t, n1)
	n2 := startProcess(t, "n2", "--join", n1.addr)
	settle(t, n1, n2)
	n1.awaitCheck("disk", true)
	for range 50 { // some of them are n1's
		f.goesOn("with half of the partitions, writes go on")
	}
	f.check(t.Context())
}

// With three replicas one full disk costs nothing: its node passes commands on, the
// others acknowledge, and it catches up when it has room.
func TestOneFullDiskOfThree(t *testing.T) {
	disk := smallDisk(t, 48)
	n1 := startProcess(t, "n1", "--partitions", "8")
	n2 := startProcess(t, "n2", "--join", n1.addr)
	n3 := startProcess(t, "n3", "--join", n1.addr, "--data-dir", filepath.Join(disk, "n3"))
	settle(t, n1, n2, n3)
	n1.ok("kv", "put", "small", "good")
	free := ballast(t, disk, 0)
	n3.awaitCheck("disk", false)
	for i := range 60 {
		for _, p := range []*process{n1, n2, n3} {
			if status, body, err := kvRequest(p, http.MethodPut, fmt.Sprint("key", i), fmt.Sprint(i)); err != nil || status/100 != 2 {
				t.Fatalf("key %d at %s: %d %s, %v", i, p.name, status, body, err)
			}
		}
	}
	// Asking for all three, the caller is told why there are only two.
	status, body, err := kvRequest(n1, http.MethodPut, "all?w=3", "x")
	if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(body, "quorum_not_met") || !strings.Contains(body, "the disk has 0 B free") {
		t.Errorf("%d %s, %v", status, body, err)
	}
	// The others may elect a leader meanwhile, and reads need no room.
	n1.kill()
	until(t, "there is a leader", func() error {
		for _, p := range []*process{n2, n3} {
			if ok, detail := p.check("leader"); !ok {
				return errors.New(detail)
			}
		}
		var members []struct {
			Name   string
			Leader bool
		}
		if err := n3.get("/v1/members", &members); err != nil {
			return err
		}
		for _, m := range members {
			if m.Leader && m.Name != "n1" {
				return nil
			}
		}
		return fmt.Errorf("%+v", members)
	})
	for i := range 60 {
		if got := get(t, n3, fmt.Sprint("key", i)); got != fmt.Sprint(i) {
			t.Errorf("key %d: %q", i, got)
		}
	}
	free()
	n3.awaitCheck("disk", true)
	n1.restart()
	settle(t, n1, n2, n3)
	until(t, "n3 takes writes", func() error {
		if status, body, err := kvRequest(n1, http.MethodPut, "all?w=3", "y"); err != nil || status/100 != 2 {
			return fmt.Errorf("%d %s, %w", status, body, err)
		}
		return nil
	})
	n1.kill() // a quorum is n2 and n3 now
	for i := range 60 {
		if got := get(t, n3, fmt.Sprint("key", i)); got != fmt.Sprint(i) {
			t.Errorf("key %d: %q", i, got)
		}
	}
}
