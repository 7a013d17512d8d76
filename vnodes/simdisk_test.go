package vnodes

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

var errCrashed = errors.New("the machine is off")

// simDisk is a disk for the log, in memory, that can lose what was not synced;
// what is made elsewhere, the stores' files, lies on the real disk. Every sync,
// rename, removal and creation is a step: hook runs before and after each.
type simDisk struct {
	osFiles
	dir string // the log's

	mu      sync.Mutex
	files   map[string]*simFile // as programs see them
	durable map[string]*simFile // the names that survive
	steps   int
	hook    func(step int, what string) error // of the operation about to run; called with mu held
	crashed bool
}

// simFile is a file's content, as programs see it and as it survives.
type simFile struct {
	disk    *simDisk
	content []byte
	synced  []byte
	last    simWrite // the newest write that was not synced
}

type simWrite struct {
	at   int64
	data []byte
}

func newSimDisk(dir string) *simDisk {
	return &simDisk{dir: filepath.Join(dir, logDir), files: map[string]*simFile{}, durable: map[string]*simFile{}}
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

func (d *simDisk) ours(path string) bool { return filepath.Dir(path) == d.dir }

func (d *simDisk) create(path string, size int64) (logFile, error) {
	if !d.ours(path) {
		f, err := d.osFiles.create(path, size)
		if err != nil {
			return nil, err
		}
		return f, d.around("create "+filepath.Base(path), func() error { return nil })
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
	if d.crashed {
		return nil, errCrashed
	}
	if f := d.files[path]; f != nil {
		return f, nil
	}
	return nil, fs.ErrNotExist
}

func (d *simDisk) list(string) ([]string, error) {
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
			return d.osFiles.rename(from, to)
		}
		d.files[to] = d.files[from]
		delete(d.files, from)
		return nil
	})
}

func (d *simDisk) remove(path string) error {
	return d.around("remove "+filepath.Base(path), func() error {
		if !d.ours(path) {
			return d.osFiles.remove(path)
		}
		delete(d.files, path)
		return nil
	})
}

func (d *simDisk) syncDir(dir string) error {
	return d.around("sync of folder "+filepath.Base(dir), func() error {
		if dir != d.dir {
			return d.osFiles.syncDir(dir)
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
	f.last = simWrite{at, bytes.Clone(b)}
	return len(b), nil
}

func (f *simFile) sync() error {
	return f.disk.around("sync", func() error {
		copy(f.synced, f.content)
		f.last = simWrite{}
		return nil
	})
}

func (f *simFile) writeBack(int64, int64) {}

// image is the disk after a power cut: without what was not synced but for the
// first torn bytes of each file's last write, and, if names is false, without
// the changes of names that were not synced.
func (d *simDisk) image(torn int, names bool) *simDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := newSimDisk(strings.TrimSuffix(d.dir, logDir))
	from := d.durable
	if names {
		from = d.files
	}
	for path, f := range from {
		synced := bytes.Clone(f.synced)
		copy(synced[f.last.at:], f.last.data[:min(torn, len(f.last.data))])
		after.files[path] = &simFile{disk: after, content: synced, synced: bytes.Clone(synced)}
	}
	after.durable = maps.Clone(after.files)
	return after
}

// longestTear is the length of the longest write that was not synced.
func (d *simDisk) longestTear() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.files {
		n = max(n, len(f.last.data))
	}
	return n
}

func (d *simDisk) setHook(hook func(step int, what string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = hook
}
