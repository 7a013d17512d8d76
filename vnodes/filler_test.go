package vnodes

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

const filledName = "kv/p0012.s1.staging"

// fillWith appends records in order, ten at a time, and waits until they are durable.
func fillWith(t testing.TB, st Store, from, to int) (all []Write) {
	t.Helper()
	appends := (to - from + 9) / 10
	done := make(chan error, appends)
	for i := from; i < to; i += 10 {
		var writes []Write
		for j := i; j < min(i+10, to); j++ {
			writes = append(writes, write(fmt.Sprintf("key%06d", j), fmt.Sprint("value of ", j), uint64(j+1)))
		}
		st.Append(writes, func(err error) { done <- err })
		all = append(all, writes...)
	}
	for range appends {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// What was filled in order, and what came out of order behind it, is what a store holds
// that was written to as usual; also when it is opened again, under its name or another.
func TestFillInOrder(t *testing.T) {
	dir := t.TempDir()
	d := openDisk(t, dir, DiskOptions{})
	st, err := d.Fill(testID, filledName)
	if err != nil {
		t.Fatal(err)
	}
	model := make(modelStore)
	note := func(writes ...Write) {
		for _, w := range writes {
			model[string(w.Key)] = w.Record
		}
	}
	note(fillWith(t, st, 0, 500)...)
	long := []Write{
		write("long"+string(bytes.Repeat([]byte{'a'}, keySegment)), "1", 1000),
		write("long"+string(bytes.Repeat([]byte{'a'}, keySegment))+"b", "2", 1001),
		write("z", "", 1002),
	}
	if err := appendSync(st, long...); err != nil {
		t.Fatal(err)
	}
	note(long...)
	if want, _ := model.digest(); st.Digest() != want {
		t.Errorf("digest %+v, want %+v", st.Digest(), want)
	}
	if d.log.position() != d.log.durableEnd() || d.tables.Load() != 0 {
		t.Error("records that came in order went to the log")
	}
	late := []Write{write("key000007", "newer", 2000), write("key000007x", "between", 2001), write("zz", "behind", 2002)}
	if err := appendSync(st, late...); err != nil {
		t.Fatal(err)
	}
	note(late...)
	whole, err := wholeStore(st)
	if err != nil {
		t.Fatal(err)
	}
	if err := model.miscounts(whole); err != nil {
		t.Error(err)
	}
	if err := d.Rename(whole, "kv/p0012.bolt"); err != nil {
		t.Fatal(err)
	}
	same := func(st Store) {
		t.Helper()
		got, want := collect(t, st, nil), model.from(nil)
		if len(got) != len(want) {
			t.Fatalf("%d records, want %d", len(got), len(want))
		}
		for i := range got {
			if !equalWrites(got[i], want[i]) {
				t.Fatalf("record %d is %.60v, want %.60v", i, got[i], want[i])
			}
		}
	}
	same(whole)
	again := openDisk(t, killedCopy(t, dir), DiskOptions{})
	st, err = again.Open(testID, "kv/p0012.bolt")
	if err != nil {
		t.Fatal(err)
	}
	same(st)
	if err := model.miscounts(st); err != nil {
		t.Error(err)
	}
}

// After a kill a store that was being filled goes on behind what is durable and whole.
func TestRefill(t *testing.T) {
	dir := t.TempDir()
	d := openDisk(t, dir, DiskOptions{})
	st, err := d.Fill(testID, filledName)
	if err != nil {
		t.Fatal(err)
	}
	all := fillWith(t, st, 0, 300)
	for name, damage := range map[string]func([]byte) []byte{
		"nothing more":    func(b []byte) []byte { return b },
		"half a page":     func(b []byte) []byte { return append(b, b[len(b)-int(defaultPageSize()):][:100]...) },
		"another's page":  func(b []byte) []byte { return append(b, b[len(b)-int(defaultPageSize()):]...) },
		"a damaged page":  func(b []byte) []byte { b[5*defaultPageSize()+100] ^= 1; return b },
		"no whole record": func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			dir := killedCopy(t, dir)
			path := filepath.Join(dir, filledName) + partSuffix
			if err := os.WriteFile(path, damage(readFile(t, path)), 0o600); err != nil {
				t.Fatal(err)
			}
			d := openDisk(t, dir, DiskOptions{})
			if names, err := d.unfinished(); err != nil || len(names) != 1 || names[0] != filledName {
				t.Fatalf("unfinished %v, %v", names, err)
			}
			st, last, err := d.Refill(testID, filledName)
			if err != nil {
				t.Fatal(err)
			}
			kept := int(st.Digest().Records)
			if whole := name != "a damaged page" && name != "no whole record"; whole != (kept == len(all)) {
				t.Errorf("%d records kept of %d", kept, len(all))
			}
			if kept > 0 && string(last) != string(all[kept-1].Key) {
				t.Errorf("last key %q, want %q", last, all[kept-1].Key)
			}
			fillWith(t, st, kept, len(all))
			st, err = wholeStore(st)
			if err != nil {
				t.Fatal(err)
			}
			for i, w := range collect(t, st, nil) {
				if !equalWrites(w, all[i]) {
					t.Fatalf("record %d is %v, want %v", i, w, all[i])
				}
			}
			if got := int(st.Digest().Records); got != len(all) {
				t.Errorf("%d records in the end, want %d", got, len(all))
			}
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Nothing is left of a store that was being filled and is not wanted.
func TestFillDropped(t *testing.T) {
	dir := t.TempDir()
	d := openDisk(t, dir, DiskOptions{})
	part := filepath.Join(dir, filledName) + partSuffix
	gone := func(after string) {
		t.Helper()
		if _, err := os.Lstat(part); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file is there after %s: %v", after, err)
		}
	}
	for _, end := range []string{"drop", "close and remove"} {
		st, err := d.Fill(testID, filledName)
		if err != nil {
			t.Fatal(err)
		}
		fillWith(t, st, 0, 20)
		if end == "drop" {
			err = st.Drop()
		} else {
			err = errors.Join(st.Close(), d.Remove(filledName))
		}
		if err != nil {
			t.Fatal(err)
		}
		gone(end)
		if err := appendSync(st, write("z", "late", 1)); !errors.Is(err, ErrClosed) {
			t.Errorf("append after %s: %v", end, err)
		}
	}
	// What a checkpoint of a whole one has left is no unfinished one.
	createNamed(t, d, filledName)
	if err := os.WriteFile(part, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.removeParts(); err != nil {
		t.Fatal(err)
	}
	gone("a checkpoint")
}

// Bulk work rests as long as it has worked, if requests have come, and until slots that
// change hands have done so.
func TestBulkRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulk()
		turn := func(work time.Duration, during func()) (rested time.Duration) {
			began, ok := b.begin(t.Context())
			if !ok {
				t.Fatal("no turn")
			}
			time.Sleep(work) // of the bubble
			during()
			worked := time.Now()
			b.end(t.Context(), began)
			return time.Since(worked)
		}
		if got := turn(5*time.Millisecond, func() {}); got != 0 {
			t.Errorf("rested for %s though nobody asked", got)
		}
		if got := turn(5*time.Millisecond, b.note); got != 5*time.Millisecond {
			t.Errorf("rested for %s beside a request", got)
		}
		if got := turn(5*time.Millisecond, func() {}); got != 0 {
			t.Errorf("rested for %s for a request of before", got)
		}
		unseal := b.seal(time.Second)
		time.AfterFunc(45*time.Millisecond, unseal)
		if got := turn(5*time.Millisecond, b.note); got < 40*time.Millisecond || got > 42*time.Millisecond {
			t.Errorf("rested for %s beside a seal of 40 ms", got)
		}
		b.seal(time.Hour)
		if got := turn(5*time.Millisecond, b.note); got != 5*time.Millisecond+bulkSeal {
			t.Errorf("rested for %s beside an endless seal", got)
		}
	})
}
