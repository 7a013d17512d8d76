package vnodes

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"
)

const (
	// defaultPendingLimit is how many bytes may wait for a commit before Append blocks.
	defaultPendingLimit = 64 << 20
	// entryOverhead is about what an entry costs besides its keys and values.
	entryOverhead = 256
)

// boltStore is a Store in one bbolt file. Appended records wait in memory for the
// committer, a goroutine that runs only while there is something to commit: it
// takes everything that waits, writes it in one transaction, and tells the
// callers; what arrives meanwhile is the next transaction.
//
//	Append → pending → committing → file
type boltStore struct {
	id    Identity
	dir   string // the storage's
	file  *boltFile
	log   *slog.Logger
	limit int64

	durable atomic.Int64 // bbolt's id of the newest transaction that is known to be durable
	buf     []byte       // the committer's: the values of one transaction

	mu         sync.Mutex // held for map operations, never over I/O
	room       sync.Cond  // told when bytes has gone down, or nothing will be entered any more
	name       string
	pending    map[string]*entry // the newest records that no transaction has taken yet
	committing map[string]*entry // those of the transaction under way; of the failed one after a failure
	committer  int64             // bbolt's id of that transaction
	queue      []appended        // of pending, in append order
	bytes      int64             // in pending and committing
	digest     Digest            // with everything appended
	maxTime    uint64
	failed     error // of the first commit that failed; none is tried after it
	running    bool  // the committer runs
	closed     bool
	wg         sync.WaitGroup // the committer
}

// entry is a record on its way to the file. It never changes once it is in
// committing.
type entry struct {
	key  []byte
	rec  Record
	hash uint64
	// What the file holds under key when this entry's transaction begins: what a
	// reader may see until it is durable.
	old     Record
	oldHash uint64
	had     bool
}

func (e *entry) size() int64 {
	return entryOverhead + int64(2*len(e.key)+len(e.rec.Value)+len(e.old.Value))
}

// appended is one call of Append: its writes are in pending, or refused with err.
type appended struct {
	done func(error)
	err  error
}

// load reads the state that lies with the records; it comes before any other use.
func (s *boltStore) load() error {
	return s.file.view(func(tx *bbolt.Tx) error {
		s.durable.Store(int64(tx.ID()))
		var err error
		s.digest, s.maxTime, err = readState(tx)
		return err
	})
}

func (s *boltStore) Append(writes []Write, done func(error)) {
	entries, err := s.prepare(writes)
	s.mu.Lock()
	for s.bytes > s.limit && s.failed == nil && !s.closed {
		s.room.Wait()
	}
	switch {
	case s.closed && !s.running:
		s.mu.Unlock()
		done(ErrClosed)
		return
	case s.closed:
		err = ErrClosed
	case s.failed != nil:
		err = s.failed
	}
	if err == nil {
		for i := range entries {
			s.enter(&entries[i])
		}
	}
	s.enqueue(appended{done, err})
	s.mu.Unlock()
}

// prepare makes entries of writes, with what they replace.
func (s *boltStore) prepare(writes []Write) ([]entry, error) {
	if err := checkWrites(writes); err != nil {
		return nil, err
	}
	entries := make([]entry, len(writes))
	for i := range writes {
		e := &entries[i]
		e.key, e.rec = writes[i].Key, writes[i].Record
		e.hash = RecordHash(e.key, &e.rec)
		var err error
		if e.old, e.had, err = s.Latest(e.key); err != nil {
			return nil, err
		}
		if e.had {
			e.oldHash = RecordHash(e.key, &e.old)
		}
	}
	return entries, nil
}

// enter puts e into pending. The caller holds mu.
func (s *boltStore) enter(e *entry) {
	replaced, replacedHash, had := &e.old, e.oldHash, e.had
	if p := s.pending[string(e.key)]; p != nil {
		replaced, replacedHash, had = &p.rec, p.hash, true
		s.bytes -= p.size()
		e.old, e.oldHash, e.had = p.old, p.oldHash, p.had
	}
	if had {
		s.digest.remove(e.key, replaced, replacedHash)
	}
	s.digest.add(e.key, &e.rec, e.hash)
	s.maxTime = max(s.maxTime, e.rec.Stamp.Time)
	s.bytes += e.size()
	s.pending[string(e.key)] = e
}

// enqueue hands a to the committer. The caller holds mu, and the store is not
// closed or the committer still runs.
func (s *boltStore) enqueue(a appended) {
	s.queue = append(s.queue, a)
	if !s.running {
		s.running = true
		s.wg.Go(s.commitAll)
	}
}

// commitAll is the committer: it ends when nothing waits.
func (s *boltStore) commitAll() {
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.running = false
			s.mu.Unlock()
			return
		}
		queue, digest, maxTime := s.queue, s.digest, s.maxTime
		s.queue = nil
		err := s.failed
		if err == nil {
			s.committing, s.pending = s.pending, make(map[string]*entry)
		}
		taken := s.committing
		s.mu.Unlock()

		if err == nil && len(taken) > 0 {
			err = s.nameError("commit to", s.commit(taken, digest, maxTime))
			s.settle(err)
		}
		for _, a := range queue {
			if a.err != nil {
				a.done(a.err)
			} else {
				a.done(err)
			}
		}
	}
}

// commit writes entries and the state that they lead to in one transaction.
func (s *boltStore) commit(entries map[string]*entry, digest Digest, maxTime uint64) error {
	sorted := make([]*entry, 0, len(entries))
	size := 0
	for _, e := range entries {
		sorted = append(sorted, e)
		size += recordHeader + len(e.rec.Value)
	}
	slices.SortFunc(sorted, func(a, b *entry) int { return bytes.Compare(a.key, b.key) })
	const kept = 1 << 20 // a larger buffer is not worth keeping
	buf := slices.Grow(s.buf[:0], size)
	if cap(buf) <= kept {
		s.buf = buf
	}
	return s.file.update(func(tx *bbolt.Tx) error {
		s.mu.Lock()
		s.committer = int64(tx.ID())
		s.mu.Unlock()
		records, err := fileBucket(tx, recordsBucket)
		if err != nil {
			return err
		}
		for _, e := range sorted {
			start := len(buf)
			buf = appendRecord(buf, e.key, &e.rec)
			if err := putKey(records, e.key, buf[start:len(buf):len(buf)]); err != nil {
				return err
			}
		}
		return writeState(tx, digest, maxTime)
	})
}

// settle ends the transaction under way with err. After a failure readers go on
// seeing what was durable before, because committing stays.
func (s *boltStore) settle(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed = err
		s.log.Error("store failed and takes no more writes", "partition", s.id.Partition, "err", err)
	} else {
		s.durable.Store(s.committer)
		for _, e := range s.committing {
			s.bytes -= e.size()
		}
		s.committing = nil
	}
	s.room.Broadcast()
}

func (s *boltStore) Digest() Digest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.digest
}

func (s *boltStore) MaxTime() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.maxTime
}

func (s *boltStore) Sync() error {
	s.mu.Lock()
	if s.closed || !s.running {
		defer s.mu.Unlock()
		if s.closed {
			return ErrClosed
		}
		return s.failed
	}
	synced := make(chan error, 1)
	s.enqueue(appended{done: func(err error) { synced <- err }})
	s.mu.Unlock()
	return <-synced
}

func (s *boltStore) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.closed = true
	s.room.Broadcast()
	s.mu.Unlock()
	s.wg.Wait()
	return errors.Join(s.failed, s.nameError("close", s.file.close()))
}

// rename moves the file to path, which name stands for in the storage.
func (s *boltStore) rename(name, path string) error {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	if err := makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := renameFile(s.path(), path); err != nil {
		return err
	}
	s.mu.Lock()
	s.name = name
	s.mu.Unlock()
	return nil
}

func (s *boltStore) Drop() error {
	err := s.Close()
	if errors.Is(err, ErrClosed) {
		return err
	}
	// What closing has to say of the records no longer matters.
	return s.nameError("remove", removeFile(s.path()))
}

// The buckets of a store's file, and the keys in its meta bucket.
const (
	recordsBucket = "records"
	metaBucket    = "meta"
	identityKey   = "identity" // sealed JSON Identity
	stateKey      = "state"    // sealed: records, live, bytes, sum, highest time, u64 each
)

func fileBucket(tx *bbolt.Tx, name string) (*bbolt.Bucket, error) {
	if b := tx.Bucket([]byte(name)); b != nil {
		return b, nil
	}
	return nil, corruptBolt("no bucket %q", name)
}

func writeState(tx *bbolt.Tx, d Digest, maxTime uint64) error {
	meta, err := fileBucket(tx, metaBucket)
	if err != nil {
		return err
	}
	var b []byte
	for _, v := range [...]uint64{uint64(d.Records), uint64(d.Live), uint64(d.Bytes), d.Sum, maxTime} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return meta.Put([]byte(stateKey), seal(stateKey, b))
}

func readState(tx *bbolt.Tx) (d Digest, maxTime uint64, err error) {
	meta, err := fileBucket(tx, metaBucket)
	if err != nil {
		return Digest{}, 0, err
	}
	b, err := unseal(stateKey, meta.Get([]byte(stateKey)))
	if err != nil {
		return Digest{}, 0, err
	}
	if len(b) != 5*8 {
		return Digest{}, 0, corruptBolt("state of %d bytes", len(b))
	}
	u := func(i int) uint64 { return binary.BigEndian.Uint64(b[8*i:]) }
	return Digest{Records: int64(u(0)), Live: int64(u(1)), Bytes: int64(u(2)), Sum: u(3)}, u(4), nil
}
