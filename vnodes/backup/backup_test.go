package backup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes"
)

// world is the records of a cluster, by partition and key: what a replica would have.
type world []map[string]vnodes.Record

func newWorld() world {
	w := make(world, 8)
	for p := range w {
		w[p] = map[string]vnodes.Record{}
	}
	return w
}

func (w world) put(p int, key, value string, at uint64) {
	w[p][key] = vnodes.Record{Stamp: wire.Stamp{Time: at << 16, Node: 1, ID: at}, Value: []byte(value)}
}

// part is what a node answers of partition p to who has the hash tree known.
func (w world) part(p int, known []byte) io.Reader {
	leaves := vnodes.AllLeaves()
	if known != nil {
		leaves = vnodes.Leaves{}
		have, _ := vnodes.ParseTree(known)
		var now vnodes.Tree
		for key, r := range w[p] {
			now.Note([]byte(key), &r)
		}
		for i := range now {
			if now[i] != have[i] {
				leaves[i/8] |= 1 << (i % 8)
			}
		}
	}
	var b bytes.Buffer
	out := wire.NewBlockWriter(&b)
	_ = out.Block(wire.BlockLeaves, leaves[:])
	for _, key := range slices.Sorted(maps.Keys(w[p])) {
		if r := w[p][key]; leaves.Holds([]byte(key)) {
			_ = out.Item(&wire.Item{Key: []byte(key), Stamp: r.Stamp, Value: r.Value})
		}
	}
	_ = out.End()
	return &b
}

// backup makes one of w.
func (w world) backup(t *testing.T, dir string, base Chain) *Set {
	t.Helper()
	m := Manifest{ClusterID: "c", Begun: time.Now().UTC(), Partitions: len(w), Services: []Service{{Name: "kv"}}}
	b, err := Create(dir, m, base)
	if err != nil {
		t.Fatal(err)
	}
	var parts sync.WaitGroup
	for p := range w {
		parts.Go(func() {
			if err := b.Part("kv", p, w.part(p, b.Known("kv", p)), func(int) {}); err != nil {
				t.Error(err)
			}
		})
	}
	parts.Wait()
	s, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// records are all that a chain has, by partition and key; each once.
func records(t *testing.T, c Chain) world {
	t.Helper()
	w := newWorld()
	for p := range w {
		err := c.Records("kv", p, func() error { return nil }, func(it *wire.Item) error {
			if _, twice := w[p][string(it.Key)]; twice {
				return fmt.Errorf("%s comes twice", it.Key)
			}
			w[p][string(it.Key)] = vnodes.Record{Stamp: it.Stamp, Value: bytes.Clone(it.Value)}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func equal(a, b world) bool {
	return slices.EqualFunc(a, b, func(x, y map[string]vnodes.Record) bool {
		return maps.EqualFunc(x, y, func(r, s vnodes.Record) bool { return r.Stamp == s.Stamp && bytes.Equal(r.Value, s.Value) })
	})
}

func verify(s *Set) error { return s.Verify(func(int) error { return nil }, func() {}) }

// Whatever happens between backups, a chain of incremental ones holds what a full one
// would: also of what was deleted, and of what nobody remembers to have been deleted.
func TestIncrementalIsFull(t *testing.T) {
	dir, w := t.TempDir(), newWorld()
	at := uint64(1)
	for p := range w[:7] { // the last one stays empty
		for i := range 300 {
			w.put(p, fmt.Sprintf("k%03d", i), "v", at)
			at++
		}
	}
	var chain Chain
	for round := range 4 {
		name := filepath.Join(dir, fmt.Sprint("b", round))
		w.backup(t, name, chain)
		var err error
		if chain, err = OpenChain(name); err != nil || len(chain) != round+1 {
			t.Fatalf("%d backups in the chain: %v", len(chain), err)
		}
		for _, s := range chain {
			if err := verify(s); err != nil {
				t.Fatal(err)
			}
		}
		if got := records(t, chain); !equal(got, w) {
			t.Fatalf("after %d backups the records differ", round+1)
		}
		w.put(0, "k007", fmt.Sprint("round ", round), at)
		w.put(round+1, fmt.Sprint("new", round), "n", at+1)
		delete(w[0], fmt.Sprintf("k%03d", 100+round))
		if round == 2 {
			clear(w[3])
		}
		at += 2
	}
	records, _ := chain.Newest().Size()
	if full, _ := chain[3].Size(); records == 0 || records > full/10 {
		t.Errorf("the last backup has %d records, the full one %d", records, full)
	}
}

// Nothing that is not just as it was made is taken for a backup.
func TestDamage(t *testing.T) {
	dir, w := t.TempDir(), newWorld()
	for i := range 200 {
		w.put(i%8, fmt.Sprintf("k%03d", i), "v", uint64(i+1))
	}
	base := w.backup(t, filepath.Join(dir, "base"), nil)
	w.put(3, "k000", "w", 999)
	last := filepath.Join(dir, "last")
	w.backup(t, last, Chain{base})
	sound := func() error {
		chain, err := OpenChain(last)
		for _, s := range chain {
			err = errors.Join(err, verify(s))
		}
		return err
	}
	if err := sound(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"last/manifest.json", "last/SHA256SUMS", "last/kv/0003.zst", "last/kv/trees.zst", "base/kv/0005.zst", "base/manifest.json"} {
		name = filepath.Join(dir, name)
		good, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		broken := func(what string, b []byte) {
			t.Helper()
			if err := os.WriteFile(name, b, 0o666); err != nil {
				t.Fatal(err)
			}
			if err := sound(); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		for at := 0; at < len(good); at += 1 + len(good)/12 {
			b := bytes.Clone(good)
			b[at] ^= 1 << (at % 8)
			broken(fmt.Sprint("a bit flipped at ", at), b)
		}
		broken("cut", good[:len(good)/2])
		broken("longer", append(bytes.Clone(good), '\n'))
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if err := sound(); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNoBackup) {
			t.Errorf("%s is gone: %v", name, err)
		}
		if err := os.WriteFile(name, good, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := sound(); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(last, link); err != nil {
		t.Fatal(err)
	}
	if chain, err := OpenChain(link); err != nil || len(chain) != 2 {
		t.Errorf("by a link: %v", err)
	}
	other := newWorld().backup(t, filepath.Join(dir, "other"), nil)
	if err := errors.Join(os.RemoveAll(base.Dir), os.Rename(other.Dir, base.Dir)); err != nil {
		t.Fatal(err)
	}
	if err := sound(); !errors.Is(err, ErrDamaged) {
		t.Errorf("on another base: %v", err)
	}
}

// What a node says of an error, and what is cut off, comes back as an error; then the
// partition can be read again. A backup that is broken off leaves nothing under its name.
func TestPartIsWholeOrNot(t *testing.T) {
	dir, w := t.TempDir(), newWorld()
	for i := range 100 {
		w.put(0, fmt.Sprint("k", i), "v", 1)
	}
	name := filepath.Join(dir, "b")
	b, err := Create(name, Manifest{Partitions: 8, Services: []Service{{Name: "kv"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	whole, _ := io.ReadAll(w.part(0, nil))
	var broken bytes.Buffer
	out := wire.NewBlockWriter(&broken)
	why, _ := json.Marshal(map[string]string{"code": "unavailable", "detail": "a replica died"})
	_ = out.Block(wire.BlockLeaves, make([]byte, len(vnodes.Leaves{})))
	_ = out.Block(wire.BlockError, why)
	if err := b.Part("kv", 0, &broken, func(int) {}); err == nil || err.Error() != "a replica died" {
		t.Errorf("got %v", err)
	}
	if err := b.Part("kv", 0, bytes.NewReader(whole[:len(whole)-1]), func(int) {}); !errors.Is(err, wire.ErrBlocks) {
		t.Errorf("got %v", err)
	}
	if err := b.Part("kv", 0, bytes.NewReader(whole), func(int) {}); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{name, b.tmp} {
		if _, err := Open(dir); !errors.Is(err, ErrNoBackup) {
			t.Errorf("a backup that is not finished, at %s: %v", dir, err)
		}
	}
	second, err := Create(name, Manifest{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if left := second.Leftovers(); !slices.Equal(left, []string{b.tmp}) {
		t.Errorf("left over: %v", left)
	}
	if err := errors.Join(b.Abort(), second.Abort()); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestFolderIsDescribed: docs/disk.md has the files of a backup, and no other.
func TestFolderIsDescribed(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "disk.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## A backup's folder\n")
	section, _, _ = strings.Cut(section, "\n## ")
	described := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(section, -1) {
		described[row[1]] = true
	}
	w := newWorld()
	w.put(3, "k", "v", 1)
	dir := filepath.Join(t.TempDir(), "b")
	w.backup(t, dir, nil)
	made := map[string]bool{}
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			path, err = filepath.Rel(dir, path)
			path = regexp.MustCompile(`\d{4}`).ReplaceAllString(strings.Replace(filepath.ToSlash(path), "kv/", "<service>/", 1), "<partition>")
			made[path] = true
		}
		return err
	})
	if err != nil || !maps.Equal(described, made) {
		t.Errorf("the page has %v, the folder %v (%v)", described, made, err)
	}
}
