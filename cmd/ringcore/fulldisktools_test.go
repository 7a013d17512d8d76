package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// giveBack makes the ballast that has taken everything smaller.
func giveBack(t *testing.T, dir string, bytes int64) {
	t.Helper()
	path := filepath.Join(dir, "ballast-0")
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, info.Size()-bytes)
	}
	if err != nil {
		t.Fatal(err)
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

// fillUp puts until the disk stays full. At first it does not: what is in the log
// goes to the files, and the log gives its room back.
func (f *filler) fillUp() {
	f.t.Helper()
	const stays = 2 * time.Second
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for rounds := 1; ; rounds++ {
		f.mustRefuse(f.run(f.t.Context()))
		var err error
		for begun := time.Now(); time.Since(begun) < stays; <-tick.C {
			if err = f.one(f.t.Context()); err == nil {
				break
			}
		}
		if err != nil {
			f.mustRefuse([]error{err})
			f.t.Logf("%d keys of %d bytes fit, in %d rounds", len(f.acked), f.size, rounds)
			return
		}
	}
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

func metrics(t *testing.T, p *process) string {
	t.Helper()
	resp, err := http.Get("http://" + p.http + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
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
	for _, line := range []string{"ringcore_disk_level 2\n", "ringcore_log_failed 0\n", "ringcore_stores_failed 0\n"} {
		if text := metrics(t, p); !strings.Contains(text, line) || strings.Contains(text, "ringcore_disk_refused_total 0\n") {
			t.Errorf("metrics: no %q in %s", line, text)
		}
	}
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
