package vnodes

import (
	"path/filepath"
	"sync"
)

// faultFiles is a fileSystem of which a test lets operations fail, or stall: the
// fault is asked before each operation, without any lock, and may block.
type faultFiles struct {
	fileSystem
	mu    sync.Mutex
	fault func(op, path string) error
}

func newFaultFiles() *faultFiles { return &faultFiles{fileSystem: osFiles{}} }

func (f *faultFiles) set(fault func(op, path string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func (f *faultFiles) ask(op, path string) error {
	f.mu.Lock()
	fault := f.fault
	f.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault(op, path)
}

func (f *faultFiles) create(path string, size int64) (logFile, error) {
	if err := f.ask("create", path); err != nil {
		return nil, err
	}
	file, err := f.fileSystem.create(path, size)
	return &faultFile{logFile: file, files: f, path: path}, err
}

func (f *faultFiles) open(path string) (logFile, error) {
	if err := f.ask("open", path); err != nil {
		return nil, err
	}
	file, err := f.fileSystem.open(path)
	return &faultFile{logFile: file, files: f, path: path}, err
}

func (f *faultFiles) rename(from, to string) error {
	if err := f.ask("rename", to); err != nil {
		return err
	}
	return f.fileSystem.rename(from, to)
}

func (f *faultFiles) remove(path string) error {
	if err := f.ask("remove", path); err != nil {
		return err
	}
	return f.fileSystem.remove(path)
}

func (f *faultFiles) syncDir(dir string) error {
	if err := f.ask("sync of folder", dir); err != nil {
		return err
	}
	return f.fileSystem.syncDir(dir)
}

// faultFile is a file of faultFiles.
type faultFile struct {
	logFile
	files *faultFiles
	path  string
}

func (f *faultFile) WriteAt(b []byte, at int64) (int, error) {
	if err := f.files.ask("write", f.path); err != nil {
		return 0, err
	}
	return f.logFile.WriteAt(b, at)
}

func (f *faultFile) sync() error {
	if err := f.files.ask("sync", f.path); err != nil {
		return err
	}
	return f.logFile.sync()
}

// stall lets the next operation op on a file of the log hang: stalled is closed
// when it does, release lets it go on.
func (f *faultFiles) stall(op string) (stalled <-chan struct{}, release func()) {
	begun, end := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.set(func(o, path string) error {
		if o != op || filepath.Base(filepath.Dir(path)) != logDir {
			return nil
		}
		once.Do(func() { close(begun) })
		<-end
		return nil
	})
	return begun, sync.OnceFunc(func() { close(end) })
}
