package vnodes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// growBytes is how much longer a file gets at a time.
const growBytes = 256 << 10

// lockTimeout is how long opening a file waits for whoever has it open.
const lockTimeout = time.Second

// boltFile is an open bbolt database whose damage is an error, never a panic:
// bbolt trusts what it reads, so damage shows as a panic or a fault in its mapped
// memory. After the first one the database is not touched again.
//
// All readers share one read transaction, which bbolt can bear as long as nobody
// writes: to begin one, and to find the bucket in it, costs more than to find a key.
// During an update, which may have to map the file anew, they begin their own.
type boltFile struct {
	db     *bbolt.DB
	file   *os.File              // bbolt's own handle
	broken atomic.Pointer[error] // set once: what bbolt panicked with
	newest newestTx              // seen: bbolt must not go back behind it

	sharedMu sync.RWMutex // read-held while shared, or data, is in use
	data     []byte       // the file, mapped for reading
	shared   *boltReader  // nil: none has been begun since the last update
	updating bool
}

// boltReader is a read transaction.
type boltReader struct {
	tx    *bbolt.Tx
	pages boltPages // empty for a file that is no store's
}

// createBolt makes a database at path, filled by init, durably: the file appears
// under its name only when it is whole.
func createBolt(fsys fileSystem, path string, init func(tx *bbolt.Tx) error) (*boltFile, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fs.ErrExist
	}
	if err := fsys.makeDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	part := path + partSuffix
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := mapBolt(part, false)
	if err != nil {
		return nil, err
	}
	err = f.update(init)
	if err == nil {
		err = f.file.Sync()
	}
	if err == nil {
		err = renameFile(fsys, part, path)
	}
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// openBolt opens the database at path after checking its structure. The error
// wraps fs.ErrNotExist or ErrCorrupt.
func openBolt(path string) (*boltFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() < 2*defaultPageSize() {
		return nil, corruptBolt("%d bytes long", info.Size())
	}
	if err := inspectBolt(path); err != nil {
		return nil, err
	}
	return mapBolt(path, false)
}

// inspectBolt checks the file's structure under a shared lock. bbolt itself
// looks for free pages in a goroutine of its own when it opens a file for
// writing, where nobody could catch its panic.
func inspectBolt(path string) error {
	f, err := mapBolt(path, true)
	if err != nil {
		return err
	}
	info, err := f.file.Stat()
	if err == nil {
		err = checkBoltPages(f.file, info.Size())
	}
	return errors.Join(err, f.close())
}

// mapBolt opens path, or makes it if it may be written and is not there.
func mapBolt(path string, readOnly bool) (*boltFile, error) {
	f := new(boltFile)
	err := f.open(path, readOnly)
	if err == nil {
		return f, nil
	}
	if f.broken.Load() != nil && f.file != nil {
		_ = f.close() // otherwise bbolt has done that
	}
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, errOpen
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum),
		errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil, err
}

func (f *boltFile) open(path string, readOnly bool) (err error) {
	defer f.catch(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	f.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:        lockTimeout,
		FreelistType:   bbolt.FreelistMapType,
		NoFreelistSync: true,
		NoStatistics:   true,
		ReadOnly:       readOnly,
		OpenFile: func(name string, flag int, mode fs.FileMode) (*os.File, error) {
			file, err := os.OpenFile(name, flag, mode)
			f.file = file
			return file, err
		},
	})
	if err == nil {
		f.db.AllocSize = growBytes
	}
	return err
}

// view runs fn in a read transaction. Nothing of it may be kept.
func (f *boltFile) view(fn func(r *boltReader) error) (err error) {
	if e := f.broken.Load(); e != nil {
		return *e
	}
	defer f.catch(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	f.sharedMu.RLock()
	for f.shared == nil {
		updating := f.updating
		if updating {
			defer f.sharedMu.RUnlock()
			return f.viewAlone(fn)
		}
		f.sharedMu.RUnlock()
		if err := f.share(); err != nil {
			return err
		}
		f.sharedMu.RLock()
	}
	defer f.sharedMu.RUnlock()
	return fn(f.shared)
}

// viewAlone is view in a transaction of its own. The caller holds sharedMu.
func (f *boltFile) viewAlone(fn func(r *boltReader) error) error {
	r, err := f.begin()
	if err != nil {
		return err
	}
	defer func() { _ = r.tx.Rollback() }()
	data := f.data
	if r.tx.Size() > int64(len(data)) { // the update has made it longer
		if data, err = mapFile(f.file, r.tx.Size()); err != nil {
			return err
		}
		defer unmapMemory(data)
	}
	if err := r.read(data); err != nil {
		return err
	}
	return fn(r)
}

// share begins the readers' transaction, unless that is done or an update runs.
func (f *boltFile) share() error {
	f.sharedMu.Lock()
	defer f.sharedMu.Unlock()
	if f.shared != nil || f.updating {
		return nil
	}
	r, err := f.begin()
	if err != nil {
		return err
	}
	if err = f.mapData(r.tx.Size()); err == nil {
		err = r.read(f.data)
	}
	if err != nil {
		return errors.Join(err, r.tx.Rollback())
	}
	f.shared = r
	return nil
}

// mapData maps size bytes of the file. The caller holds sharedMu alone.
func (f *boltFile) mapData(size int64) (err error) {
	if size == int64(len(f.data)) {
		return nil
	}
	if f.data != nil {
		unmapMemory(f.data)
		f.data = nil
	}
	f.data, err = mapFile(f.file, size)
	return err
}

// unshare ends the readers' transaction: once with updating, for an update, and
// once without, when that has ended.
func (f *boltFile) unshare(updating bool) {
	f.sharedMu.Lock()
	defer f.sharedMu.Unlock()
	if f.updating = updating; f.shared != nil {
		_ = f.shared.tx.Rollback()
		f.shared = nil
	}
}

func (f *boltFile) begin() (*boltReader, error) {
	seen := f.newest.seen()
	tx, err := f.db.Begin(false)
	if err != nil {
		return nil, closedError(err)
	}
	if err := f.newest.check(tx.ID(), seen); err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return &boltReader{tx: tx}, nil
}

// read finds the records of a store's file, which is mapped in data; another file has none.
func (r *boltReader) read(data []byte) error {
	if r.tx.Bucket([]byte(recordsBucket)) == nil {
		return nil
	}
	r.pages.data = data
	return r.pages.open(uint64(r.tx.Cursor().Bucket().RootPage()))
}

// update runs fn in a write transaction and commits it durably, unless fn fails.
// After a failed commit nobody knows what is durable: the caller must not try again.
// There is one update at a time.
func (f *boltFile) update(fn func(tx *bbolt.Tx) error) (err error) {
	if e := f.broken.Load(); e != nil {
		return *e
	}
	defer f.catch(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	f.unshare(true)
	defer f.unshare(false)
	seen := f.newest.seen()
	tx, err := f.db.Begin(true)
	if err != nil {
		return closedError(err)
	}
	if err = f.newest.check(tx.ID()-1, seen); err == nil {
		err = fn(tx)
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	id := tx.ID()
	if err := tx.Commit(); err != nil {
		return err
	}
	f.newest.raise(int64(id)) // also if nobody reads it before a meta page is damaged
	return nil
}

// catch, deferred, turns a panic of bbolt into ErrCorrupt.
func (f *boltFile) catch(err *error) {
	p := recover()
	if p == nil {
		return
	}
	*err = fmt.Errorf("%w: bbolt: %v", ErrCorrupt, p)
	f.broken.CompareAndSwap(nil, err)
}

// closedError is err, or ErrClosed if that is what bbolt means.
func closedError(err error) error {
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}

// close waits for transactions and gives up the file. A broken database may hold
// its own locks for ever: only its handle is closed, and its mapping stays.
func (f *boltFile) close() error {
	if f.broken.Load() != nil {
		return errors.Join(unlock(f.file), f.file.Close())
	}
	f.unshare(false)
	f.sharedMu.Lock()
	defer f.sharedMu.Unlock()
	if f.data != nil {
		unmapMemory(f.data)
		f.data = nil
	}
	return f.db.Close()
}
