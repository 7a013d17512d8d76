package vnodes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/bbolt"
)

// Journal is what a node's vnodes must know after a restart besides records: the
// clock's ceiling, the sessions of transfers, and the names of the files that
// must exist, so that a lost one is noticed. Reads come from memory and see only
// what is durable; changes return when they are durable, those made at the same
// time with one sync. A change that finds no room on the disk fails alone, any
// other failed one lets all further ones fail. All methods may be called from any
// goroutine.
type Journal struct {
	file *boltFile // nil: in memory

	mu      sync.Mutex        // held for map operations, never over I/O
	values  map[string][]byte // what is durable
	queue   []journalChange
	running bool // the committer runs; it ends when nothing waits
	closed  bool
	failed  error
	broken  chan struct{}  // closed when failed is set
	life    uint64         // of the clock; under mu
	wg      sync.WaitGroup // the committer
}

// journalRoom is what a journal has on the disk from the start, so that a full disk
// does not stop the clock, nor a transfer that would make room.
const journalRoom = 256 << 10

// The journal is one bucket of sealed values; their keys begin with what they are.
const (
	journalBucket = "journal"
	ceilingKey    = "ceiling"  // u64; with /1 and so on: see journal_ceiling.go
	sessionPrefix = "session/" // + session: JSON SessionNote
	filePrefix    = "file/"    // + name: empty
)

// journalChange sets key to value, or deletes it if value is nil.
type journalChange struct {
	key   string
	value []byte
	done  chan<- error
}

// OpenJournal opens the journal at path, or makes an empty one if there is none.
// A journal missing beside files of vnodes is ErrCorrupt: without it nobody
// knows which of them are whole, nor which times were issued.
func OpenJournal(path string) (*Journal, error) {
	f, err := openBolt(path)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = createJournal(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := reserveFile(path, journalRoom); err != nil && !isDiskFull(err) {
		return nil, fmt.Errorf("open journal: %w", errors.Join(err, f.close()))
	}
	j := MemoryJournal()
	j.file = f
	if err := f.view(func(r *boltReader) error { return j.load(r.tx) }); err != nil {
		return nil, fmt.Errorf("open journal: %w", errors.Join(err, f.close()))
	}
	return j, nil
}

// MemoryJournal is a journal that nothing outlives: the one for MemoryStorage.
func MemoryJournal() *Journal {
	return &Journal{values: make(map[string][]byte), broken: make(chan struct{})}
}

func createJournal(path string) (*boltFile, error) {
	orphans, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*", "*.bolt"))
	if err != nil {
		return nil, err
	}
	if len(orphans) > 0 {
		return nil, fmt.Errorf("%s is missing and %s is there: %w", filepath.Base(path), filepath.Base(orphans[0]), ErrCorrupt)
	}
	return createBolt(osFiles{}, path, func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte(journalBucket))
		return err
	})
}

// load reads everything into memory.
func (j *Journal) load(tx *bbolt.Tx) error {
	b, err := fileBucket(tx, journalBucket)
	if err != nil {
		return err
	}
	return b.ForEach(func(k, v []byte) error {
		key := string(k)
		value, err := unseal(key, v)
		if err != nil {
			return err
		}
		if err := j.loadCeiling(key, value); err != nil {
			return err
		}
		j.values[key] = bytes.Clone(value)
		return nil
	})
}

// PutSession writes n down, in place of an earlier note of its session.
func (j *Journal) PutSession(n SessionNote) error {
	b, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("note of session %s: %w", n.Session.ID, err)
	}
	return j.change(sessionPrefix+n.Session.ID, b)
}

// Session is the note of the session id, false if there is none.
func (j *Journal) Session(id string) (SessionNote, bool, error) {
	j.mu.Lock()
	b, ok := j.values[sessionPrefix+id]
	j.mu.Unlock()
	if !ok {
		return SessionNote{}, false, nil
	}
	n, err := parseNote(id, b)
	return n, err == nil, err
}

// Sessions is all notes, sorted by session id.
func (j *Journal) Sessions() ([]SessionNote, error) {
	var notes []SessionNote
	for _, id := range j.list(sessionPrefix) {
		n, ok, err := j.Session(id)
		if err != nil {
			return nil, err
		}
		if ok { // not deleted meanwhile
			notes = append(notes, n)
		}
	}
	return notes, nil
}

func parseNote(id string, b []byte) (SessionNote, error) {
	var n SessionNote
	if err := json.Unmarshal(b, &n); err != nil {
		return n, fmt.Errorf("note of session %s: %w: %w", id, ErrCorrupt, err)
	}
	return n, nil
}

// DeleteSession forgets the session id; it is no error if there is no note of it.
func (j *Journal) DeleteSession(id string) error { return j.change(sessionPrefix+id, nil) }

// MarkFile notes that the live file name must exist from now on.
func (j *Journal) MarkFile(name string) error { return j.change(filePrefix+name, []byte{}) }

// UnmarkFile notes that the file need not exist any more.
func (j *Journal) UnmarkFile(name string) error { return j.change(filePrefix+name, nil) }

// HasFile reports whether the file must exist.
func (j *Journal) HasFile(name string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, ok := j.values[filePrefix+name]
	return ok
}

// Files is the names of the files that must exist, sorted.
func (j *Journal) Files() []string { return j.list(filePrefix) }

// list is what follows prefix in the keys that begin with it, sorted.
func (j *Journal) list(prefix string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var names []string
	for key := range j.values {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Failed is closed when no change is made durable any more, until the process
// starts anew; Err says why.
func (j *Journal) Failed() <-chan struct{} { return j.broken }

// Err is why all changes fail, nil if they do not.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed
}

// Close waits for changes under way and gives up the file.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return ErrClosed
	}
	j.closed = true
	j.mu.Unlock()
	j.wg.Wait()
	if j.file == nil {
		return nil
	}
	return j.file.close()
}
