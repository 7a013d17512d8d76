package vnodes

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// diskStore is a Store of a Disk: a file, written by checkpoints, and in memory
// what the log holds beyond it. What is newest counts:
//
//	active table → frozen table, while it is being written → file
//
// A reader sees a record of a table only when its entry is durable.
type diskStore struct {
	disk *Disk
	file storeFile

	payload []byte // the worker's: for use again

	checkpointing sync.Mutex   // held by the one checkpoint that runs
	landing       sync.RWMutex // held while the file and the tables change together, read-held to count a digest
	awaited       atomic.Int32 // those who wait for checkpointing
	unwanted      atomic.Bool  // the store is being dropped: a checkpoint is in vain
	pending       atomic.Int64 // bytes of active: for choosing what to write next
	since         atomic.Int64 // when active got its first record, in ns; 0 if it is empty
	notBefore     atomic.Int64 // when the next checkpoint may be tried, in ns

	mu      sync.RWMutex // held for memory operations, also of the log, never over I/O
	id      Identity
	name    string
	open    bool // its user has it
	loaded  bool // id and state are known
	state   fileState
	active  *table
	frozen  *table
	use     fileUse
	turns   uint64 // changes of the tables' places: a fold or count that meets one begins anew
	maxTime uint64 // with everything appended
	failed  error  // why no more is taken
	closed  bool
}

func (s *diskStore) Append(writes []Write, done func(error)) {
	log := s.disk.log
	payload, err := s.prepare(writes)
	if err != nil || len(writes) == 0 {
		log.after(err, done)
		return
	}
	sum := payloadSum(payload)
	for {
		err := s.enter(writes, payload, sum, done)
		if err == errNoSegment { //nolint:errorlint // it is never wrapped
			if err = log.awaitSegment(len(payload)); err == nil {
				continue
			}
		}
		if err != nil {
			log.after(err, done)
		}
		return
	}
}

// prepare waits until there is room for writes and encodes them for the log.
func (s *diskStore) prepare(writes []Write) ([]byte, error) {
	if err := checkWrites(writes); err != nil {
		return nil, err
	}
	if len(writes) == 0 {
		return nil, s.usable()
	}
	if err := s.disk.awaitRoom(); err != nil {
		return nil, err
	}
	payload := AppendWrites(s.payload[:0], writes)
	if cap(payload) <= keptBuffer {
		s.payload = payload
	}
	if len(payload) > maxPayload {
		return nil, wire.Errorf(wire.TooLarge, "writes of %d bytes at once", len(payload))
	}
	return payload, nil
}

// enter appends writes to the log and puts them into the active table, in one step.
func (s *diskStore) enter(writes []Write, payload []byte, sum uint32, done func(error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(); err != nil {
		return err
	}
	at, err := s.disk.log.append(s.state.file, payload, sum, done)
	if err != nil {
		return err
	}
	before, durable := s.active.bytes, s.disk.log.durableEnd()
	for i := range writes {
		s.active.set(writes[i].Key, &writes[i].Record, at, durable)
		s.maxTime = max(s.maxTime, writes[i].Record.Stamp.Time)
	}
	s.grown(before)
	return nil
}

// grown counts what the active table has grown by since it had before bytes. The
// caller holds mu.
func (s *diskStore) grown(before int64) {
	if s.since.Load() == 0 {
		s.since.Store(time.Now().UnixNano())
	}
	s.pending.Store(s.active.bytes)
	s.disk.grown(s, s.active.bytes-before)
}

// usable says why the store takes nothing more.
func (s *diskStore) usable() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.usableLocked()
}

func (s *diskStore) usableLocked() error {
	if s.closed {
		return ErrClosed
	}
	return s.failed
}

func (s *diskStore) ID() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state.file
}

func (s *diskStore) MaxTime() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.maxTime
}

func (s *diskStore) Sync() error {
	if err := s.usable(); err != nil {
		return err
	}
	return s.disk.log.flush()
}

// Close also writes what the file does not hold yet. If that does not succeed the
// records stay in the log, for the next time that the store is opened.
func (s *diskStore) Close() error {
	if err := s.end(); err != nil {
		return err
	}
	err := s.disk.log.flush()
	if err == nil {
		s.awaited.Add(1)
		err = s.checkpoint()
		s.awaited.Add(-1)
	}
	return errors.Join(err, s.file.close(s), s.disk.release(s))
}

// end lets nothing more be appended.
func (s *diskStore) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.closed = true
	return nil
}

// Drop deletes the file first: the log's entries are nobody's from then on.
func (s *diskStore) Drop() error {
	if err := s.end(); err != nil {
		return err
	}
	// What the log has to say of the records no longer matters.
	_ = s.disk.log.flush()
	return s.discard()
}

// discard deletes the file of a store that has been ended.
func (s *diskStore) discard() error {
	s.unwanted.Store(true)
	s.lockCheckpoints()
	defer s.checkpointing.Unlock()
	err := errors.Join(s.file.close(s), removeFile(s.disk.fsys, s.path()))
	if err != nil {
		return s.nameError("remove", err)
	}
	s.disk.freed(s.forgetTables())
	s.disk.forget(s)
	return nil
}

// forgetTables gives up what is in memory and returns how many bytes count less.
func (s *diskStore) forgetTables() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	freed := s.countedLocked()
	if s.frozen != nil {
		s.frozen.free()
	}
	s.active.free()
	s.frozen = nil
	s.pending.Store(0)
	s.since.Store(0)
	return freed
}

// countedLocked is what the tables count for the disk's limit: nothing after a
// failure, because they will not shrink any more. The caller holds mu.
func (s *diskStore) countedLocked() int64 {
	if s.failed != nil {
		return 0
	}
	n := s.active.bytes
	if s.frozen != nil {
		n += s.frozen.bytes
	}
	return n
}

// hopeless reports whether no checkpoint will succeed any more.
func (s *diskStore) hopeless() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.failed != nil
}

// lockCheckpoints waits for a checkpoint that runs, which makes haste, and lets no
// other begin.
func (s *diskStore) lockCheckpoints() {
	s.awaited.Add(1)
	defer s.awaited.Add(-1)
	s.checkpointing.Lock()
}

// needs is the position of the oldest entry that is not in the file; false if all are.
func (s *diskStore) needs() (position, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.frozen != nil:
		return s.frozen.first, true
	case s.active.first != 0:
		return s.active.first, true
	}
	return 0, false
}

// path is where the file lies now.
func (s *diskStore) path() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return filepath.Join(s.disk.dir, filepath.FromSlash(s.name))
}

// nameError says which store err is about.
func (s *diskStore) nameError(doing string, err error) error {
	if err == nil || err == ErrClosed { //nolint:errorlint // ErrClosed alone needs no name
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return fmt.Errorf("%s %s: %w", doing, s.name, err)
}
