package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
)

// A node whose files are damaged can leave: what cannot be read there comes from the
// other replicas, and no reader notices.
func TestLeaveOfDamagedNode(t *testing.T) {
	long(t)
	n1 := startProcess(t, "n1", "--replicas", "3", "--partitions", "16")
	leaver := startProcess(t, "n2", "--join", n1.addr)
	n3, n4 := startProcess(t, "n3", "--join", n1.addr), startProcess(t, "n4", "--join", n1.addr)
	stay := []*process{n1, n3, n4}
	settle(t, n1, leaver, n3, n4)
	putFaultKeys(t, n1)
	readers := startFaultReaders(stay)
	leaver.stop() // everything is in the files
	flips := 0
	for _, path := range leaver.vnodeFiles(t, "kv/*.bolt") {
		if flipBit(t, path, 2+rand.IntN(2)) {
			flips++
		}
	}
	if flips == 0 {
		t.Fatal("nothing was damaged")
	}
	leaver.restart()
	n1.ok("cluster", "leave", leaver.name, "--commit")
	leaver.awaitExit(exitOK)
	settle(t, stay...)
	readers.end(t)
	for k := range faultKeys {
		if status, body, err := kvRequest(n1, http.MethodGet, fmt.Sprintf("key%d?r=all", k), ""); err != nil || status != http.StatusOK || body != faultValue(k) {
			t.Fatalf("key %d after the leave: %d %.80q %v", k, status, body, err)
		}
	}
}

// A node whose disk becomes read-only ends instead of refusing requests, and the
// others serve on.
func TestReadOnlyDisk(t *testing.T) {
	disk, mount := ownDisk(t)
	n1 := startProcess(t, "n1", "--replicas", "3", "--partitions", "16")
	n2 := startProcess(t, "n2", "--join", n1.addr)
	victim := startProcess(t, "n3", "--join", n1.addr, "--data-dir", filepath.Join(disk, "n3"))
	nodes := []*process{n1, n2, victim}
	settle(t, nodes...)
	putFaultKeys(t, n1)
	readers := startFaultReaders(nodes[:2])
	forceReadOnly(t, disk)
	putFaultKeys(t, n2) // none fails
	mustEndForLog(t, victim)
	putFaultKeys(t, n1)
	readers.end(t)
	unmount(t, disk)
	if err := mount("loop"); err != nil {
		t.Fatal(err)
	}
	victim.restart()
	settle(t, nodes...)
}

// forceReadOnly makes the kernel take the file system for one with errors, after
// which it may only be read, though files are open for writing.
func forceReadOnly(t *testing.T, disk string) {
	t.Helper()
	if out, err := exec.Command("mount", "-o", "remount,abort", disk).CombinedOutput(); err != nil {
		t.Skipf("the file system cannot be made read-only: %v: %s", err, out)
	}
}
