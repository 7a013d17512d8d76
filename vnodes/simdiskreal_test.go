package vnodes

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// writtenFile is a file on the real disk that is written through simDisk.
type writtenFile struct {
	osFile
	state *simFile
	name  string // that it had when it was opened
}

// createReal makes a file of size zero bytes on the real disk. The bytes are
// synced, its name is not.
func (d *simDisk) createReal(path string, size int64) (f logFile, err error) {
	return f, d.around("create "+filepath.Base(path), func() error {
		d.changes(path)
		made, err := d.osFiles.create(path, size)
		if err != nil {
			return err
		}
		state := &simFile{disk: d, synced: make([]byte, size)}
		d.written[path] = state
		f = &writtenFile{osFile: made.(osFile), state: state, name: filepath.Base(path)}
		return nil
	})
}

// openReal opens a file on the real disk. The caller holds mu.
func (d *simDisk) openReal(path string) (logFile, error) {
	opened, err := d.osFiles.open(path)
	if err != nil {
		return nil, err
	}
	state := d.written[path]
	if state == nil {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, errors.Join(err, opened.Close())
		}
		state = &simFile{disk: d, synced: content}
		d.written[path] = state
	}
	return &writtenFile{osFile: opened.(osFile), state: state, name: filepath.Base(path)}, nil
}

// WriteAt may make the file longer.
func (f *writtenFile) WriteAt(b []byte, at int64) (int, error) {
	d := f.state.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("write of " + f.name); err != nil {
		return 0, err
	}
	n, err := f.osFile.WriteAt(b, at)
	f.state.wrote(b[:n], at)
	return n, err
}

func (f *writtenFile) sync() error {
	return f.state.disk.around("sync of "+f.name, func() error {
		size, err := f.size()
		if err != nil {
			return err
		}
		f.state.synced = make([]byte, size)
		if _, err := f.ReadAt(f.state.synced, 0); err != nil {
			return err
		}
		f.state.last, f.state.dirty = simWrite{}, false
		return nil
	})
}

// changes notes what the name path was, which is about to change. The caller holds mu.
func (d *simDisk) changes(path string) {
	content, err := os.ReadFile(path)
	if f := d.written[path]; f != nil && f.dirty {
		content = bytes.Clone(f.synced)
	}
	d.names = append(d.names, nameChange{path: path, content: content, was: err == nil})
}

func (d *simDisk) renameReal(from, to string) error {
	d.changes(to)
	d.changes(from)
	if err := d.osFiles.rename(from, to); err != nil {
		return err
	}
	delete(d.written, to)
	if f := d.written[from]; f != nil {
		d.written[to] = f
		delete(d.written, from)
	}
	return nil
}

func (d *simDisk) removeReal(path string) error {
	d.changes(path)
	delete(d.written, path)
	return d.osFiles.remove(path)
}

// realImage is image for the real disk's files. The caller holds mu.
func (d *simDisk) realImage(dir string, torn int, names bool) error {
	if dir != d.root {
		if err := os.CopyFS(dir, os.DirFS(d.root)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	in := func(path string) string { return filepath.Join(dir, path[len(d.root):]) }
	for path, f := range d.written {
		if f.dirty {
			if err := replaceFile(in(path), f.survivor(torn)); err != nil {
				return err
			}
		}
	}
	if names {
		return nil
	}
	for _, c := range slices.Backward(d.names) {
		if c.was {
			if err := replaceFile(in(c.path), c.content); err != nil {
				return err
			}
			continue
		}
		if err := os.Remove(in(c.path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// replaceFile puts another file under path.
func replaceFile(path string, content []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}

// A new file replaces one, as a checkpoint does it. At whatever step the power is
// cut, the old content or the whole new one is there, and after the last the new one.
func TestSimDiskReplace(t *testing.T) {
	outcomes := map[string]int{}
	for step := 1; ; step++ {
		dir := t.TempDir()
		path := filepath.Join(dir, "kv", "file")
		d := newSimDisk(dir)
		if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("old"), 0o600)); err != nil {
			t.Fatal(err)
		}
		d.setHook(func(n int, _ string) error {
			d.crashed = n == step
			if d.crashed {
				return errCrashed
			}
			return nil
		})
		whole := replaceInSteps(d, path) == nil
		for _, names := range []bool{false, true} {
			again := t.TempDir()
			d.image(t, again, 0, names)
			got := string(readFile(t, filepath.Join(again, "kv", "file")))
			if got != "old" && got != "\x00\x00new" || whole && got == "old" {
				t.Errorf("step %d, names %v: %q, done %v", step, names, got, whole)
			}
			outcomes[got]++
		}
		if whole {
			break
		}
	}
	if outcomes["old"] < 10 || outcomes["\x00\x00new"] < 4 {
		t.Errorf("%v", outcomes)
	}
}

func replaceInSteps(d *simDisk, path string) error {
	f, err := d.create(path+partSuffix, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("ew"), 3); err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte("n"), 2); err != nil {
		return err
	}
	if err := f.sync(); err != nil {
		return err
	}
	return renameFile(d, path+partSuffix, path)
}

// What was not synced is lost, but for the part of the last write that is torn off.
func TestSimDiskTears(t *testing.T) {
	d := newSimDisk(t.TempDir())
	path := filepath.Join(d.root, "file")
	f, err := d.create(path, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, w := range []string{"ab", "cd"} {
		if _, err := f.WriteAt([]byte(w), 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.syncDir(d.root); err != nil {
		t.Fatal(err)
	}
	for torn, want := range []string{"\x00\x00", "\x00c", "\x00cd"} {
		dir := t.TempDir()
		d.image(t, dir, torn, false)
		if got := string(readFile(t, filepath.Join(dir, "file"))); got != want {
			t.Errorf("torn at %d: %q, not %q", torn, got, want)
		}
	}
	if err := errors.Join(d.remove(path), d.crash(t).syncDir(d.root)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error("a removal that was not synced survives:", err)
	}
}

// crash is the disk after a power cut, where it was.
func (d *simDisk) crash(t testing.TB) *simDisk { return d.image(t, d.root, 0, false) }
