package vnodes

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"
)

// createBoltStore is an empty store and the path of its file.
func createBoltStore(t testing.TB) (*boltStore, string) {
	t.Helper()
	st := createStore(t, DiskStorage(t.TempDir(), slog.New(slog.DiscardHandler))).(*boltStore)
	return st, st.path()
}

// openCopy opens a copy of the file at path, as a crash would leave it.
func openCopy(t testing.TB, content []byte) (Store, error) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, filepath.FromSlash(testName))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return DiskStorage(dir, nil).Open(testID, testName)
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A copy of the file, taken by done itself, holds everything acknowledged before.
func TestBoltStoreSurvivesKill(t *testing.T) {
	st, path := createBoltStore(t)
	const n, every = 400, 40
	copies := make(map[int][]byte)
	for i := range n {
		st.Append([]Write{write(fmt.Sprintf("k%04d", i), fmt.Sprint(i), uint64(i))}, func(err error) {
			if err != nil {
				t.Error(err)
			}
			if i%every == every-1 {
				copies[i] = readFile(t, path)
			}
		})
		if i%10 == 0 {
			if err := st.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := st.Sync(); err != nil {
		t.Fatal(err)
	}
	for acknowledged, content := range copies {
		crashed, err := openCopy(t, content)
		if err != nil {
			t.Fatal(err)
		}
		model := modelStore{}
		for _, w := range collect(t, crashed, nil) {
			model[string(w.Key)] = w.Record
		}
		for i := range acknowledged + 1 {
			if r := model[fmt.Sprintf("k%04d", i)]; string(r.Value) != fmt.Sprint(i) {
				t.Errorf("record %d of %d is lost: %q", i, acknowledged, r.Value)
			}
		}
		if want, _ := model.digest(); crashed.Digest() != want {
			t.Errorf("digest %+v, not %+v", crashed.Digest(), want)
		}
		if err := crashed.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A commit that fails stops all later writes; what was durable is still served,
// what was not is not shown.
func TestFailedCommitPoisons(t *testing.T) {
	st, path := createBoltStore(t)
	put(t, st, "old", "durable", 1)
	st.file.db.MaxSize = len(readFile(t, path))
	huge := strings.Repeat("x", 1<<20)
	first := appendSync(st, write("old", "lost", 2), write("new", huge, 2))
	if first == nil {
		t.Fatal("a full disk was not noticed")
	}
	if err := appendSync(st, write("small", "v", 3)); !errors.Is(err, first) {
		t.Errorf("after a failure: %v", err)
	}
	if err := st.Sync(); !errors.Is(err, first) {
		t.Errorf("sync: %v", err)
	}
	r, ok, err := st.Get([]byte("old"))
	if !ok || err != nil || string(r.Value) != "durable" {
		t.Errorf("%q, %v, %v", r.Value, ok, err)
	}
	if n := len(collect(t, st, nil)); n != 1 {
		t.Errorf("a fold shows %d records", n)
	}
	if err := st.Close(); !errors.Is(err, first) {
		t.Errorf("close: %v", err)
	}
}

// bbolt shows a transaction between its write and its last sync; readers of the
// store must not see it.
func TestReadsWaitForSync(t *testing.T) {
	st, _ := createBoltStore(t)
	put(t, st, "a", "old", 1)
	put(t, st, "a", "new", 2)
	put(t, st, "b", "new", 2)
	tx := fileTx(t, st)
	if d := st.durable.Load(); d != tx {
		t.Fatalf("transaction %d counts as durable, %d is", d, tx)
	}
	// As it is between the last write and the last sync of a commit of a and b.
	a := &entry{key: []byte("a"), old: write("a", "old", 1).Record, had: true}
	b := &entry{key: []byte("b")}
	st.mu.Lock()
	st.durable.Store(tx - 1)
	st.committer = tx
	st.committing = map[string]*entry{"a": a, "b": b}
	st.mu.Unlock()
	check := func(want string, hasB bool) {
		t.Helper()
		if r, ok, err := st.Get([]byte("a")); !ok || err != nil || string(r.Value) != want {
			t.Errorf("a is %q, %v, %v, not %q", r.Value, ok, err, want)
		}
		if _, ok, err := st.Get([]byte("b")); ok != hasB || err != nil {
			t.Errorf("b: %v, %v", ok, err)
		}
		all := collect(t, st, nil)
		if string(all[0].Record.Value) != want || (len(all) == 2) != hasB {
			t.Errorf("a fold shows %d records, the first %q", len(all), all[0].Record.Value)
		}
	}
	check("old", false)
	st.settle(nil)
	check("new", true)
}

// fileTx is bbolt's id of the newest transaction in the file.
func fileTx(t *testing.T, st *boltStore) (tx int64) {
	t.Helper()
	if err := st.file.view(func(t *bbolt.Tx) error { tx = int64(t.ID()); return nil }); err != nil {
		t.Fatal(err)
	}
	return tx
}

// While a commit is held up, the worker sees what it has appended, readers what
// is durable; all that gathers meanwhile is one commit.
func TestCommitsGather(t *testing.T) {
	st, _ := createBoltStore(t)
	put(t, st, "a", "durable", 1)
	before := fileTx(t, st)
	hold, err := st.file.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	const n = 50
	for i := range n {
		st.Append([]Write{write("a", fmt.Sprint(i), uint64(i)+2), write(fmt.Sprint(i), "v", 2)}, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
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
	st.mu.Lock()
	checkReplaced(t, st)
	st.mu.Unlock()
	if err := hold.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := st.Sync(); err != nil {
		t.Fatal(err)
	}
	// The committer may have taken any number of appends before it was held up.
	if n := fileTx(t, st) - before; n > 2 {
		t.Errorf("%d transactions", n)
	}
	if d := st.Digest(); d.Records != n+1 {
		t.Errorf("%+v", d)
	}
}

// checkReplaced checks what the waiting entries of "a" replace: each what is in
// the file when its own transaction begins.
func checkReplaced(t *testing.T, st *boltStore) {
	t.Helper()
	want := "durable"
	for _, table := range []map[string]*entry{st.committing, st.pending} {
		if e := table["a"]; e != nil {
			if string(e.old.Value) != want {
				t.Errorf("%q replaces %q, not %q", e.rec.Value, e.old.Value, want)
			}
			want = string(e.rec.Value)
		}
	}
}

func TestAppendBlocksWhenFull(t *testing.T) {
	st, _ := createBoltStore(t)
	st.limit = 10 << 10
	highest := int64(0)
	var wg sync.WaitGroup
	for i := range 500 {
		wg.Add(1)
		st.Append([]Write{write(fmt.Sprint(i), strings.Repeat("v", 1000), 1)}, func(err error) {
			if err != nil {
				t.Error(err)
			}
			wg.Done()
		})
		st.mu.Lock()
		highest = max(highest, st.bytes)
		st.mu.Unlock()
	}
	wg.Wait()
	if highest > st.limit+2000 {
		t.Errorf("%d bytes were pending", highest)
	}
	if st.bytes != 0 {
		t.Errorf("%d bytes are still counted", st.bytes)
	}
}

func TestDropRemovesFile(t *testing.T) {
	st, path := createBoltStore(t)
	st.Append([]Write{write("a", "v", 1)}, func(error) {})
	if err := st.Drop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func BenchmarkBoltStoreAppend(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			st, _ := createBoltStore(b)
			value := bytes.Repeat([]byte("v"), 100)
			slots := make(chan struct{}, callers)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				slots <- struct{}{}
				key := fmt.Appendf(nil, "key%08d", (i*7919)%100_000)
				st.Append([]Write{{Key: key, Record: Record{Stamp: Stamp{Time: uint64(i)}, Value: value}}}, func(err error) {
					if err != nil {
						b.Error(err)
					}
					<-slots
				})
			}
			if err := st.Sync(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkBoltStoreGet(b *testing.B) {
	st, _ := createBoltStore(b)
	const n = 10_000
	keys := make([][]byte, n)
	var writes []Write
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key%08d", i)
		writes = append(writes, Write{Key: keys[i], Record: Record{Value: bytes.Repeat([]byte("v"), 100)}})
	}
	if err := appendSync(st, writes...); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, ok, err := st.Get(keys[(i*7919)%n]); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
