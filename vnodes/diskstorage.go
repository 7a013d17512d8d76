package vnodes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func (d *Disk) path(name string) string { return filepath.Join(d.dir, filepath.FromSlash(name)) }

func (d *Disk) newStore(name string) *diskStore {
	return &diskStore{disk: d, name: name, active: newTable(d.blocks)}
}

// Create implements Storage.
func (d *Disk) Create(id Identity, name string) (Store, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := d.log.err(); err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	s := d.newStore(name)
	s.id, s.open, s.loaded = id, true, true
	// Not where the log is in memory: after a kill that may be its place for other entries.
	s.state = fileState{file: newFileID(), covered: d.log.durableEnd(), log: d.log.id}
	f, err := createStoreFile(d.fsys, d.path(name), id, &s.state)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	s.file.put(s, f)
	if !d.adopt(s) {
		return nil, errors.Join(ErrClosed, s.file.close(s))
	}
	return s, nil
}

// adopt makes a new store one of the disk's; false if that has been closed.
func (d *Disk) adopt(s *diskStore) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut {
		return false
	}
	delete(d.blocked, s.name) // of a file that is not there any more
	d.stores[s.name] = s
	return true
}

// Open implements Storage.
func (d *Disk) Open(id Identity, name string) (Store, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	s, err := d.claim(name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	s.lockCheckpoints()
	err = s.load()
	s.checkpointing.Unlock()
	if err == nil {
		err = s.id.check(id)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, errors.Join(err, d.unclaim(s)))
	}
	return s, nil
}

// claim takes the store under name for a user.
func (d *Disk) claim(name string) (*diskStore, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut {
		return nil, ErrClosed
	}
	if b := d.blocked[name]; b != nil {
		return nil, b.err
	}
	s := d.stores[name]
	if s == nil {
		if _, err := os.Stat(d.path(name)); err != nil {
			return nil, err
		}
		s = d.newStore(name)
		d.stores[name] = s
	}
	if s.open {
		return nil, errOpen
	}
	s.open = true
	return s, nil
}

// unclaim gives back a store that cannot be used as it was asked for.
func (d *Disk) unclaim(s *diskStore) error {
	d.mu.Lock()
	s.open = false
	_, needs := s.needs()
	if !needs {
		delete(d.stores, s.name)
	}
	d.mu.Unlock()
	if needs {
		return nil
	}
	return s.file.close(s)
}

// release forgets a store that was closed. What is not in its file waits in the
// log for the next start.
func (d *Disk) release(s *diskStore) error {
	s.lockCheckpoints() // none looks at the tables any more
	defer s.checkpointing.Unlock()
	at, needs := s.needs()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.stores, s.name)
	if needs {
		d.blocked[s.name] = &blocked{from: at, err: fmt.Errorf("its newest records are in the log, which is read at the next start: %w", ErrClosed)}
		d.tables.Add(-s.forgetTables())
	}
	return nil
}

// forget forgets a store whose file was deleted.
func (d *Disk) forget(s *diskStore) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.stores, s.name)
}

// Rename implements Storage.
func (d *Disk) Rename(st Store, name string) error {
	s, ok := st.(*diskStore)
	if !ok || s.disk != d {
		return fmt.Errorf("rename to %s: a store of another storage: %w", name, fs.ErrInvalid)
	}
	if err := checkName(name); err != nil {
		return err
	}
	if err := d.rename(s, name); err != nil {
		return fmt.Errorf("rename to %s: %w", name, err)
	}
	return nil
}

// rename moves the file while it is not in use. It keeps its id, by which the log
// knows it.
func (d *Disk) rename(s *diskStore, name string) error {
	s.lockCheckpoints()
	defer s.checkpointing.Unlock()
	s.mu.RLock()
	closed := s.closed
	s.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	s.file.mu.Lock() // nobody opens it meanwhile
	defer s.file.mu.Unlock()
	path := d.path(name)
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	if err := d.fsys.makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := renameFile(d.fsys, s.path(), path); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.stores, s.name)
	delete(d.blocked, name)
	d.stores[name] = s
	s.mu.Lock()
	s.name = name
	s.mu.Unlock()
	return nil
}

// List implements Storage.
func (d *Disk) List() ([]string, error) {
	return d.files(func(name string) (string, bool) { return name, checkName(name) == nil })
}

// files is what pick makes of the names of the files under the disk's folder, of
// those that it picks, sorted.
func (d *Disk) files(pick func(name string) (string, bool)) ([]string, error) {
	var names []string
	err := filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if path == d.dir && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(d.dir, path)
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		if name, ok := pick(filepath.ToSlash(rel)); ok {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list files: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// removeParts deletes the files that a crash has left half made, but for what a transfer
// has filled: see Refill. The log does so itself.
func (d *Disk) removeParts() error {
	parts, err := d.files(func(name string) (string, bool) {
		whole, part := strings.CutSuffix(name, partSuffix)
		if part && strings.HasSuffix(whole, stagingSuffix) {
			_, err := os.Lstat(d.path(whole))
			part = err == nil // of a checkpoint
		}
		return name, part && !strings.HasPrefix(name, logDir+"/")
	})
	for _, name := range parts {
		err = errors.Join(err, d.fsys.remove(d.path(name)))
	}
	return err
}

// Remove implements Storage.
func (d *Disk) Remove(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := d.remove(name); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

func (d *Disk) remove(name string) error {
	d.mu.Lock()
	s := d.stores[name]
	if s != nil && s.open {
		d.mu.Unlock()
		return errOpen
	}
	d.mu.Unlock()
	if s != nil {
		if err := s.end(); err != nil {
			return err
		}
		return s.discard()
	}
	if strings.HasSuffix(name, stagingSuffix) {
		if err := removeFile(d.fsys, d.path(name)+partSuffix); err != nil {
			return err
		}
	}
	if err := removeFile(d.fsys, d.path(name)); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.blocked, name)
	return nil
}
