package vnodes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// aside is a damaged store that was put out of the way.
type aside struct {
	name string   // that the store had
	path string   // where its file lies now, if it had one
	file uint64   // its id in the log, 0 if that is not known
	from position // the log is kept from here until release
	kept bool
}

// damaged tells the user that the open store s, under name, is damaged.
func (d *Disk) damaged(s *diskStore, name string, err error) {
	if d.opts.Damaged != nil {
		d.opts.Damaged(name, func() bool { return d.storeNamed(name) == s }, err)
	}
}

// storeNamed is the store that is known under name, nil if there is none.
func (d *Disk) storeNamed(name string) *diskStore {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stores[name]
}

// refused lists the stores that cannot be opened because of damage, with why.
func (d *Disk) refused() map[string]error {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make(map[string]error)
	for name, b := range d.blocked {
		if errors.Is(b.err, ErrCorrupt) {
			all[name] = b.err
		}
	}
	return all
}

// quarantine ends the store under name, open or not, and puts its file out of the
// way, durably, in place of one that went there before. What the log has of it is
// kept until release; after a restart, until the log is shortened.
func (d *Disk) quarantine(name string) (*aside, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	a := &aside{name: name, path: d.path(name) + asideSuffix}
	s := d.storeNamed(name)
	if s != nil {
		_ = s.end()       // its user may have done so
		_ = d.log.flush() // whoever waits for what was appended is told
		s.unwanted.Store(true)
		s.lockCheckpoints()
		defer s.checkpointing.Unlock()
		_ = s.file.close(s) // it is damaged
		a.file = s.ID()
		a.from, a.kept = s.needs()
	} else if state, err := peekState(d.path(name)); err == nil {
		a.file = state.file
	} else {
		a = d.asideOf(name) // an attempt before has come as far as that
	}
	d.mu.Lock()
	if b := d.blocked[name]; b != nil && b.from > 0 {
		a.from, a.kept = b.from, true
	}
	d.mu.Unlock()
	err := renameFile(d.fsys, d.path(name), a.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("quarantine %s: %w", name, err)
	}
	if s != nil {
		d.freed(s.forgetTables())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.blocked, name)
	if d.stores[name] == s {
		delete(d.stores, name)
	}
	if a.kept {
		d.blocked[name+asideSuffix] = &blocked{err: ErrCorrupt, from: a.from}
	}
	return a, nil
}

// asideOf is the quarantined store that was called name, of an earlier run.
func (d *Disk) asideOf(name string) *aside {
	a := &aside{name: name, path: d.path(name) + asideSuffix}
	if state, err := peekState(a.path); err == nil {
		a.file, a.from = state.file, state.covered
	}
	return a
}

// letGo lets the log go without the entries of a.
func (d *Disk) letGo(a *aside) error {
	d.mu.Lock()
	delete(d.blocked, a.name+asideSuffix)
	d.mu.Unlock()
	return d.trim()
}

// removeAside deletes the file of the store that was called name and put out of
// the way; it is no error if there is none.
func (d *Disk) removeAside(name string) error {
	return removeFile(d.fsys, d.path(name)+asideSuffix)
}

// asides are the names that the stores had whose files are out of the way, sorted.
func (d *Disk) asides() ([]string, error) {
	return d.files(func(name string) (string, bool) { return strings.CutSuffix(name, asideSuffix) })
}

// has reports whether there is a file under name.
func (d *Disk) has(name string) bool {
	_, err := os.Lstat(d.path(name))
	return err == nil
}
