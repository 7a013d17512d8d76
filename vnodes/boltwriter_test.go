package vnodes

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// writeBolt writes a file with these values, and others in a second bucket.
func writeBolt(t testing.TB, path string, values map[string]string) {
	t.Helper()
	f, err := osFiles{}.create(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	w := newBoltWriter(f)
	w.begin(recordsBucket)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		w.put([]byte(key), []byte(values[key]))
	}
	w.begin(metaBucket)
	w.put([]byte("a"), []byte("1"))
	if err := w.finishFile(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// checkBolt opens the file with bbolt, has that check it, and compares what is in it.
func checkBolt(t testing.TB, path string, values map[string]string) {
	t.Helper()
	f, err := openBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.close() }()
	err = f.view(func(r *boltReader) error {
		for err := range r.tx.Check() {
			t.Error(err)
		}
		if got := r.tx.Bucket([]byte(metaBucket)).Get([]byte("a")); string(got) != "1" {
			t.Errorf("the other bucket has %q", got)
		}
		var keys []string
		if err := r.pages.walk(nil, func(key, value []byte) bool {
			keys = append(keys, string(key))
			if want, ok := values[string(key)]; !ok || want != string(value) {
				t.Errorf("%s: %d bytes, not %d", shortKey(key), len(value), len(want))
			}
			return true
		}); err != nil {
			t.Error(err)
		}
		if want := slices.Sorted(maps.Keys(values)); !slices.Equal(keys, want) {
			t.Errorf("%d keys, not %d, or others", len(keys), len(want))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// bbolt reads what is written, finds nothing wrong, and goes on updating it.
func TestBoltWriter(t *testing.T) {
	dir, run := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		path := filepath.Join(dir, fmt.Sprint(run))
		values := make(map[string]string)
		n := rapid.SampledFrom([]int{0, 1, 2, 3, 50, 500, 5000}).Draw(rt, "records")
		size := rapid.SampledFrom([]int{0, 1, 100, 1000, 5000, 100_000}).Draw(rt, "size")
		if n*size > 10<<20 {
			n = 50
		}
		width := rapid.SampledFrom([]int{1, 8, 300}).Draw(rt, "width")
		for i := range n {
			values[fmt.Sprintf("%0*d", width, i*i%9973)] = strings.Repeat("v", (i*7919)%(size+1))
		}
		for i := range rapid.IntRange(0, 4).Draw(rt, "long keys") {
			key := drawStoreKey(rt)
			values[string(key)] = strings.Repeat("w", i*1000)
		}
		writeBolt(t, path, values)
		checkBolt(t, path, values)

		f, err := openBolt(path)
		if err != nil {
			rt.Fatal(err)
		}
		err = f.update(func(tx *bbolt.Tx) error {
			for i := range 100 {
				key := fmt.Sprintf("%0*d", width, i*37)
				values[key] = "updated"
				if err := putKey(tx.Bucket([]byte(recordsBucket)), []byte(key), []byte("updated")); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			rt.Fatal(err)
		}
		if err := f.close(); err != nil {
			rt.Fatal(err)
		}
		checkBolt(t, path, values)
	})
}

// What a checkpoint writes anew is the same however it is looked at.
func TestRewriteLikeModel(t *testing.T) {
	t.Parallel() // it waits for the disk
	d := openDisk(t, t.TempDir(), DiskOptions{files: hastyFiles{}})
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		st, err := d.Create(testID, fmt.Sprintf("kv/p%d.bolt", run))
		if err != nil {
			rt.Fatal(err)
		}
		s, model := st.(*diskStore), modelStore{}
		defer func() { _ = st.Drop() }()
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				writes := make([]Write, rapid.IntRange(1, 40).Draw(rt, "count"))
				for i := range writes {
					writes[i] = Write{Key: drawStoreKey(rt), Record: drawRecord(rt)}
					model[string(writes[i].Key)] = writes[i].Record
				}
				if err := appendSync(st, writes...); err != nil {
					rt.Fatal(err)
				}
			},
			"rewrite": func(rt *rapid.T) {
				if err := rewriteNow(s, 0); err != nil {
					rt.Fatal(err)
				}
			},
			"update": func(rt *rapid.T) {
				s.checkpointing.Lock() // a keeper may be about to update the file too
				err := s.file.use(s, func(f *boltFile) error { f.db.NoSync = true; return nil })
				s.checkpointing.Unlock()
				if err := errors.Join(err, updateNow(s)); err != nil {
					rt.Fatal(err)
				}
			},
			"rest": func(rt *rapid.T) {
				if _, err := s.file.rest(s); err != nil {
					rt.Fatal(err)
				}
			},
			"compare": func(rt *rapid.T) {
				if err := model.miscounts(st); err != nil {
					rt.Fatal(err)
				}
				if want, got := model.from(nil), collect(t, st, nil); !slices.EqualFunc(want, got, equalWrites) {
					rt.Fatalf("a fold shows %d records, not %d, or others", len(got), len(want))
				}
				key := drawStoreKey(rt)
				got, ok, err := st.Get(key)
				if want, has := model[string(key)]; ok != has || err != nil || !equalRecords(want, got) {
					rt.Fatalf("%s: %+v, %v, %v, not %+v", shortKey(key), got, ok, err, want)
				}
			},
		})
	})
}

// updateNow is a checkpoint that updates the file in place.
func updateNow(s *diskStore) error {
	s.checkpointing.Lock()
	defer s.checkpointing.Unlock()
	w, err := s.freeze()
	if err != nil || w == nil || w.t == nil {
		return err
	}
	w.order = w.t.sorted(0, len(w.t.keys))
	return s.update(w)
}

// rewriteNow is a checkpoint that copies the file, whatever it would cost.
func rewriteNow(s *diskStore, floor uint64) error {
	s.checkpointing.Lock()
	defer s.checkpointing.Unlock()
	if err := s.load(); err != nil {
		return err
	}
	w, err := s.freeze()
	if err != nil {
		return err
	}
	if w == nil {
		w = &writing{state: s.state}
	}
	if err := s.disk.log.flush(); err != nil {
		return err
	}
	w.wasteful, w.floor = true, floor
	return s.carryOut(w)
}

// An update of several transactions that stops half way leaves a store that counts
// right, and can be tried again; so does a crash there.
func TestUpdateHalfDone(t *testing.T) {
	st, _ := createDiskStore(t)
	model := modelStore{}
	for round := range 3 {
		var writes []Write
		for i := range 300 {
			w := write(fmt.Sprintf("k%04d", i*(round+1)), fmt.Sprint("v", round), uint64(round))
			writes, model[string(w.Key)] = append(writes, w), w.Record
		}
		if err := appendSync(st, writes...); err != nil {
			t.Fatal(err)
		}
		if round == 1 {
			_ = st.Digest() // some are counted, relative to the file as it was
		}
		want, _ := model.digest()
		halfUpdate(t, st, want)
		if err := st.checkpoint(); err != nil {
			t.Fatal(err)
		}
		st.mu.RLock()
		inFile := st.state.digest
		st.mu.RUnlock()
		if got := st.Digest(); got != want || inFile != want {
			t.Fatalf("done: digest %+v, in the file %+v, not %+v", got, inFile, want)
		}
	}
}

// halfUpdate begins a checkpoint, writes some of its records, and stops. No other
// one runs meanwhile.
func halfUpdate(t *testing.T, st *diskStore, want Digest) {
	t.Helper()
	st.checkpointing.Lock()
	defer st.checkpointing.Unlock()
	w, err := st.freeze()
	if err != nil {
		t.Fatal(err)
	}
	w.order = w.t.sorted(0, len(w.t.keys))
	state := st.state
	err = st.file.use(st, func(f *boltFile) error {
		return f.update(func(tx *bbolt.Tx) error { return w.put(tx, w.order[:100], &state) })
	})
	if err != nil {
		t.Fatal(err)
	}
	st.halfDone(w, &state)
	if got := st.Digest(); got != want {
		t.Fatalf("half done: digest %+v, not %+v", got, want)
	}
	again := openStore(t, openDisk(t, killedCopy(t, st.disk.dir), DiskOptions{}))
	if got := again.Digest(); got != want {
		t.Fatalf("after a crash: digest %+v, not %+v", got, want)
	}
}

// A file that is idle, and closed, while a new one takes its place, is not opened by
// its name then: a reader would meet the new one, which is locked.
func TestIdleWhileCopied(t *testing.T) {
	files := newFaultFiles()
	d := openDisk(t, t.TempDir(), DiskOptions{files: files})
	st := createStore(t, d).(*diskStore)
	put(t, st, "a", "1", 1)
	if err := rewriteNow(st, 0); err != nil {
		t.Fatal(err)
	}
	put(t, st, "b", "1", 1)
	var read sync.WaitGroup
	var renamed atomic.Bool // others sync folders too
	files.set(func(op, path string) error {
		if op == "sync of folder" && filepath.Base(path) == "kv" && !renamed.Swap(true) { // the new file has the name
			if _, err := st.file.rest(st); err != nil {
				t.Error(err)
			}
			read.Go(func() {
				if r, ok, err := st.Get([]byte("a")); !ok || err != nil || string(r.Value) != "1" {
					t.Errorf("%q, %v, %v", r.Value, ok, err)
				}
			})
			read.Wait()
		}
		return nil
	})
	if err := rewriteNow(st, 0); err != nil {
		t.Error(err)
	}
	if !renamed.Load() {
		t.Error("no folder was synced")
	}
}

// A file that lost most of its records becomes small by itself, when nobody needs
// their tombstones any more.
func TestFilesShrink(t *testing.T) {
	var floor atomic.Uint64 // the disk looks at it at any time
	d := openDisk(t, t.TempDir(), DiskOptions{Floor: func(Identity) uint64 { return floor.Load() }})
	st := createNamed(t, d, testName)
	const n = 20_000
	for _, deleted := range []bool{false, true} {
		var writes []Write
		for i := range n {
			if deleted && i%10 == 0 {
				continue
			}
			w := write(fmt.Sprintf("key-%06d", i), strings.Repeat("v", 100), 1)
			if deleted {
				w.Record = Record{Flags: FlagTombstone, Stamp: Stamp{Time: 2}}
			}
			writes = append(writes, w)
		}
		if err := appendSync(st, writes...); err != nil {
			t.Fatal(err)
		}
		if err := d.Checkpoint(); err != nil {
			t.Fatal(err)
		}
	}
	if got := st.Digest(); got.Records != n || got.Live != n/10 {
		t.Fatalf("%+v: tombstones go only below the floor", got)
	}
	floor.Store(2) // not above the tombstones
	if err := d.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if got := st.Digest(); got.Records != n {
		t.Errorf("%+v: tombstones went that lie on the floor", got)
	}
	floor.Store(3)
	if err := d.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	want := modelStore{}
	for i := 0; i < n; i += 10 {
		w := write(fmt.Sprintf("key-%06d", i), strings.Repeat("v", 100), 1)
		want[string(w.Key)] = w.Record
	}
	if got := collect(t, st, nil); !slices.EqualFunc(want.from(nil), got, equalWrites) {
		t.Errorf("%d records, not %d, or others", len(got), len(want))
	}
	digest, _ := want.digest()
	if got := st.Digest(); got != digest {
		t.Errorf("digest %+v, not %+v", got, digest)
	}
	if size := fileSize(d.path(testName)); size > 5*digest.Bytes/2 {
		t.Errorf("the file has %d bytes for %d", size, digest.Bytes)
	}
	// And so it is after a restart.
	again := openDisk(t, killedCopy(t, d.dir), DiskOptions{})
	if got := openStore(t, again).Digest(); got != digest {
		t.Errorf("after a restart: digest %+v, not %+v", got, digest)
	}
}

// Damage is not copied: the old file stays, and says so.
func TestRewriteRefusesDamage(t *testing.T) {
	st, path := createDiskStore(t)
	var writes []Write
	for i := range 5000 {
		writes = append(writes, write(fmt.Sprintf("k%04d", i), fmt.Sprintf("<value %04d>", i), 1))
	}
	if err := appendSync(st, writes...); err != nil {
		t.Fatal(err)
	}
	if err := rewriteNow(st, 0); err != nil {
		t.Fatal(err)
	}
	patch(t, path, []byte("<value 0050>"), []byte("<value 0051>"))
	if err := rewriteNow(st, 0); err == nil {
		t.Error("a damaged record was copied")
	}
	if r, ok, err := st.Get([]byte("k0051")); !ok || err != nil || !bytes.Equal(r.Value, []byte("<value 0051>")) {
		t.Errorf("%q, %v, %v", r.Value, ok, err)
	}
	if _, ok, err := st.Get([]byte("k0050")); ok || err == nil {
		t.Errorf("%v, %v", ok, err)
	}
	put(t, st, "k0052", "new", 2) // beside it all goes on
	if err := rewriteNow(st, 0); err != nil {
		t.Error(err)
	}
}

// hastyFiles syncs nothing: for tests that do not ask what survives.
type hastyFiles struct{ osFiles }

type hastyFile struct{ osFile }

func (hastyFiles) create(path string, size int64) (logFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return hastyFile{osFile{f}}, f.Truncate(size)
}

func (hastyFiles) open(path string) (logFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	return hastyFile{osFile{f}}, err
}

func (hastyFiles) syncDir(string) error { return nil }
func (hastyFile) sync() error           { return nil }
