package vnodes

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
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

// damagedStore is the file of a store with records of all kinds. The last two
// transactions have the same content, so that a damaged meta page changes nothing.
func damagedStore(t *testing.T) (content []byte, model modelStore) {
	t.Helper()
	st, path := createBoltStore(t)
	model = modelStore{}
	var writes []Write
	for i := range 300 {
		value := strings.Repeat(fmt.Sprint(i), 1+i%20)
		if i%50 == 0 {
			value = strings.Repeat(value, 3000)
		}
		key := fmt.Sprintf("k%04d", i*3)
		if i%100 == 99 {
			key = strings.Repeat("l", keySegment) + key
		}
		w := write(key, value, uint64(i))
		writes, model[key] = append(writes, w), w.Record
	}
	for range 3 {
		if err := appendWait(st, writes...); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	return readFile(t, path), model
}

// checkDamaged reports wrong answers of a store whose file is damaged: errors
// are right, as long as they say so.
func checkDamaged(t *testing.T, what string, st Store, model modelStore) {
	t.Helper()
	for key, want := range model {
		got, ok, err := st.Get([]byte(key))
		switch {
		case err != nil && !errors.Is(err, ErrCorrupt):
			t.Errorf("%s: %s: %v", what, shortKey([]byte(key)), err)
		case err == nil && !ok:
			t.Errorf("%s: %s is said not to be there", what, shortKey([]byte(key)))
		case err == nil && (got.Stamp != want.Stamp || !bytes.Equal(got.Value, want.Value)):
			t.Errorf("%s: %s has another value", what, shortKey([]byte(key)))
		}
	}
	seen := 0
	err := st.Ascend(nil, func(key []byte, r Record) bool {
		if want, ok := model[string(key)]; !ok || !bytes.Equal(r.Value, want.Value) {
			t.Errorf("%s: a fold shows %s with another value", what, shortKey(key))
		}
		seen++
		return true
	})
	if err != nil && !errors.Is(err, ErrCorrupt) || err == nil && seen != len(model) {
		t.Errorf("%s: a fold shows %d of %d records; %v", what, seen, len(model), err)
	}
}

func TestDamageIsNoticed(t *testing.T) {
	content, model := damagedStore(t)
	draw := rand.New(rand.NewPCG(1, 2))
	opened := 0
	for range 400 {
		at, bit := draw.IntN(len(content)), byte(1)<<draw.IntN(8)
		what := fmt.Sprintf("bit %#x of byte %d (page %d+%d)", bit, at, at/4096, at%4096)
		damaged := bytes.Clone(content)
		damaged[at] ^= bit
		st, err := openCopy(t, damaged)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		opened++
		checkDamaged(t, what, st, model)
		if err := st.Close(); err != nil {
			t.Errorf("%s: close: %v", what, err)
		}
	}
	if opened < 100 {
		t.Errorf("only %d of 400 damaged files could be opened", opened)
	}
}

// The value of one record is damaged while the store is open: that record is
// refused by name, the others are served.
func TestDamagedValue(t *testing.T) {
	st, path := createBoltStore(t)
	for i := range 100 {
		put(t, st, fmt.Sprintf("k%04d", i), fmt.Sprintf("<value %04d>", i), 1)
	}
	patch(t, path, []byte("<value 0050>"), []byte("<value 0051>"))
	_, ok, err := st.Get([]byte("k0050"))
	if ok || !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), `"k0050"`) || !strings.Contains(err.Error(), testName) {
		t.Errorf("%v, %v", ok, err)
	}
	if r, ok, err := st.Get([]byte("k0051")); !ok || err != nil || string(r.Value) != "<value 0051>" {
		t.Errorf("%q, %v, %v", r.Value, ok, err)
	}
	if err := st.Ascend(nil, func([]byte, Record) bool { return true }); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a fold: %v", err)
	}
	if err := appendWait(st, write("k0050", "new", 2)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a write over it: %v", err)
	}
	put(t, st, "k0052", "new", 2)
}

// A damaged key is not answered as "not found".
func TestDamagedKey(t *testing.T) {
	for _, damaged := range []string{"k0070", "k0051", "k9950", "a0050", "k0048"} {
		st, path := createBoltStore(t)
		var writes []Write
		for i := range 60 {
			writes = append(writes, write(fmt.Sprintf("k%04d", i*2), "v", 1))
		}
		if err := appendWait(st, writes...); err != nil {
			t.Fatal(err)
		}
		patch(t, path, []byte("k0050"), []byte(damaged))
		for i := range 60 {
			key := fmt.Sprintf("k%04d", i*2)
			_, ok, err := st.Get([]byte(key))
			if !ok && !errors.Is(err, ErrCorrupt) {
				t.Errorf("k0050 became %s: %s: %v, %v", damaged, key, ok, err)
			}
		}
	}
}

// patch overwrites every occurrence of one string in an open file.
func patch(t *testing.T, path string, from, to []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	content, found := readFile(t, path), 0
	for at := range content {
		if bytes.HasPrefix(content[at:], from) {
			found++
			if _, err := f.WriteAt(to, int64(at)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if found == 0 {
		t.Fatalf("%q is not in the file", from)
	}
}

// Pages that vanish or turn to garbage under an open store are an error for every
// call from then on, and Close still returns.
func TestDamagedWhileOpen(t *testing.T) {
	for name, damage := range map[string]func(f *os.File, size int64) error{
		"truncated": func(f *os.File, _ int64) error { return f.Truncate(2 * 4096) },
		"garbage": func(f *os.File, size int64) error {
			_, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, int(size)-2*4096), 2*4096)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			st, path := createBoltStore(t)
			for i := range 500 {
				st.Append([]Write{write(fmt.Sprintf("k%04d", i), strings.Repeat("v", 100), 1)}, func(error) {})
			}
			if err := st.Sync(); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			if err := damage(f, int64(len(readFile(t, path)))); err != nil {
				t.Fatal(err)
			}
			if _, _, err := st.Get([]byte("k0100")); !errors.Is(err, ErrCorrupt) {
				t.Errorf("get: %v", err)
			}
			if err := st.Ascend(nil, func([]byte, Record) bool { return true }); !errors.Is(err, ErrCorrupt) {
				t.Errorf("fold: %v", err)
			}
			if err := appendWait(st, write("k0100", "new", 2)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("append: %v", err)
			}
			if err := st.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			if _, err := DiskStorage(st.dir, nil).Open(testID, testName); !errors.Is(err, ErrCorrupt) {
				t.Errorf("open: %v", err)
			}
		})
	}
}

// A commit that fails stops all later writes; what was durable is still served,
// what was not is not shown.
func TestFailedCommitPoisons(t *testing.T) {
	st, path := createBoltStore(t)
	put(t, st, "old", "durable", 1)
	st.file.db.MaxSize = len(readFile(t, path))
	huge := strings.Repeat("x", 1<<20)
	first := appendWait(st, write("old", "lost", 2), write("new", huge, 2))
	if first == nil {
		t.Fatal("a full disk was not noticed")
	}
	if err := appendWait(st, write("small", "v", 3)); !errors.Is(err, first) {
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
	var tx int64
	if err := st.file.view(func(t *bbolt.Tx) error { tx = int64(t.ID()); return nil }); err != nil {
		t.Fatal(err)
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

// FuzzOpenDamaged opens files with some bytes overwritten: never a panic.
func FuzzOpenDamaged(f *testing.F) {
	f.Add(uint32(0), []byte{1})
	f.Add(uint32(4096), []byte{0xff, 0xff})
	f.Add(uint32(3*4096+8), []byte{1, 0, 0xff, 0xff})
	st, path := createBoltStore(f)
	for i := range 200 {
		st.Append([]Write{write(fmt.Sprintf("k%04d", i), strings.Repeat("v", i), 1)}, func(error) {})
	}
	if err := st.Close(); err != nil {
		f.Fatal(err)
	}
	content := readFile(f, path)
	f.Fuzz(func(t *testing.T, at uint32, b []byte) {
		damaged := bytes.Clone(content)
		copy(damaged[int(at)%len(damaged):], b)
		st, err := openCopy(t, damaged)
		if err != nil {
			return
		}
		_ = st.Ascend(nil, func([]byte, Record) bool { return true })
		_ = appendWait(st, write("k0100", "new", 2))
		_ = st.Close()
	})
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
	if err := appendWait(st, writes...); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, ok, err := st.Get(keys[(i*7919)%n]); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
