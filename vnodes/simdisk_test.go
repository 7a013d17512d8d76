package vnodes

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

var errCrashed = errors.New("the machine is off")

// simDisk is a disk that can lose what was not synced. The log lies in memory. All
// other files lie on the real disk, where bbolt finds them, and simDisk knows what
// of them would not survive a power cut:
//
//   - the bytes that were written through a logFile since its last sync
//   - the names that were made, changed or removed since the last syncDir of their folder
//
// What bbolt writes itself counts as synced, and folders survive at once. Every
// sync, rename, removal and creation is a step: hook runs before and after each.
type simDisk struct {
	osFiles
	root string // the Disk's folder
	dir  string // the log's

	mu      sync.Mutex
	files   map[string]*simFile // the log's, as programs see them
	durable map[string]*simFile // those of their names that survive
	written map[string]*simFile // files on the real disk that were written through a logFile
	names   []nameChange        // on the real disk, not synced, in order
	steps   int
	hook    func(step int, what string) error // of the operation about to run; called with mu held
	crashed bool
}

// nameChange says what a name was before it changed.
type nameChange struct {
	path    string
	content []byte // of the file that it named, if that survives
	was     bool   // it named one
}

// simFile is a file's content, as programs see it and as it survives. content is nil
// if the file lies on the real disk.
type simFile struct {
	disk    *simDisk
	content []byte
	synced  []byte
	last    simWrite // the newest write that was not synced
	dirty   bool     // there are writes that were not synced
}

type simWrite struct {
	at   int64
	data []byte
}

func newSimDisk(dir string) *simDisk {
	return &simDisk{
		root: dir, dir: filepath.Join(dir, logDir),
		files: map[string]*simFile{}, durable: map[string]*simFile{}, written: map[string]*simFile{},
	}
}

// step counts an operation and asks the hook. The caller holds mu.
func (d *simDisk) step(what string) error {
	if d.crashed {
		return errCrashed
	}
	d.steps++
	if d.hook != nil {
		return d.hook(d.steps, what)
	}
	return nil
}

// around runs an operation as two steps, before and after.
func (d *simDisk) around(what string, op func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("before " + what); err != nil {
		return err
	}
	if err := op(); err != nil {
		return err
	}
	return d.step("after " + what)
}

// ours reports whether path is one of the log's files.
func (d *simDisk) ours(path string) bool { return filepath.Dir(path) == d.dir }

func (d *simDisk) create(path string, size int64) (logFile, error) {
	if !d.ours(path) {
		return d.createReal(path, size)
	}
	f := &simFile{disk: d, content: make([]byte, size), synced: make([]byte, size)}
	return f, d.around("create "+filepath.Base(path), func() error {
		d.files[path] = f
		return nil
	})
}

func (d *simDisk) open(path string) (logFile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.crashed:
		return nil, errCrashed
	case !d.ours(path):
		return d.openReal(path)
	}
	if f := d.files[path]; f != nil {
		return f, nil
	}
	return nil, fs.ErrNotExist
}

func (d *simDisk) list(dir string) ([]string, error) {
	if dir != d.dir {
		return d.osFiles.list(dir)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for path := range d.files {
		names = append(names, filepath.Base(path))
	}
	slices.Sort(names)
	return names, nil
}

func (d *simDisk) rename(from, to string) error {
	return d.around("rename to "+filepath.Base(to), func() error {
		if !d.ours(to) {
			return d.renameReal(from, to)
		}
		d.files[to] = d.files[from]
		delete(d.files, from)
		return nil
	})
}

func (d *simDisk) remove(path string) error {
	return d.around("remove "+filepath.Base(path), func() error {
		if !d.ours(path) {
			return d.removeReal(path)
		}
		delete(d.files, path)
		return nil
	})
}

func (d *simDisk) syncDir(dir string) error {
	return d.around("sync of folder "+filepath.Base(dir), func() error {
		if dir != d.dir {
			d.names = slices.DeleteFunc(d.names, func(c nameChange) bool { return filepath.Dir(c.path) == dir })
			return nil
		}
		d.durable = maps.Clone(d.files)
		return nil
	})
}

func (f *simFile) size() (int64, error) { return int64(len(f.content)), nil }
func (f *simFile) Close() error         { return nil }

func (f *simFile) ReadAt(b []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	n := copy(b, f.content[min(at, int64(len(f.content))):])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *simFile) WriteAt(b []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step("write"); err != nil {
		return 0, err
	}
	if at+int64(len(b)) > int64(len(f.content)) {
		return 0, errors.New("written behind the segment's end")
	}
	copy(f.content[at:], b)
	f.wrote(b, at)
	return len(b), nil
}

func (f *simFile) wrote(b []byte, at int64) {
	f.last, f.dirty = simWrite{at, bytes.Clone(b)}, true
}

func (f *simFile) sync() error {
	return f.disk.around("sync", func() error {
		copy(f.synced, f.content)
		f.last, f.dirty = simWrite{}, false
		return nil
	})
}

func (f *simFile) writeBack(int64, int64) {}

// survivor is the file's content after a power cut: what was synced, and the first
// torn bytes of the last write.
func (f *simFile) survivor(torn int) []byte {
	b := bytes.Clone(f.synced)
	tear := f.last.data[:min(torn, len(f.last.data))]
	if end := int(f.last.at) + len(tear); len(tear) > 0 && end > len(b) {
		b = append(b, make([]byte, end-len(b))...)
	}
	copy(b[min(int(f.last.at), len(b)):], tear)
	return b
}

// image is the disk after a power cut: without what was not synced but for the
// first torn bytes of each file's last write, and, if names is false, without
// the changes of names that were not synced. It lies in dir, d's own or an empty one.
func (d *simDisk) image(t testing.TB, dir string, torn int, names bool) *simDisk {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.realImage(dir, torn, names); err != nil {
		t.Fatal(err)
	}
	after := newSimDisk(dir)
	from := d.durable
	if names {
		from = d.files
	}
	for path, f := range from {
		survivor := f.survivor(torn)
		after.files[filepath.Join(after.dir, filepath.Base(path))] = &simFile{disk: after, content: survivor, synced: bytes.Clone(survivor)}
	}
	after.durable = maps.Clone(after.files)
	return after
}

// longestTear is the length of the longest write that was not synced.
func (d *simDisk) longestTear() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, files := range []map[string]*simFile{d.files, d.written} {
		for _, f := range files {
			n = max(n, len(f.last.data))
		}
	}
	return n
}

func (d *simDisk) setHook(hook func(step int, what string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = hook
}
