package vnodes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"

	"go.etcd.io/bbolt"
)

// diskStorage is DiskStorage.
type diskStorage struct {
	dir string
	log *slog.Logger
}

// DiskStorage keeps each store in a bbolt file under dir, which is made when it
// is needed. logger is slog.Default() if nil.
func DiskStorage(dir string, logger *slog.Logger) Storage {
	if logger == nil {
		logger = slog.Default()
	}
	return &diskStorage{dir: dir, log: logger}
}

func (d *diskStorage) path(name string) string { return filepath.Join(d.dir, filepath.FromSlash(name)) }

func (d *diskStorage) Create(id Identity, name string) (Store, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	f, err := createBolt(d.path(name), func(tx *bbolt.Tx) error { return initStore(tx, id) })
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	return d.store(id, name, f)
}

// initStore fills an empty database.
func initStore(tx *bbolt.Tx, id Identity) error {
	if _, err := tx.CreateBucket([]byte(recordsBucket)); err != nil {
		return err
	}
	meta, err := tx.CreateBucket([]byte(metaBucket))
	if err != nil {
		return err
	}
	b, err := json.Marshal(id)
	if err != nil {
		return err
	}
	if err := meta.Put([]byte(identityKey), seal(identityKey, b)); err != nil {
		return err
	}
	return writeState(tx, Digest{}, 0)
}

func (d *diskStorage) Open(id Identity, name string) (Store, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	f, err := openBolt(d.path(name))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	var stored Identity
	err = f.view(func(tx *bbolt.Tx) error {
		stored, err = readIdentity(tx)
		return err
	})
	if err == nil {
		err = stored.check(id)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, errors.Join(err, f.close()))
	}
	return d.store(stored, name, f)
}

func readIdentity(tx *bbolt.Tx) (Identity, error) {
	meta, err := fileBucket(tx, metaBucket)
	if err != nil {
		return Identity{}, err
	}
	b, err := unseal(identityKey, meta.Get([]byte(identityKey)))
	if err != nil {
		return Identity{}, err
	}
	var id Identity
	if err := json.Unmarshal(b, &id); err != nil {
		return Identity{}, fmt.Errorf("identity: %w: %w", ErrCorrupt, err)
	}
	return id, nil
}

// store is the Store on f.
func (d *diskStorage) store(id Identity, name string, f *boltFile) (Store, error) {
	s := &boltStore{
		id: id, dir: d.dir, name: name, file: f, log: d.log,
		limit: defaultPendingLimit, pending: make(map[string]*entry),
	}
	s.room.L = &s.mu
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("open %s: %w", name, errors.Join(err, f.close()))
	}
	return s, nil
}

func (d *diskStorage) Rename(st Store, name string) error {
	s, ok := st.(*boltStore)
	if !ok || s.dir != d.dir {
		return fmt.Errorf("rename to %s: a store of another storage: %w", name, fs.ErrInvalid)
	}
	if err := checkName(name); err != nil {
		return err
	}
	if err := s.rename(name, d.path(name)); err != nil {
		return fmt.Errorf("rename to %s: %w", name, err)
	}
	return nil
}

func (d *diskStorage) List() ([]string, error) {
	var names []string
	err := filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if path == d.dir && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(d.dir, path)
		if name := filepath.ToSlash(rel); err == nil && e.Type().IsRegular() && checkName(name) == nil {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list stores: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

func (d *diskStorage) Remove(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := removeFile(d.path(name)); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}
