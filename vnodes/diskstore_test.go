package vnodes

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// createDiskStore is an empty store of a Disk of its own, and the path of its file.
func createDiskStore(t testing.TB) (*diskStore, string) {
	t.Helper()
	st := createStore(t, openDisk(t, t.TempDir(), DiskOptions{})).(*diskStore)
	return st, st.path()
}

// openCopy opens a store whose file has content, with the log of origin.
func openCopy(t testing.TB, origin *diskStore, content []byte) (Store, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, logDir), os.DirFS(filepath.Join(origin.disk.dir, logDir))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, filepath.FromSlash(testName))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDisk(dir, DiskOptions{Logger: discardLogger(), SegmentBytes: 64 << 10})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = d.Close() })
	return d.Open(testID, testName)
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// createSim is an empty store whose log lies on a simulated disk.
func createSim(t *testing.T, opts DiskOptions) (*diskStore, *simDisk) {
	t.Helper()
	dir := t.TempDir()
	sim := newSimDisk(dir)
	opts.files = sim
	return createStore(t, openDisk(t, dir, opts)).(*diskStore), sim
}

// While the log's sync is held up the worker sees what it has appended, readers
// what is durable; all that gathers meanwhile is one write.
func TestCommitsGather(t *testing.T) {
	st, sim := createSim(t, DiskOptions{})
	put(t, st, "a", "durable", 1)
	stalled, release := make(chan struct{}, 1), make(chan struct{})
	writes := 0
	sim.setHook(func(_ int, what string) error {
		if what == "write" {
			writes++
		}
		if what == "before sync" && writes == 1 {
			stalled <- struct{}{}
			sim.mu.Unlock()
			<-release
			sim.mu.Lock()
		}
		return nil
	})
	const n = 50
	var acked atomic.Int64
	appendOne := func(i int) {
		st.Append([]Write{write("a", fmt.Sprint(i), uint64(i)+2), write(fmt.Sprint(i), "v", 2)}, func(err error) {
			if err != nil {
				t.Error(err)
			}
			acked.Add(1)
		})
	}
	appendOne(0)
	<-stalled
	for i := 1; i < n; i++ {
		appendOne(i)
		if r, ok, err := st.Latest([]byte("a")); !ok || err != nil || string(r.Value) != fmt.Sprint(i) {
			t.Errorf("the worker sees %q, %v, %v", r.Value, ok, err)
		}
		if r, ok, err := st.Get([]byte("a")); !ok || err != nil || string(r.Value) != "durable" {
			t.Errorf("a reader sees %q, %v, %v", r.Value, ok, err)
		}
		if all := collect(t, st, nil); len(all) != 1 || string(all[0].Record.Value) != "durable" {
			t.Errorf("a fold sees %d records", len(all))
		}
	}
	if acked.Load() > 0 {
		t.Error("acknowledged before the sync")
	}
	if d := st.Digest(); d.Records != n+1 {
		t.Errorf("%+v", d)
	}
	close(release)
	if err := st.Sync(); err != nil {
		t.Fatal(err)
	}
	if r, _, _ := st.Get([]byte("a")); string(r.Value) != fmt.Sprint(n-1) || acked.Load() != n {
		t.Errorf("%q, %d acknowledged", r.Value, acked.Load())
	}
	sim.setHook(nil)
	if writes != 2 {
		t.Errorf("%d writes", writes)
	}
}

// Failing once is failing for good: nothing is retried, nothing that is not
// durable is shown, and what was is still served.
func TestFailedLogPoisons(t *testing.T) {
	for _, at := range []string{"write", "before sync"} {
		for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
			st, sim := createSim(t, DiskOptions{})
			put(t, st, "old", "durable", 1)
			fail := true
			sim.setHook(func(_ int, what string) error {
				if what == at && fail {
					fail = false
					return cause
				}
				return nil
			})
			first := appendSync(st, write("old", "lost", 2), write("new", "lost", 2))
			if !errors.Is(first, cause) {
				t.Fatalf("%s: %v", at, first)
			}
			<-st.disk.Failed()
			for what, err := range map[string]error{
				"append": appendSync(st, write("small", "v", 3)), "sync": st.Sync(), "disk": st.disk.Err(), "checkpoint": st.disk.Checkpoint(),
			} {
				if !errors.Is(err, cause) {
					t.Errorf("%s after a failed %s: %v", what, at, err)
				}
			}
			if r, ok, err := st.Get([]byte("old")); !ok || err != nil || string(r.Value) != "durable" {
				t.Errorf("%q, %v, %v", r.Value, ok, err)
			}
			if n := len(collect(t, st, nil)); n != 1 {
				t.Errorf("a fold shows %d records", n)
			}
			if err := st.Close(); !errors.Is(err, cause) {
				t.Errorf("close: %v", err)
			}
		}
	}
}

// A full disk refuses what finds no room, and nothing else; with room, all goes on.
func TestFullDiskRecovers(t *testing.T) {
	st, sim := createSim(t, DiskOptions{SegmentBytes: 8 << 10})
	full := true
	sim.setHook(func(_ int, what string) error {
		if full && strings.HasPrefix(what, "before create") {
			return syscall.ENOSPC
		}
		return nil
	})
	acknowledged := 0
	var refused error
	for i := 0; refused == nil && i < 100; i++ {
		if refused = appendSync(st, write(fmt.Sprint(i), strings.Repeat("v", 1000), 1)); refused == nil {
			acknowledged++
		}
	}
	if !errors.Is(refused, syscall.ENOSPC) || st.disk.Err() != nil {
		t.Fatalf("%v; %v", refused, st.disk.Err())
	}
	if n := len(collect(t, st, nil)); n != acknowledged {
		t.Errorf("%d of %d records", n, acknowledged)
	}
	sim.mu.Lock()
	full = false
	sim.mu.Unlock()
	st.disk.log.mu.Lock()
	st.disk.log.noRoomAt = st.disk.log.noRoomAt.Add(-retryPause)
	st.disk.log.mu.Unlock()
	put(t, st, "later", strings.Repeat("v", 1000), 2)
}

// Over its limit the tables' memory holds appends up until a checkpoint is done.
func TestAppendWaitsForRoom(t *testing.T) {
	d := openDisk(t, t.TempDir(), DiskOptions{TableBytes: 256 << 10})
	st := createStore(t, d)
	highest := int64(0)
	var wg sync.WaitGroup
	for i := range 5000 {
		wg.Add(1)
		st.Append([]Write{write(fmt.Sprint(i), strings.Repeat("v", 1000), 1)}, func(err error) {
			if err != nil {
				t.Error(err)
			}
			wg.Done()
		})
		highest = max(highest, d.tables.Load())
	}
	wg.Wait()
	if highest > 2*d.opts.TableBytes+(512<<10) {
		t.Errorf("%d bytes were in tables", highest)
	}
	if err := d.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if n := d.tables.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
	if n := st.Digest().Records; n != 5000 {
		t.Errorf("%d records", n)
	}
}

// The log is shortened as checkpoints go on, its files are used again, and what is
// left is enough after a kill.
func TestLogIsShortened(t *testing.T) {
	dir := t.TempDir()
	opts := DiskOptions{SegmentBytes: 64 << 10, LogBytes: 256 << 10}
	d := openDisk(t, dir, opts)
	st, quiet := createStore(t, d), createNamed(t, d, "kv/quiet.bolt")
	put(t, quiet, "only", "one", 1)
	highest := int64(0)
	for i := range 3000 {
		st.Append([]Write{write(fmt.Sprint(i%50), strings.Repeat("v", 1000), uint64(i))}, func(error) {})
		if i%100 == 0 {
			if err := st.Sync(); err != nil {
				t.Fatal(err)
			}
			highest = max(highest, d.log.bytes())
			d.wake()
		}
	}
	if err := errors.Join(d.Checkpoint(), d.trim()); err != nil {
		t.Fatal(err)
	}
	// A keeper may be about to delete what it has found out to be needed no more.
	(&world{t: t}).until("the log is short", func() bool { return d.log.bytes() <= 5*opts.SegmentBytes })
	if number := d.log.position().segment(); number < 20 {
		t.Errorf("only %d segments were used", number)
	}
	killed := killedCopy(t, dir)
	again := openDisk(t, killed, opts)
	if n := len(collect(t, openStore(t, again), nil)); n != 50 {
		t.Errorf("%d of 50 records", n)
	}
	other, err := again.Open(testID, "kv/quiet.bolt")
	if err != nil {
		t.Fatal(err)
	}
	if r, ok, err := other.Get([]byte("only")); !ok || err != nil || string(r.Value) != "one" {
		t.Errorf("%q, %v, %v", r.Value, ok, err)
	}
}

func createNamed(t testing.TB, d *Disk, name string) Store {
	t.Helper()
	st, err := d.Create(testID, name)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// killedCopy is what lies in dir now: a killed process leaves no more.
func killedCopy(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// A thousand stores, of which few have their file open, come back after a kill.
func TestThousandStores(t *testing.T) {
	const stores, limit = 1024, 32
	dir := t.TempDir()
	d := openDisk(t, dir, DiskOptions{OpenFiles: limit, CheckpointAge: time.Hour}) // no file changes while they are copied
	var all []Store
	for i := range stores {
		all = append(all, createNamed(t, d, fmt.Sprintf("kv/p%04d.bolt", i)))
	}
	var wg sync.WaitGroup
	for i, st := range all {
		wg.Add(1)
		st.Append([]Write{write("key", fmt.Sprint(i), 1)}, func(err error) {
			if err != nil {
				t.Error(err)
			}
			wg.Done()
		})
	}
	wg.Wait()
	d.restIdle()
	if n := d.open.Load(); n > limit {
		t.Errorf("%d files are open", n)
	}
	for i, st := range all {
		if r, ok, err := st.Get([]byte("key")); !ok || err != nil || string(r.Value) != fmt.Sprint(i) {
			t.Fatalf("%d: %q, %v, %v", i, r.Value, ok, err)
		}
	}
	again := openDisk(t, killedCopy(t, dir), DiskOptions{OpenFiles: limit})
	if n := again.open.Load(); n > 0 {
		t.Errorf("%d files are open at start", n)
	}
	for i := range stores {
		st, err := again.Open(testID, fmt.Sprintf("kv/p%04d.bolt", i))
		if err != nil {
			t.Fatal(err)
		}
		if r, ok, err := st.Get([]byte("key")); !ok || err != nil || string(r.Value) != fmt.Sprint(i) {
			t.Fatalf("%d: %q, %v, %v", i, r.Value, ok, err)
		}
	}
}

// Readers see each batch whole or not at all, while records go from the log's
// table to the file and files are closed and opened again.
func TestReadersBesideCheckpoints(t *testing.T) {
	d := openDisk(t, t.TempDir(), DiskOptions{TableBytes: 128 << 10, OpenFiles: 1})
	createNamed(t, d, "kv/other.bolt")
	st := createStore(t, d)
	const keys = 2 * chunkRecords
	batch := func(n int) (writes []Write) {
		for k := range keys {
			writes = append(writes, write(fmt.Sprintf("k%04d", k), fmt.Sprint(n), uint64(n)))
		}
		return writes
	}
	if err := appendSync(st, batch(0)...); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var acked atomic.Int64
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := acked.Load()
				seen := make(map[int]string) // by chunk
				n := 0
				if err := st.Ascend(nil, func(key []byte, r Record) bool {
					at := n / chunkRecords
					if before, ok := seen[at]; ok && before != string(r.Value) {
						t.Errorf("%q beside %q", r.Value, before)
					}
					seen[at] = string(r.Value)
					n++
					return true
				}); err != nil || n != keys {
					t.Errorf("%d records; %v", n, err)
					return
				}
				var first int64
				if _, err := fmt.Sscan(seen[0], &first); err != nil || first < least {
					t.Errorf("saw %q after %d was acknowledged", seen[0], least)
				}
			}
		})
	}
	for n := 1; n <= 40; n++ {
		if err := appendSync(st, batch(n)...); err != nil {
			t.Fatal(err)
		}
		acked.Store(int64(n))
		d.restIdle()
		if n%4 == 0 {
			if err := d.Checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	wg.Wait()
	want := modelStore{}
	for _, w := range batch(40) {
		want[string(w.Key)] = w.Record
	}
	if digest, _ := want.digest(); st.Digest() != digest {
		t.Errorf("%+v, not %+v", st.Digest(), digest)
	}
}

func TestDropRemovesFile(t *testing.T) {
	st, path := createDiskStore(t)
	st.Append([]Write{write("a", "v", 1)}, func(error) {})
	if err := st.Drop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if n := st.disk.tables.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
	if n := len(collect(t, createStore(t, st.disk), nil)); n != 0 {
		t.Errorf("%d records came back", n)
	}
}

// A file whose log is not there, or ends before what the file holds, is refused.
func TestLogIsMissing(t *testing.T) {
	dir := t.TempDir()
	d := openDisk(t, dir, DiskOptions{})
	put(t, createStore(t, d), "a", "v", 1)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, logDir)); err != nil {
		t.Fatal(err)
	}
	if _, err := openDisk(t, dir, DiskOptions{}).Open(testID, testName); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

// peekState reads what a bbolt transaction reads.
func TestPeekState(t *testing.T) {
	st, path := createDiskStore(t)
	for i := range 300 {
		put(t, st, fmt.Sprint(i), "v", uint64(i))
		if i%100 == 50 {
			if err := st.checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var want fileState
	if err := st.view(func(r *boltReader) (err error) { want, err = readState(r.tx); return err }); err != nil {
		t.Fatal(err)
	}
	if got, err := peekState(path); got != want || err != nil || want.digest.Records != 251 {
		t.Errorf("%+v, %v, not %+v", got, err, want)
	}
}

func BenchmarkDiskStoreGet(b *testing.B) {
	for _, where := range []string{"file", "table"} {
		b.Run(where, func(b *testing.B) {
			st, _ := createDiskStore(b)
			const n = 30_000
			keys := make([][]byte, n)
			var writes []Write
			for i := range keys {
				keys[i] = fmt.Appendf(nil, "key%08d", i)
				writes = append(writes, Write{Key: keys[i], Record: Record{Value: bytes.Repeat([]byte("v"), 100)}})
			}
			if err := appendSync(st, writes...); err != nil {
				b.Fatal(err)
			}
			if where == "file" {
				if err := st.checkpoint(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, ok, err := st.Get(keys[(i*7919)%n]); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}
