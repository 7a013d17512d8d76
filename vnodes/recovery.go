package vnodes

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// recovery fills the tables of a Disk's stores from the log, when it is opened.
type recovery struct {
	disk   *Disk
	mu     sync.Mutex
	byFile map[uint64]*diskStore // made before the log is read, then only read
}

// newRecovery reads which files there are, and what each of them holds already.
func (d *Disk) newRecovery() (*recovery, error) {
	if err := d.removeParts(); err != nil {
		return nil, err
	}
	names, err := d.List()
	if err != nil {
		return nil, err
	}
	r := &recovery{disk: d, byFile: make(map[uint64]*diskStore)}
	var readers errgroup.Group
	readers.SetLimit(8)
	for _, name := range names {
		readers.Go(func() error {
			r.add(name)
			return nil
		})
	}
	return r, readers.Wait()
}

// add finds out what the file under name holds.
func (r *recovery) add(name string) {
	state, err := peekState(r.disk.path(name))
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case errors.Is(err, ErrCorrupt), errors.Is(err, fs.ErrNotExist):
		return // who opens it will hear of it
	case err != nil:
		r.disk.blocked[name] = &blocked{err: err}
		return
	}
	if twin := r.byFile[state.file]; twin != nil {
		r.block(twin, fmt.Errorf("%w: %s is a copy of it", ErrCorrupt, name))
		r.block(&diskStore{name: name, state: state}, fmt.Errorf("%w: %s is a copy of it", ErrCorrupt, twin.name))
		return
	}
	s := r.disk.newStore(name)
	s.state = state
	r.byFile[state.file] = s
}

// block lets nobody open s.
func (r *recovery) block(s *diskStore, err error) {
	r.disk.blocked[s.name] = &blocked{err: err, from: s.state.covered}
}

// take puts an entry's records into the table of the store that it is of, if that
// is still there and has not got them in its file.
func (r *recovery) take(file uint64, at position, payload []byte) {
	s := r.byFile[file]
	if s == nil || at < s.state.covered {
		return
	}
	writes, err := ParseWrites(payload)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil { // its checksum says that this is what was written
		s.failed = fmt.Errorf("%w: entry %v of the commit log: %w", ErrCorrupt, at, err)
		return
	}
	for i := range writes {
		s.active.restore(writes[i].Key, &writes[i].Record, at)
		s.maxTime = max(s.maxTime, writes[i].Record.Stamp.Time)
	}
}

// finish keeps the stores that have got records back and blocks those that have
// not got all.
func (r *recovery) finish(damages []damage) {
	d := r.disk
	for file, s := range r.byFile {
		d.newest = max(d.newest, s.maxTime, s.state.maxTime)
		err := s.failed
		for _, lost := range damages {
			if lost.file == file && lost.from >= s.state.covered || lost.file == 0 && lost.to > s.state.covered {
				err = fmt.Errorf("%w: commit log at %v", ErrCorrupt, lost.from)
			}
		}
		if err != nil {
			r.block(s, err)
		}
		if d.blocked[s.name] != nil {
			d.logger.Error("store lacks records that it acknowledged", "name", s.name, "err", d.blocked[s.name].err)
			continue
		}
		if s.active.first != 0 {
			s.since.Store(time.Now().UnixNano())
			s.pending.Store(s.active.bytes)
			d.tables.Add(s.active.bytes)
			d.stores[s.name] = s
		}
	}
}
