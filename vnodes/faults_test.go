package vnodes

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// A stalled sync holds the acknowledgements, and nothing else: workers go on with
// what they have appended, readers with what is durable, other stores too.
func TestStalledSync(t *testing.T) {
	for _, op := range []string{"sync", "write"} {
		t.Run(op, func(t *testing.T) {
			files := newFaultFiles()
			d := openDisk(t, t.TempDir(), DiskOptions{files: files})
			st, other := createStore(t, d), createNamed(t, d, "kv/p0009.bolt")
			put(t, st, "a", "durable", 1)
			put(t, other, "b", "durable", 1)
			stalled, release := files.stall(op)
			defer release()
			acks := make(chan error, 100)
			st.Append([]Write{write("a", "newer", 2)}, func(err error) { acks <- err })
			<-stalled
			for i := range 50 { // they queue
				other.Append([]Write{write(fmt.Sprint("x", i), "v", 3)}, func(err error) { acks <- err })
			}
			if r, ok, err := st.Latest([]byte("a")); !ok || err != nil || string(r.Value) != "newer" {
				t.Errorf("latest: %q, %v, %v", r.Value, ok, err)
			}
			if r, ok, err := st.Get([]byte("a")); !ok || err != nil || string(r.Value) != "durable" {
				t.Errorf("get: %q, %v, %v", r.Value, ok, err)
			}
			if n := len(collect(t, other, nil)); n != 1 {
				t.Errorf("a fold of another store shows %d records", n)
			}
			if n := other.Digest().Records; n != 51 {
				t.Errorf("the digest counts %d records", n)
			}
			createNamed(t, d, "kv/p0010.bolt")
			if s := d.Stats(); s.TableBytes == 0 || s.LogErr != nil {
				t.Errorf("%+v", s)
			}
			select {
			case err := <-acks:
				t.Fatalf("acknowledged before the sync has ended: %v", err)
			default:
			}
			release()
			for range 51 {
				if err := <-acks; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// With the log stalled a node answers reads; commands that wait in its queue are
// told when their deadline has passed.
func TestStalledNodeReads(t *testing.T) {
	files := newFaultFiles()
	w := newWorld(t, 1, 1, func(n *simNode) { n.tune = func(c *Config) { c.files = files } })
	n := w.node(1)
	n.mustPut("a", "1")
	stalled, release := files.stall("sync")
	defer release()
	waits, _ := n.send(request(wire.OpCommand, w.ring(), "kv", "a", "put 2"))
	<-stalled
	if got := n.get("a"); string(got.body) != "1" {
		t.Errorf("read: %v", got)
	}
	late := request(wire.OpCommand, w.ring(), "kv", "a", "put 3")
	late.Deadline = time.Now().Add(-time.Millisecond)
	if got := n.ask(late); got.code != wire.Deadline {
		t.Errorf("%v", got)
	}
	release()
	if got := <-waits; got.code != wire.OK {
		t.Errorf("%v", got)
	}
	if got := n.get("a"); string(got.body) != "2" {
		t.Errorf("read: %v", got)
	}
}

// An I/O error in any operation of the log ends it: nothing more is acknowledged,
// everybody who waits is told, what was acknowledged is there after a restart.
func TestLogErrors(t *testing.T) {
	for _, op := range []string{"write", "sync", "create", "rename", "sync of folder"} {
		t.Run(op, func(t *testing.T) {
			dir, files := t.TempDir(), newFaultFiles()
			opts := DiskOptions{files: files, SegmentBytes: 8 << 10, Logger: discardLogger()}
			d, err := OpenDisk(dir, opts)
			if err != nil {
				t.Fatal(err)
			}
			st := createStore(t, d)
			put(t, st, "first", "v", 1)
			files.set(func(o, path string) error {
				inLog := filepath.Base(filepath.Dir(path)) == logDir || filepath.Base(path) == logDir
				if o == op && inLog {
					return &os.PathError{Op: o, Path: path, Err: syscall.EIO}
				}
				return nil
			})
			acks := make(chan error, 100)
			for i := range cap(acks) { // enough for a new segment
				st.Append([]Write{write(fmt.Sprint(i), strings.Repeat("v", 1000), 2)}, func(err error) { acks <- err })
			}
			select {
			case <-d.Failed():
			case <-time.After(10 * time.Second):
				t.Fatal("the log has not failed")
			}
			good := 1
			for range cap(acks) {
				if err := <-acks; err == nil {
					good++
				} else if !errors.Is(err, syscall.EIO) {
					t.Errorf("%v", err)
				}
			}
			if err := appendSync(st, write("later", "v", 3)); !errors.Is(err, syscall.EIO) {
				t.Errorf("an append after it: %v", err)
			}
			if s := d.Stats(); !errors.Is(s.LogErr, syscall.EIO) {
				t.Errorf("%+v", s)
			}
			if n := len(collect(t, st, nil)); n != good {
				t.Errorf("%d records are shown, %d were acknowledged", n, good)
			}
			if err := d.Close(); !errors.Is(err, syscall.EIO) {
				t.Errorf("close: %v", err)
			}
			files.set(nil)
			d = openDisk(t, dir, opts)
			if n := len(collect(t, openStore(t, d), nil)); n < good {
				t.Errorf("%d records after a restart, %d were acknowledged", n, good)
			}
		})
	}
}

// A new file of a checkpoint that cannot be made leaves the old one and the log. For
// want of room it is tried again; any other error ends its store, and no other.
func TestCheckpointFileErrors(t *testing.T) {
	for _, op := range []string{"create", "write", "sync", "rename", "sync of folder"} {
		for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
			t.Run(op+", "+cause.Error(), func(t *testing.T) {
				files := newFaultFiles()
				d := openDisk(t, t.TempDir(), DiskOptions{files: files})
				st, other := createStore(t, d).(*diskStore), createNamed(t, d, "kv/p0009.bolt")
				put(t, st, "a", "1", 1)
				put(t, other, "b", "1", 1)
				files.set(func(o, path string) error {
					if o == op && strings.Contains(path, "kv") {
						return cause
					}
					return nil
				})
				if err := rewriteNow(st, 0); !errors.Is(err, cause) && op != "rename" && op != "sync of folder" {
					t.Errorf("a checkpoint: %v", err)
				}
				err := st.checkpoint() // the next one, which says how the first has left the store
				files.set(nil)
				if parts, _ := filepath.Glob(filepath.Join(d.dir, "kv", "*"+partSuffix)); len(parts) > 0 && op != "rename" {
					t.Errorf("left behind: %v", parts)
				}
				again := cause == syscall.ENOSPC && op != "rename" && op != "sync of folder"
				if failed := d.Stats().FailedStores; again != (len(failed) == 0) || !again && failed[0].Name != testName {
					t.Errorf("failed stores: %+v; %v", failed, err)
				}
				if err := appendSync(st, write("a", "2", 2)); again != (err == nil) {
					t.Errorf("append: %v", err)
				}
				put(t, other, "b", "2", 2)
				if err := d.Err(); err != nil {
					t.Errorf("the log: %v", err)
				}
				want := "1"
				if again {
					want = "2"
				}
				after := openStore(t, openDisk(t, killedCopy(t, d.dir), DiskOptions{}))
				if r, ok, err := after.Get([]byte("a")); !ok || err != nil || string(r.Value) != want {
					t.Errorf("after a restart: %q, %v, %v", r.Value, ok, err)
				}
			})
		}
	}
}

// smallDisk is a folder on a file system of its own, of so many KiB.
func smallDisk(t *testing.T, kib int) string {
	t.Helper()
	dir := t.TempDir()
	if os.Getuid() != 0 {
		t.Skip("a small file system is mounted, which takes root")
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dk", kib), "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("no file system can be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// ballast fills the file system of dir to its last byte; what it returns frees it.
func ballast(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
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

// A journal on a full disk refuses what finds no room, and only that. What it
// took is there, now and after it is opened again.
func TestJournalOnFullDisk(t *testing.T) {
	dir := smallDisk(t, 2048)
	path := filepath.Join(dir, "journal.bolt")
	j := openTestJournal(t, path)
	free := ballast(t, dir)
	for i := range 200 { // from the room that it has kept
		if err := j.SetCeiling(uint64(i)); err != nil {
			t.Fatalf("ceiling %d: %v", i, err)
		}
	}
	long := strings.Repeat("n", 500)
	var marked []string
	var refused error
	for i := 0; refused == nil && i < 2000; i++ {
		name := fmt.Sprintf("kv/%s-%04d", long, i)
		if refused = j.MarkFile(name); refused == nil {
			marked = append(marked, name)
		}
	}
	if !errors.Is(refused, syscall.ENOSPC) || asError(refused).Code != wire.DiskFull {
		t.Fatalf("%d files noted: %v", len(marked), refused)
	}
	if err := j.Err(); err != nil {
		t.Fatalf("the journal has failed for good: %v", err)
	}
	free()
	if err := j.MarkFile("kv/later"); err != nil {
		t.Fatalf("with room: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = openTestJournal(t, path)
	if n := len(j.Files()); n != len(marked)+1 || !j.HasFile("kv/later") || j.Ceiling() != 199 {
		t.Errorf("%d files, %d were noted; ceiling %d", n, len(marked)+1, j.Ceiling())
	}
}

// A disk that is full to the last byte refuses writes and loses nothing; with room
// all goes on, checkpoints too, and every acknowledged record is there.
func TestDiskFullToTheLastByte(t *testing.T) {
	dir := smallDisk(t, 48<<10)
	data := filepath.Join(dir, "data")
	opts := DiskOptions{Logger: discardLogger(), CheckpointAge: 20 * time.Millisecond, Low: Mark{Bytes: 1}, Critical: Mark{Bytes: 1}}
	d, err := OpenDisk(data, opts)
	if err != nil {
		t.Fatal(err)
	}
	st := createStore(t, d)
	good := 0
	fill := func() error {
		for range 30_000 {
			if err := appendSync(st, write(fmt.Sprintf("%06d", good), strings.Repeat("v", 900), 1)); err != nil {
				return err
			}
			good++
		}
		return nil
	}
	for range 3000 {
		put(t, st, fmt.Sprintf("%06d", good), strings.Repeat("v", 900), 1)
		good++
	}
	for round := range 3 {
		free := ballast(t, dir)
		if err := fill(); !isDiskFull(err) {
			t.Fatalf("round %d: %d records: %v", round, good, err)
		}
		if n := len(collect(t, st, nil)); n != good {
			t.Fatalf("round %d: %d of %d records while it is full", round, n, good)
		}
		free()
		w := &world{t: t}
		w.until("writes go on", func() bool {
			err := d.Writable("")
			if err == nil {
				err = appendSync(st, write(fmt.Sprintf("%06d", good), "v", 1))
			}
			if err == nil {
				good++
			} else if !isDiskFull(err) && !errors.Is(err, ErrDiskFull) {
				t.Fatal(err)
			}
			return err == nil
		})
	}
	w := &world{t: t}
	w.until("all is in the file", func() bool { return d.tables.Load() == 0 })
	if failed := d.Stats().FailedStores; len(failed) > 0 || d.Err() != nil {
		t.Fatalf("%v, %v", failed, d.Err())
	}
	if n := len(collect(t, st, nil)); n != good {
		t.Errorf("%d of %d records", n, good)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(collect(t, openStore(t, openDisk(t, data, opts)), nil)); n != good {
		t.Errorf("%d of %d records after a restart", n, good)
	}
}
