package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A node that loses its commit log stops with status 1 and says why; started again,
// it has everything that it acknowledged.
func TestLostLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n1")
	p := startProcess(t, "n1", "--partitions", "8", "--replicas", "1", "--data-dir", dir)
	f := newFiller(t, p.addr, 4<<10)
	if err := f.one(t.Context()); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "clusters", "*", "vnodes", "log"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("%v, %v", logs, err)
	}
	// The folder goes away: no segment can be made any more.
	if err := os.Rename(logs[0], logs[0]+".away"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	f.run(ctx)
	mustEndForLog(t, p)
	if err := os.Rename(logs[0]+".away", logs[0]); err != nil {
		t.Fatal(err)
	}
	p.restart()
	f.check(t.Context())
}

func mustEndForLog(t *testing.T, p *process) {
	t.Helper()
	p.awaitExit(exitFailed)
	if said := p.said(); !strings.Contains(said, "commit log failed: this node acknowledges no more writes") ||
		!strings.Contains(said, "ringcore: node "+p.name+" stopped: the commit log failed, so this node stops; see to its disk and start it again") {
		t.Errorf("it said:\n%s", said)
	}
}

// The same on a file system that fails under the node: every write and sync is an
// I/O error from one moment on.
func TestFailingFileSystem(t *testing.T) {
	disk, mount := ownDisk(t)
	p := startProcess(t, "n1", "--partitions", "8", "--replicas", "1", "--data-dir", filepath.Join(disk, "n1"))
	f := newFiller(t, p.addr, 1<<10)
	for range 500 {
		if err := f.one(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := shutdownFileSystem(disk); err != nil {
		p.kill()
		t.Skipf("the file system cannot be made to fail: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	f.run(ctx)
	mustEndForLog(t, p)
	unmount(t, disk)
	if err := mount("loop"); err != nil {
		t.Fatal(err)
	}
	p.restart()
	f.check(t.Context())
	p.stop()
}

// ownDisk mounts a file system of its own for a test, and returns its folder and how
// to mount it again.
func ownDisk(t *testing.T) (disk string, mount func(options string) error) {
	t.Helper()
	if os.Getuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("a file system in a file is mounted, which takes root on Linux")
	}
	base := t.TempDir()
	image, disk := filepath.Join(base, "image"), filepath.Join(base, "disk")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 256<<20), os.Mkdir(disk, 0o700)); err != nil {
		t.Fatal(err)
	}
	mount = func(options string) error {
		out, err := exec.Command("mount", "-t", "ext4", "-o", options, image, disk).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		t.Skipf("no ext4 file system can be made here: %v: %s", err, out)
	}
	if err := mount("loop"); err != nil {
		t.Skipf("no file system in a file can be mounted here: %v", err)
	}
	t.Cleanup(func() { unmount(t, disk) })
	return disk, mount
}
