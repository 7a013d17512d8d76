package vnodes

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// damagedStore is the file of a store with records of all kinds. The last two
// transactions have the same content, so that a damaged meta page changes nothing.
func damagedStore(t *testing.T) (st *diskStore, content []byte, model modelStore) {
	t.Helper()
	st, path := createDiskStore(t)
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
		if err := appendSync(st, writes...); err != nil {
			t.Fatal(err)
		}
		if err := st.checkpoint(); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	return st, readFile(t, path), model
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
	origin, content, model := damagedStore(t)
	draw := rand.New(rand.NewPCG(1, 2))
	opened := 0
	for range 400 {
		at, bit := draw.IntN(len(content)), byte(1)<<draw.IntN(8)
		what := fmt.Sprintf("bit %#x of byte %d (page %d+%d)", bit, at, at/4096, at%4096)
		damaged := bytes.Clone(content)
		damaged[at] ^= bit
		st, err := openCopy(t, origin, damaged)
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
	st, path := createDiskStore(t)
	for i := range 100 {
		put(t, st, fmt.Sprintf("k%04d", i), fmt.Sprintf("<value %04d>", i), 1)
	}
	if err := st.checkpoint(); err != nil {
		t.Fatal(err)
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
	put(t, st, "k0052", "new", 2)
	if err := st.checkpoint(); err != nil {
		t.Errorf("beside it: %v", err)
	}
	// Nobody can say any more what the file held: it is of no use.
	put(t, st, "k0050", "new", 2)
	if err := st.checkpoint(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a checkpoint over it: %v", err)
	}
	if err := appendSync(st, write("k0053", "new", 2)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a write after that: %v", err)
	}
}

// A damaged key is not answered as "not found".
func TestDamagedKey(t *testing.T) {
	for _, damaged := range []string{"k0070", "k0051", "k9950", "a0050", "k0048"} {
		st, path := createDiskStore(t)
		var writes []Write
		for i := range 60 {
			writes = append(writes, write(fmt.Sprintf("k%04d", i*2), "v", 1))
		}
		if err := errors.Join(appendSync(st, writes...), st.checkpoint()); err != nil {
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
			st, path := createDiskStore(t)
			for i := range 500 {
				st.Append([]Write{write(fmt.Sprintf("k%04d", i), strings.Repeat("v", 100), 1)}, func(error) {})
			}
			if err := st.checkpoint(); err != nil {
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
			put(t, st, "k0100", "new", 2) // the log has it
			if err := st.checkpoint(); !errors.Is(err, ErrCorrupt) {
				t.Errorf("checkpoint: %v", err)
			}
			if err := appendSync(st, write("k0100", "newer", 3)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("append: %v", err)
			}
			if err := st.Close(); !errors.Is(err, ErrCorrupt) {
				t.Errorf("close: %v", err)
			}
			if err := st.disk.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			if _, err := openDisk(t, st.disk.dir, DiskOptions{}).Open(testID, testName); !errors.Is(err, ErrCorrupt) {
				t.Errorf("open: %v", err)
			}
		})
	}
}

// FuzzOpenDamaged opens files with some bytes overwritten: never a panic.
func FuzzOpenDamaged(f *testing.F) {
	f.Add(uint32(0), []byte{1})
	f.Add(uint32(4096), []byte{0xff, 0xff})
	f.Add(uint32(3*4096+8), []byte{1, 0, 0xff, 0xff})
	st, path := createDiskStore(f)
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
		damagedStore, err := openCopy(t, st, damaged)
		if err != nil {
			return
		}
		_ = damagedStore.Ascend(nil, func([]byte, Record) bool { return true })
		_ = appendSync(damagedStore, write("k0100", "new", 2))
		_ = damagedStore.Close()
	})
}

// The newest meta page is damaged right after a commit, before anybody has read:
// what the file held before is not served.
func TestDamagedMetaAfterCommit(t *testing.T) {
	for page := range 2 {
		st, path := createDiskStore(t)
		for i := range 2 + page { // so that either page is the newest once
			put(t, st, "k", fmt.Sprint("version ", i), uint64(i+1))
			if err := st.checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
		for _, at := range []int{16 + 40, 4096 + 16 + 40} {
			flip(t, path, at)
			r, ok, err := st.Get([]byte("k"))
			if err == nil && (!ok || string(r.Value) != fmt.Sprint("version ", 1+page)) {
				t.Errorf("page %d, byte %d: %q, %v", page, at, r.Value, ok)
			}
			if err != nil && !errors.Is(err, ErrCorrupt) {
				t.Error(err)
			}
			flip(t, path, at)
		}
	}
}
