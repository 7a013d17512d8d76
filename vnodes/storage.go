package vnodes

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Storage keeps stores under names: paths of at least two elements, such as
// "kv/p0012.bolt", made of a-z, 0-9, '.', '_', '-' between the slashes. A name
// is open at most once. All methods may be called from any goroutine; two calls
// about one name must not run at the same time.
type Storage interface {
	// Create makes an empty store, durably. The error wraps fs.ErrExist if the name is taken.
	Create(id Identity, name string) (Store, error)
	// Open opens the store under name. The error wraps fs.ErrNotExist if there is
	// none, ErrCorrupt if it is damaged or made for another identity. The session
	// is not compared: IdentityOf tells which one the store has.
	Open(id Identity, name string) (Store, error)
	// Rename gives st, which stays open, another name, durably. The error wraps
	// fs.ErrExist if the name is taken.
	Rename(st Store, name string) error
	// List is the names of all stores, sorted.
	List() ([]string, error)
	// Remove deletes the store under name, durably; it must not be open. It is no
	// error if there is none.
	Remove(name string) error
}

// IdentityOf is what st, made by a Storage, was created with.
func IdentityOf(st Store) Identity {
	switch st := st.(type) {
	case *diskStore:
		return st.id
	case *memStore:
		return st.file.id
	}
	return Identity{}
}

// check reports whether a store stamped id is the one that is asked for.
func (id Identity) check(asked Identity) error {
	id.Session, asked.Session = "", ""
	if id != asked {
		return fmt.Errorf("file made for %+v, not for %+v: %w", id, asked, ErrCorrupt)
	}
	return nil
}

// partSuffix ends the name of a file that is being made.
const partSuffix = ".tmp"

// asideSuffix ends the name of a damaged file that was put out of the way. It
// is no store's: nobody lists or opens it, and its entries in the log are nobody's.
const asideSuffix = ".aside"

func checkName(name string) error {
	ok := fs.ValidPath(name) && strings.Contains(name, "/") &&
		!strings.HasSuffix(name, partSuffix) && !strings.HasSuffix(name, asideSuffix) && !strings.HasSuffix(name, segmentSuffix)
	for i := range len(name) {
		c := name[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("._-/", c) >= 0)
	}
	if !ok {
		return fmt.Errorf("store name %q: %w", name, fs.ErrInvalid)
	}
	return nil
}

// memoryStorage is MemoryStorage.
type memoryStorage struct {
	mu    sync.Mutex // held for map operations only
	files map[string]*memFile
	open  map[*memFile]bool
}

// MemoryStorage keeps stores in memory: they outlive being closed, not the process.
func MemoryStorage() Storage {
	return &memoryStorage{files: make(map[string]*memFile), open: make(map[*memFile]bool)}
}

func (m *memoryStorage) Create(id Identity, name string) (Store, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[name] != nil {
		return nil, fmt.Errorf("create %s: %w", name, fs.ErrExist)
	}
	f := &memFile{id: id, number: newFileID()}
	m.files[name], m.open[f] = f, true
	return &memStore{file: f, storage: m}, nil
}

func (m *memoryStorage) Open(id Identity, name string) (Store, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[name]
	if f == nil {
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
	if err := f.id.check(id); err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	if m.open[f] {
		return nil, fmt.Errorf("open %s: %w", name, errOpen)
	}
	m.open[f] = true
	return &memStore{file: f, storage: m}, nil
}

// errOpen reports a second opening of one store.
var errOpen = errors.New("it is open already")

func (m *memoryStorage) Rename(st Store, name string) error {
	s, ok := st.(*memStore)
	if !ok || s.storage != m {
		return fmt.Errorf("rename to %s: a store of another storage: %w", name, fs.ErrInvalid)
	}
	if err := checkName(name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.closed.Load() {
		return fmt.Errorf("rename to %s: %w", name, ErrClosed)
	}
	if m.files[name] != nil {
		return fmt.Errorf("rename to %s: %w", name, fs.ErrExist)
	}
	m.removeLocked(s.file)
	m.files[name] = s.file
	return nil
}

func (m *memoryStorage) List() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.files)), nil
}

func (m *memoryStorage) Remove(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.files[name]; m.open[f] {
		return fmt.Errorf("remove %s: %w", name, errOpen)
	}
	delete(m.files, name)
	return nil
}

// release lets f be opened again.
func (m *memoryStorage) release(f *memFile) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.open, f)
}

// forget deletes f, whatever its name.
func (m *memoryStorage) forget(f *memFile) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.open, f)
	m.removeLocked(f)
}

func (m *memoryStorage) removeLocked(f *memFile) {
	for name, g := range m.files {
		if g == f {
			delete(m.files, name)
		}
	}
}
