package backup

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes"
)

// partialMark is part of the names of folders that are being written, or were when
// their process died.
const partialMark = ".partial-"

// Writer makes a backup. Its folder gets its name when everything is in it and on the
// disk. Part may be called from several goroutines at a time.
type Writer struct {
	dir, tmp string
	base     Chain // nil for a full one

	mu    sync.Mutex // of what follows; held for map operations, and to remove a file
	m     Manifest
	sums  sums
	trees map[string][]vnodes.Tree // by service
}

// Create begins a backup of what m says, to be in dir; it builds on base, if that is not nil.
func Create(dir string, m Manifest, base Chain) (*Writer, error) {
	if _, err := os.Lstat(dir); err == nil {
		return nil, fmt.Errorf("%s exists already: a backup makes its folder itself", dir)
	}
	w := &Writer{dir: dir, base: base, m: m, sums: sums{}, trees: make(map[string][]vnodes.Tree)}
	w.m.Format, w.m.ID = Format, rand.Text()
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return nil, err
	}
	if base != nil {
		rel, err := relative(dir, base.Newest().Dir)
		if err != nil {
			return nil, err
		}
		w.m.Base = &Base{ID: base.Newest().ID, Dir: rel}
	}
	var err error
	if w.tmp, err = os.MkdirTemp(parent, filepath.Base(dir)+partialMark); err != nil {
		return nil, err
	}
	for i := range w.m.Services {
		s := &w.m.Services[i]
		s.Parts, s.Full = nil, true
		if err := os.Mkdir(filepath.Join(w.tmp, s.Name), 0o777); err != nil {
			return nil, errors.Join(err, w.Abort())
		}
		w.trees[s.Name] = make([]vnodes.Tree, m.Partitions)
		if base == nil || base.Newest().service(s.Name) == nil {
			continue
		}
		s.Full = false
		if w.trees[s.Name], err = base.Newest().trees(s.Name); err != nil {
			return nil, errors.Join(err, w.Abort())
		}
	}
	return w, nil
}

// relative is the way from the folder dir to base.
func relative(dir, base string) (string, error) {
	dir, errDir := filepath.Abs(dir)
	base, errBase := filepath.Abs(base)
	if err := errors.Join(errDir, errBase); err != nil {
		return "", err
	}
	parent, errDir := filepath.EvalSymlinks(filepath.Dir(dir))
	base, errBase = filepath.EvalSymlinks(base)
	if err := errors.Join(errDir, errBase); err != nil {
		return "", err
	}
	rel, err := filepath.Rel(filepath.Join(parent, filepath.Base(dir)), base)
	return filepath.ToSlash(rel), err
}

// Abort removes what has been written.
func (w *Writer) Abort() error { return os.RemoveAll(w.tmp) }

// Leftovers are folders of backups to dir that were broken off, this one's not counted.
func (w *Writer) Leftovers() []string {
	all, _ := filepath.Glob(filepath.Clean(w.dir) + partialMark + "*") // a name that is no pattern has none
	return slices.DeleteFunc(all, func(name string) bool { return name == filepath.Clean(w.tmp) })
}

// Known is the hash tree of what is there of a partition from the base; nil for nothing.
func (w *Writer) Known(service string, p int) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.m.service(service).Full {
		return nil
	}
	return w.trees[service][p].Append(nil)
}

// Part writes a partition's records from a row of blocks, of which the first says in
// which leaves they lie, and calls count with each record's size. After an error it may be called again.
func (w *Writer) Part(service string, p int, in io.Reader, count func(bytes int)) error {
	name := partName(service, p)
	f, err := createFile(filepath.Join(w.tmp, name))
	if err != nil {
		return err
	}
	t := partWriter{to: wire.NewBlockWriter(f), count: count}
	if err = t.copy(wire.NewBlockReader(in)); err == nil {
		err = f.finish()
	}
	if err != nil {
		return errors.Join(err, f.discard())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.m.service(service)
	if t.leaves.Empty() || t.part.Records == 0 && s.Full {
		return f.discard()
	}
	w.sums[name] = f.hex()
	w.trees[service][p].Take(&t.tree, &t.leaves)
	t.part.Partition = p
	s.Parts = append(s.Parts, t.part)
	if t.newest.After(w.m.Newest) {
		w.m.Newest = t.newest
	}
	return nil
}

// partWriter copies one partition's blocks.
type partWriter struct {
	to     *wire.BlockWriter
	count  func(bytes int)
	leaves vnodes.Leaves
	tree   vnodes.Tree
	part   Part
	newest time.Time
}

func (t *partWriter) copy(in *wire.BlockReader) error {
	for {
		it, err := in.Item(t.other)
		if err == io.EOF {
			return t.to.End()
		}
		if err == nil {
			err = t.item(&it)
		}
		if err != nil {
			return err
		}
	}
}

func (t *partWriter) item(it *wire.Item) error {
	if it.Deleted || !t.leaves.Holds(it.Key) {
		return fmt.Errorf("a record that was not announced: %w", wire.ErrBlocks)
	}
	r := vnodes.Record{Stamp: it.Stamp, Value: it.Value}
	t.tree.Note(it.Key, &r)
	n := len(it.Key) + len(it.Value)
	t.part.Records++
	t.part.Bytes += int64(n)
	t.count(n)
	if at := stampTime(it.Stamp); at.After(t.newest) {
		t.newest = at
	}
	return t.to.Item(it)
}

// stampTime is s on the wall clock.
func stampTime(s wire.Stamp) time.Time { return time.UnixMilli(int64(s.Time >> 16)).UTC() }

func (t *partWriter) other(kind wire.BlockKind, body []byte) error {
	switch kind {
	case wire.BlockLeaves:
		var ok bool
		if t.leaves, ok = vnodes.ParseLeaves(body); !ok || t.part.Records > 0 {
			return fmt.Errorf("a set of leaves of %d bytes: %w", len(body), wire.ErrBlocks)
		}
		return t.to.Block(kind, body)
	case wire.BlockError:
		var why struct{ Code, Detail string }
		if err := json.Unmarshal(body, &why); err != nil {
			return fmt.Errorf("an error that cannot be read: %w", wire.ErrBlocks)
		}
		return errors.New(why.Detail)
	}
	return fmt.Errorf("a block of kind %q is of another version: %w", kind, wire.ErrBlocks)
}

// Finish makes the backup whole and gives it its name.
func (w *Writer) Finish() (*Set, error) {
	for i := range w.m.Services {
		s := &w.m.Services[i]
		slices.SortFunc(s.Parts, func(a, b Part) int { return a.Partition - b.Partition })
		if err := w.writeTrees(s.Name); err != nil {
			return nil, err
		}
		if err := syncDir(filepath.Join(w.tmp, s.Name)); err != nil {
			return nil, err
		}
	}
	w.m.Ended = time.Now().UTC()
	b, err := json.MarshalIndent(&w.m, "", "  ")
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	sum := sha256.Sum256(b)
	w.sums[manifestName] = hex.EncodeToString(sum[:])
	if err := writeFile(filepath.Join(w.tmp, manifestName), b); err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(w.tmp, sumsName), w.sums.encode()); err != nil {
		return nil, err
	}
	if err := syncDir(w.tmp); err != nil {
		return nil, err
	}
	if err := os.Rename(w.tmp, w.dir); err != nil {
		return nil, err
	}
	if err := syncDir(filepath.Dir(filepath.Clean(w.dir))); err != nil {
		return nil, err
	}
	return Open(w.dir)
}

func (w *Writer) writeTrees(service string) error {
	name := service + "/" + treesName
	f, err := createFile(filepath.Join(w.tmp, name))
	if err != nil {
		return err
	}
	for i := range w.trees[service] {
		if _, err := f.Write(w.trees[service][i].Append(nil)); err != nil {
			return errors.Join(err, f.discard())
		}
	}
	if err := f.finish(); err != nil {
		return errors.Join(err, f.discard())
	}
	w.sums[name] = f.hex()
	return nil
}

// file is a compressed file that is being written.
type file struct {
	f   *os.File
	z   *zstd.Encoder
	sum hash.Hash // of what lies on the disk
}

func createFile(name string) (*file, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	c := &file{f: f, sum: sha256.New()}
	c.z, err = zstd.NewWriter(io.MultiWriter(f, c.sum), zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return c, nil
}

func (c *file) Write(b []byte) (int, error) { return c.z.Write(b) }

// finish returns when all is on the disk.
func (c *file) finish() error {
	if err := errors.Join(c.z.Close(), c.f.Sync()); err != nil {
		return err
	}
	return c.f.Close()
}

// discard removes the file; it may be finished.
func (c *file) discard() error {
	_ = c.z.Close() // it holds memory only
	_ = c.f.Close() // may be closed
	return os.Remove(c.f.Name())
}

func (c *file) hex() string { return hex.EncodeToString(c.sum.Sum(nil)) }

// writeFile writes a small file and returns when it is on the disk.
func writeFile(name string, b []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir returns when the names in dir are on the disk.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
