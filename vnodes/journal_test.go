package vnodes

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func openTestJournal(t testing.TB, path string) *Journal {
	t.Helper()
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// fill writes down what the tests look for afterwards.
func fillJournal(t *testing.T, j *Journal) []SessionNote {
	t.Helper()
	notes := []SessionNote{
		{Session: Session{ID: "a1"}, State: noteReady, Digests: map[string]Digest{"kv": {Records: 3, Sum: 1<<63 + 1}}},
		{Session: Session{ID: "b2", Gen: 7}, State: noteProposed},
	}
	err := errors.Join(
		j.PutSession(notes[1]), j.PutSession(SessionNote{Session: Session{ID: "a1"}}), j.PutSession(notes[0]),
		j.PutSession(SessionNote{Session: Session{ID: "gone"}}), j.DeleteSession("gone"), j.DeleteSession("never"),
		j.MarkFile("kv/p0002.bolt"), j.MarkFile("kv/p0001.bolt"), j.MarkFile("kv/p0003.bolt"), j.UnmarkFile("kv/p0003.bolt"),
		j.SetCeiling(70), j.SetCeiling(60),
	)
	if err != nil {
		t.Fatal(err)
	}
	return notes
}

func checkJournal(t *testing.T, j *Journal, want []SessionNote) {
	t.Helper()
	got, err := j.Sessions()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n, ok, err := j.Session("b2"); !ok || err != nil || n.State != noteProposed {
		t.Error(n, ok, err)
	}
	if _, ok, err := j.Session("gone"); ok || err != nil {
		t.Error(ok, err)
	}
	if files := j.Files(); !slices.Equal(files, []string{"kv/p0001.bolt", "kv/p0002.bolt"}) {
		t.Error(files)
	}
	if !j.HasFile("kv/p0001.bolt") || j.HasFile("kv/p0003.bolt") {
		t.Error("HasFile differs from Files")
	}
	if c := j.Ceiling(); c != 70 {
		t.Errorf("ceiling %d", c)
	}
}

func TestJournalKeeps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "journal.bolt")
	j := openTestJournal(t, path)
	want := fillJournal(t, j)
	checkJournal(t, j, want)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.MarkFile("kv/late.bolt"); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	checkJournal(t, openTestJournal(t, path), want)
}

func TestMemoryJournal(t *testing.T) {
	j := MemoryJournal()
	checkJournal(t, j, fillJournal(t, j))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// 64 goroutines that change it at the same time share commits, and none is lost.
func TestJournalGroups(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.bolt")
	j := openTestJournal(t, path)
	before := journalTx(t, j)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for k := range 4 {
				if err := j.MarkFile(fmt.Sprintf("kv/p%04d.%d.bolt", i, k)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := journalTx(t, j) - before; n >= 256 {
		t.Errorf("%d transactions for 256 changes", n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(openTestJournal(t, path).Files()); n != 256 {
		t.Errorf("%d of 256 files", n)
	}
}

func journalTx(t *testing.T, j *Journal) int {
	t.Helper()
	tx, err := j.file.db.Begin(false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	return tx.ID()
}

func TestJournalDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.bolt")
	j := openTestJournal(t, path)
	fillJournal(t, j)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.ReplaceAll(b, []byte(`"proposed"`), []byte(`"proposer"`))
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(path); !errors.Is(err, ErrCorrupt) {
		t.Errorf("opened: %v", err)
	}
}

func TestJournalMissing(t *testing.T) {
	dir := t.TempDir()
	st, err := openDisk(t, dir, DiskOptions{}).Create(Identity{}, "kv/p0001.bolt")
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(filepath.Join(dir, "journal.bolt")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a new journal beside old files: %v", err)
	}
}
