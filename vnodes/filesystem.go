package vnodes

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// fileSystem is what the log, and the making of files, ask of the disk. Tests
// put a disk in its place that loses what was not synced, tears writes, fails
// and stalls. All methods may be called from any goroutine.
type fileSystem interface {
	// create makes a file of size zero bytes, all of which lie on the disk. One of no
	// size grows as it is written to.
	create(path string, size int64) (logFile, error)
	open(path string) (logFile, error)
	// list is the names of the files in dir, sorted.
	list(dir string) ([]string, error)
	// makeDir makes dir and the parents that it lacks, durably.
	makeDir(dir string) error
	// rename and remove are durable after syncDir.
	rename(from, to string) error
	remove(path string) error
	syncDir(dir string) error
	// space is the room on the disk of dir, in bytes: free for this process, and in all.
	space(dir string) (free, total int64, err error)
}

// logFile is one open file of the log.
type logFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	size() (int64, error)
	// sync makes what was written inside the file's size durable.
	sync() error
	// writeBack begins to do so for a part, and waits for nothing.
	writeBack(at, n int64)
}

// osFiles is the operating system's fileSystem.
type osFiles struct{}

type osFile struct{ *os.File }

func (f osFile) size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) sync() error           { return datasync(f.File) }
func (f osFile) writeBack(at, n int64) { writeBack(f.File, at, n) }

// create writes the zeros: a file that was only given a size would pay for its
// blocks in every sync.
func (osFiles) create(path string, size int64) (logFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if size == 0 {
		return osFile{f}, nil
	}
	zeros := make([]byte, min(size, 1<<20))
	for at := int64(0); at < size && err == nil; at += int64(len(zeros)) {
		_, err = f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return osFile{f}, nil
}

func (osFiles) open(path string) (logFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFiles) list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (o osFiles) makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := o.makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return o.syncDir(parent)
}

func (osFiles) rename(from, to string) error { return os.Rename(from, to) }
func (osFiles) remove(path string) error     { return os.Remove(path) }

func (osFiles) syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// renameFile renames a file durably.
func renameFile(fsys fileSystem, from, to string) error {
	if err := fsys.rename(from, to); err != nil {
		return err
	}
	if err := fsys.syncDir(filepath.Dir(to)); err != nil {
		return err
	}
	if filepath.Dir(from) == filepath.Dir(to) {
		return nil
	}
	return fsys.syncDir(filepath.Dir(from))
}

// removeFile deletes a file durably; it is no error if there is none.
func removeFile(fsys fileSystem, path string) error {
	err := fsys.remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fsys.syncDir(filepath.Dir(path))
}
