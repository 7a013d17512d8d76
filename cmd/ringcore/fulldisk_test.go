package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringcore/ringcore/client"
)

// smallDisk is a folder on a file system of its own, of so many MiB.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	if os.Getuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("a small file system is mounted, which takes root on Linux")
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", mib), "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("no file system can be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() { unmount(t, dir) })
	return dir
}

func unmount(t *testing.T, dir string) {
	t.Helper()
	if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
		t.Errorf("umount: %v: %s", err, out)
	}
}

// ballast takes so many bytes of the file system of dir, or all that are left if
// 0; what it returns frees them.
func ballast(t *testing.T, dir string, bytes int) (free func()) {
	t.Helper()
	path := filepath.Join(dir, fmt.Sprintf("ballast-%d", bytes))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	left, all := bytes, bytes == 0
	for size := 1 << 20; size > 0 && (all || left > 0); {
		n, err := f.Write(make([]byte, size))
		left -= n
		if err != nil {
			if !errors.Is(err, syscall.ENOSPC) || !all {
				t.Fatal(err)
			}
			size /= 2
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// filler puts new keys by the Go client, and knows which were acknowledged.
type filler struct {
	t    *testing.T
	c    *client.Client
	size int

	mu    sync.Mutex
	next  int
	acked []int
}

const fillBucket = "fill"

func newFiller(t *testing.T, addr string, size int) *filler {
	t.Helper()
	c, err := client.Open(t.Context(), client.Config{Addrs: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &filler{t: t, c: c, size: size}
}

func (f *filler) key(i int) []byte { return fmt.Appendf(nil, "k%06d", i) }

func (f *filler) value(i int) string {
	return strings.Repeat(fmt.Sprintf("%06d.", i), f.size/7+1)[:f.size]
}

// one puts one new key.
func (f *filler) one(ctx context.Context) error {
	f.mu.Lock()
	i := f.next
	f.next++
	f.mu.Unlock()
	err := f.c.Put(ctx, fillBucket, f.key(i), []byte(f.value(i)), client.WriteOptions{})
	if err == nil {
		f.mu.Lock()
		f.acked = append(f.acked, i)
		f.mu.Unlock()
	}
	return err
}

// run puts from several goroutines, each until its put fails, and returns the errors.
func (f *filler) run(ctx context.Context) []error {
	const callers = 16
	errs := make(chan error, callers)
	for range callers {
		go func() {
			for {
				if err := f.one(ctx); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	var all []error
	for range callers {
		all = append(all, <-errs)
	}
	return all
}

// check reads every key that was acknowledged.
func (f *filler) check(ctx context.Context) {
	f.t.Helper()
	f.mu.Lock()
	acked := f.acked
	f.mu.Unlock()
	var readers sync.WaitGroup
	const callers = 8
	for r := range callers {
		readers.Go(func() {
			for n := r; n < len(acked); n += callers {
				i := acked[n]
				if o, err := f.c.Get(ctx, fillBucket, f.key(i), client.ReadOptions{}); err != nil || string(o.Value) != f.value(i) {
					f.t.Errorf("key %d of %d: %d bytes, %v", i, len(acked), len(o.Value), err)
					return
				}
			}
		})
	}
	readers.Wait()
	if len(acked) == 0 {
		f.t.Error("nothing was acknowledged")
	}
}

// mustRefuse says that all errors are those of a full disk.
func (f *filler) mustRefuse(errs []error) {
	f.t.Helper()
	for _, err := range errs {
		if !errors.Is(err, client.ErrDiskFull) {
			f.t.Errorf("%v", err)
		}
	}
}

// goesOn waits until a put succeeds, and says how long that took.
func (f *filler) goesOn(what string) {
	f.t.Helper()
	begun := time.Now()
	until(f.t, what, func() error { return f.one(f.t.Context()) })
	if took := time.Since(begun); took > 5*time.Second {
		f.t.Errorf("%s: after %v", what, took)
	}
	f.t.Logf("%s after %v, %d keys acknowledged", what, time.Since(begun).Round(time.Millisecond), len(f.acked))
}

// respReply sends one command of the Redis protocol and returns the first line of the reply.
func respReply(t *testing.T, p *process, command string) string {
	t.Helper()
	conn, err := net.Dial("tcp", p.resp)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// check is one of /readyz's, of a node that is ready.
func (p *process) check(name string) (ok bool, detail string) {
	p.t.Helper()
	var r struct {
		Ready  bool
		Checks []struct {
			Name, Detail string
			OK           bool
		}
	}
	if err := p.get("/readyz", &r); err != nil || !r.Ready {
		p.t.Fatalf("%+v, %v", r, err)
	}
	for _, c := range r.Checks {
		if c.Name == name {
			return c.OK, c.Detail
		}
	}
	p.t.Fatalf("no check %s: %+v", name, r)
	return false, ""
}

// mustBeFull says that every door tells that the disk is full, and serves reads.
func mustBeFull(t *testing.T, p *process) {
	t.Helper()
	status, body, err := kvRequest(p, http.MethodPut, "small", "refused")
	var problem struct{ Code, Detail string }
	if jsonErr := json.Unmarshal([]byte(body), &problem); err != nil || jsonErr != nil || status != http.StatusInsufficientStorage ||
		problem.Code != "disk_full" || !strings.Contains(problem.Detail, "free") {
		t.Errorf("HTTP: %d %s, %v", status, body, err)
	}
	if got := respReply(t, p, "SET small refused"); !strings.HasPrefix(got, "-MISCONF disk_full: ") {
		t.Errorf("RESP: %q", got)
	}
	if got := respReply(t, p, "GET small"); got != "$4\r\n" {
		t.Errorf("RESP get: %q", got)
	}
	if got := get(t, p, "small"); got != "good" {
		t.Errorf("HTTP get: %q", got)
	}
	if ok, detail := p.check("disk"); ok || !strings.Contains(detail, "writes and partitions that would move here are refused") {
		t.Errorf("readyz: %v %s", ok, detail)
	}
}

// A full disk: clear errors, reads all the time, then room, then normal service
// without a restart; nothing acknowledged is missing, also after a kill.
func TestFullDisk(t *testing.T) {
	disk := smallDisk(t, 64)
	p := startProcess(t, "n1", "--partitions", "8", "--replicas", "1", "--data-dir", filepath.Join(disk, "n1"))
	p.ok("kv", "put", "small", "good")
	f := newFiller(t, p.addr, 4<<10)

	// A disk that fills up, with writes.
	free := ballast(t, disk, 16<<20)
	f.mustRefuse(f.run(t.Context()))
	t.Logf("%d keys of %d bytes fit", len(f.acked), f.size)
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

	// Nothing is missing after a kill, and a start on a full disk does no harm.
	p.kill()
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

func (p *process) awaitCheck(name string, want bool) {
	p.t.Helper()
	until(p.t, "the check "+name, func() error {
		if ok, detail := p.check(name); ok != want {
			return errors.New(detail)
		}
		return nil
	})
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
	free()
	n3.awaitCheck("disk", true)
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
		!strings.Contains(said, "ringcore: node n1 stopped: the commit log failed, so this node stops; see to its disk and start it again") {
		t.Errorf("it said:\n%s", said)
	}
}

// The same on a file system that fails under the node: every write and sync is an
// I/O error from one moment on.
func TestFailingFileSystem(t *testing.T) {
	if os.Getuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("a file system in a file is mounted, which takes root on Linux")
	}
	base := t.TempDir()
	image, disk := filepath.Join(base, "image"), filepath.Join(base, "disk")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 256<<20), os.Mkdir(disk, 0o700)); err != nil {
		t.Fatal(err)
	}
	mount := func() error {
		out, err := exec.Command("mount", "-t", "ext4", "-o", "loop", image, disk).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		t.Skipf("no ext4 file system can be made here: %v: %s", err, out)
	}
	if err := mount(); err != nil {
		t.Skipf("no file system in a file can be mounted here: %v", err)
	}
	t.Cleanup(func() { unmount(t, disk) })
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
	if err := mount(); err != nil {
		t.Fatal(err)
	}
	p.restart()
	f.check(t.Context())
	p.stop()
}
