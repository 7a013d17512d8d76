package vnodes

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestStorageNames(t *testing.T) {
	eachStorage(t, func(t *testing.T, open func(testing.TB) Storage) {
		s := open(t)
		for _, name := range []string{"", "kv", "/kv/p", "kv/../p", "kv//p", "kv/p/", "KV/p", "kv/ü", "kv/p.tmp", "kv/a b", "../kv/p"} {
			_, createErr := s.Create(testID, name)
			_, openErr := s.Open(testID, name)
			for _, err := range []error{createErr, openErr, s.Remove(name)} {
				if !errors.Is(err, fs.ErrInvalid) {
					t.Errorf("%q: %v", name, err)
				}
			}
		}
		if names, err := s.List(); err != nil || len(names) > 0 {
			t.Errorf("%v, %v", names, err)
		}
	})
}

func TestStorageKeepsNames(t *testing.T) {
	eachStorage(t, func(t *testing.T, open func(testing.TB) Storage) {
		s := open(t)
		if _, err := s.Open(testID, testName); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("opened what is not there: %v", err)
		}
		st := createStore(t, s)
		if _, err := s.Create(testID, testName); !errors.Is(err, fs.ErrExist) {
			t.Errorf("created twice: %v", err)
		}
		hint, err := s.Create(testID, "kv/hints/p0012.00000000000000aa.bolt")
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"kv/hints/p0012.00000000000000aa.bolt", testName}
		if names, err := s.List(); err != nil || !slices.Equal(names, want) {
			t.Errorf("%v, %v", names, err)
		}
		if err := hint.Drop(); err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := s.Remove(testName); err != nil {
				t.Fatal(err)
			}
		}
		if names, err := s.List(); err != nil || len(names) > 0 {
			t.Errorf("%v, %v", names, err)
		}
	})
}

func TestStorageOpensOnce(t *testing.T) {
	eachStorage(t, func(t *testing.T, open func(testing.TB) Storage) {
		s := open(t)
		createStore(t, s)
		if _, err := s.Open(testID, testName); !errors.Is(err, errOpen) {
			t.Errorf("opened twice: %v", err)
		}
	})
}

func TestStorageRefusesOthersFiles(t *testing.T) {
	eachStorage(t, func(t *testing.T, open func(testing.TB) Storage) {
		s := open(t)
		made := testID
		made.Session = "s1"
		st, err := s.Create(made, testName)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		for name, change := range map[string]func(id *Identity){
			"cluster":   func(id *Identity) { id.ClusterID = "c2" },
			"node":      func(id *Identity) { id.NodeID = "00000000000000aa" },
			"service":   func(id *Identity) { id.Service = "other" },
			"partition": func(id *Identity) { id.Partition++ },
			"for":       func(id *Identity) { id.For = "00000000000000aa" },
		} {
			id := testID
			change(&id)
			if _, err := s.Open(id, testName); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got := IdentityOf(openStore(t, s)); got != made {
			t.Errorf("%+v", got)
		}
	})
}

func TestStorageRename(t *testing.T) {
	const staging = "kv/p0012.s1.staging"
	eachStorage(t, func(t *testing.T, open func(testing.TB) Storage) {
		s := open(t)
		st, err := s.Create(testID, staging)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		put(t, st, "before", "1", 1)
		other, err := s.Create(testID, "kv/p0013.bolt")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = other.Close() })
		if err := s.Rename(st, "kv/p0013.bolt"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("renamed over another: %v", err)
		}
		if err := s.Rename(st, testName); err != nil {
			t.Fatal(err)
		}
		put(t, st, "after", "2", 2)
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Open(testID, staging); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the old name: %v", err)
		}
		again := openStore(t, s)
		if n := len(collect(t, again, nil)); n != 2 {
			t.Errorf("%d of 2 records", n)
		}
		if err := again.Drop(); err != nil {
			t.Fatal(err)
		}
		if names, err := s.List(); err != nil || !slices.Equal(names, []string{"kv/p0013.bolt"}) {
			t.Errorf("%v, %v", names, err)
		}
		if err := open(t).Rename(other, testName); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("a store of another storage: %v", err)
		}
	})
}

// What a crash while a file was being made leaves behind is no store, and is in
// nobody's way.
func TestCreateAfterCrash(t *testing.T) {
	dir := t.TempDir()
	part := filepath.Join(dir, filepath.FromSlash(testName)+partSuffix)
	if err := os.MkdirAll(filepath.Dir(part), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(part, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openDisk(t, dir, DiskOptions{})
	if names, err := s.List(); err != nil || len(names) > 0 {
		t.Errorf("%v, %v", names, err)
	}
	put(t, createStore(t, s), "key", "value", 1)
	if _, err := os.Stat(part); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the half file: %v", err)
	}
}

// A store's id is that of its data: it outlives names, openings and copies of the
// file, and never comes back after a Drop.
func TestStoreID(t *testing.T) {
	eachStorage(t, func(t *testing.T, open func(testing.TB) Storage) {
		s := open(t)
		st := createStore(t, s)
		id := st.ID()
		put(t, st, "a", "1", 1)
		if ds, ok := st.(*diskStore); ok {
			if err := rewriteNow(ds, 0); err != nil {
				t.Fatal(err)
			}
		}
		if st.ID() != id || id == 0 {
			t.Errorf("id %d became %d", id, st.ID())
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		st = openStore(t, s)
		if st.ID() != id {
			t.Errorf("id %d opens as %d", id, st.ID())
		}
		if err := st.Drop(); err != nil {
			t.Fatal(err)
		}
		if again := createStore(t, s).ID(); again == id || again == 0 {
			t.Errorf("the store after %d has %d", id, again)
		}
	})
}
