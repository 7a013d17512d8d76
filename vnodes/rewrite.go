package vnodes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"
)

// A checkpoint that touches much of a file copies it: a new one, with the old
// records and the new ones merged, written front to back, takes its name. That
// costs about what the disk needs for the bytes, while an update in place pays for
// each page on its own, leaves as much again as free pages, and pages half full.
// A file that holds more than twice its live data is copied for that alone.

const (
	// rewritePages is how many pages a file must have to be worth a look at what an
	// update would touch: below that it is copied.
	rewritePages = 64
	// rewriteShare is the part of a file's pages of which an update must touch one.
	rewriteShare = 4
	// rewriteWaste is how many times its live data a file may hold.
	rewriteWaste = 2
	// reapCount is from how many tombstones on a file is copied to be rid of them.
	reapCount = 1000
	// recordOverhead is what a record costs in a file besides key and value.
	recordOverhead = recordHeader + boltElement
	// sampleKeys is from how many places of a table it is judged how far its keys
	// lie apart in the file.
	sampleKeys = 64
)

// packed is about how long a file with these records is after it was copied.
func packed(d *Digest) int64 {
	return (d.Bytes + recordOverhead*d.Records) * 16 / boltFill
}

// fileUse is what is known of a store's file besides what that says itself.
type fileUse struct {
	size   int64
	copied int64  // size when it was last copied; 0 if that was before this start
	floor  uint64 // at that time
}

// wasteful reports whether a file with these records is worth copying for what
// would become free: old pages, and tombstones, if the floor has risen above them.
func (u *fileUse) wasteful(d *Digest, floor func() uint64) bool {
	if u.size > rewritePages*defaultPageSize() && u.size > rewriteWaste*d.Bytes && u.size > 3*max(packed(d), u.copied)/2 {
		return true
	}
	return d.Records-d.Live > max(d.Live/2, reapCount) && floor() > u.floor
}

// wasteful reports whether the store's file is.
func (s *diskStore) wasteful() bool {
	s.mu.RLock()
	known, id, use, d := s.loaded && !s.closed, s.id, s.use, s.state.digest
	s.mu.RUnlock()
	return known && use.wasteful(&d, func() uint64 { return s.disk.floor(id) })
}

// worthRewriting decides how w is written.
func (s *diskStore) worthRewriting(w *writing) (rewrite bool, err error) {
	if w.wasteful {
		return true, nil
	}
	if w.pages() < rewritePages {
		return true, nil
	}
	err = s.view(func(r *boltReader) error {
		touched, fresh, err := r.pages.estimate(w)
		rewrite = (touched+fresh)*rewriteShare > float64(packed(&w.state.digest)/defaultPageSize())+fresh
		return err
	})
	if errors.Is(err, ErrCorrupt) {
		return true, nil // the copy will say where
	}
	return rewrite, err
}

// pages is how many pages the file will have, at most.
func (w *writing) pages() int64 { return (packed(&w.state.digest) + w.t.bytes) / defaultPageSize() }

// estimate says in how many pages of the file the records of w lie, and how many
// pages those fill that it does not have yet, from a sample: two that are
// neighbours in the table share a page as far as less than one lies between.
func (p *boltPages) estimate(w *writing) (touched, fresh float64, err error) {
	n := len(w.order)
	perPage := max(int(float64(defaultPageSize())*float64(w.state.digest.Records)/float64(max(packed(&w.state.digest), 1))), 1)
	samples := min(sampleKeys, n-1)
	if samples <= 0 {
		return float64(n), 0, nil
	}
	apart, absent := 0, 0
	for i := range samples {
		at := i * (n - 1) / samples
		key, next := w.t.key(w.order[at]), w.t.key(w.order[at+1])
		between, there := 0, false
		err := p.walk(key, func(k, _ []byte) bool {
			there = there || bytes.Equal(k, key)
			if between == perPage || bytes.Compare(k, next) >= 0 {
				return false
			}
			between++
			return true
		})
		if err != nil {
			return 0, 0, err
		}
		apart += between
		if !there {
			absent++
		}
	}
	part := float64(n-1) / float64(samples)
	touched = 1 + part*float64(apart)/float64(perPage)
	fresh = float64(w.t.bytes) / float64(defaultPageSize()) * float64(absent) / float64(samples)
	return touched, fresh, nil
}

// rewrite writes a new file with the records of the old one and those of w, and
// puts it in its place.
func (s *diskStore) rewrite(w *writing) error {
	if err := s.file.pin(s); err != nil {
		return err
	}
	defer s.file.unpin()
	path := s.path()
	part := path + partSuffix
	state, err := s.copyTo(part, w)
	var f *boltFile
	if err == nil {
		f, err = mapBolt(part, false)
	}
	if err != nil {
		_ = s.disk.fsys.remove(part) // if that does not succeed the next start does it
		if isDiskFull(err) {
			err = &unmadeError{err} // also of a sync
		}
		return err
	}
	s.landing.Lock()
	if err := renameFile(s.disk.fsys, part, path); err != nil {
		s.landing.Unlock()
		// Which of the two files has the name is not known: nothing more is tried.
		return errors.Join(fmt.Errorf("put the new file in place: %v", err), f.close()) //nolint:errorlint // see above
	}
	old, err := s.file.replace(s, f)
	size := fileSize(path)
	s.landed(w, &state, fileUse{size: size, copied: size, floor: w.floor})
	s.landing.Unlock()
	if old != nil {
		err = errors.Join(err, old.close())
	}
	return err
}

// createStoreFile makes the file of an empty store, durably: it appears under its
// name only when it is whole.
func createStoreFile(fsys fileSystem, path string, id Identity, state *fileState) (*boltFile, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fs.ErrExist
	}
	if err := fsys.makeDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	part := path + partSuffix
	out, err := fsys.create(part, 0)
	if err != nil {
		return nil, err
	}
	w := newBoltWriter(out)
	w.begin(recordsBucket)
	err = errors.Join(w.finishStore(id, state, nil), out.Close())
	var f *boltFile
	if err == nil {
		f, err = mapBolt(part, false)
	}
	if err != nil {
		_ = fsys.remove(part) // if that does not succeed the next start does it
		return nil, err
	}
	if err := renameFile(fsys, part, path); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// copyTo writes the new file to path.
func (s *diskStore) copyTo(path string, w *writing) (state fileState, err error) {
	out, err := s.disk.fsys.create(path, 0)
	if err != nil {
		return state, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	c := recordCopy{w: newBoltWriter(out), from: w, order: w.order, state: w.state, unwanted: &s.unwanted}
	c.w.pace = s.pace
	if err := s.view(c.records); err != nil {
		return state, err
	}
	if err := c.w.finishStore(s.id, &c.state, &c.tree); err != nil {
		return state, err
	}
	return c.state, nil
}

// finishStore writes what a store's file says of itself, and ends it. An empty one
// has no tree.
func (w *boltWriter) finishStore(id Identity, state *fileState, tree *Tree) error {
	b, err := json.Marshal(id)
	if err != nil {
		return err
	}
	w.begin(metaBucket)
	w.put([]byte(identityKey), seal(identityKey, b))
	w.put([]byte(stateKey), seal(stateKey, state.encode()))
	if tree != nil {
		w.put([]byte(treeKey), seal(treeKey, tree.append(nil)))
	}
	return w.finishFile()
}

// recordCopy merges the records of a file with those of a table.
type recordCopy struct {
	w     *boltWriter
	from  *writing
	order []uint32  // what of the table is to come
	state fileState // of the new file
	tree  Tree      // of the new file
	err   error
	y     yielder

	unwanted *atomic.Bool // the store is being dropped
}

func (c *recordCopy) records(r *boltReader) error {
	if err := readTree(r.tx, &c.tree); err != nil {
		return err
	}
	c.w.begin(recordsBucket)
	if err := r.pages.walk(nil, c.old); err != nil {
		return err
	}
	for c.err == nil && len(c.order) > 0 {
		c.newer(nil, nil)
	}
	return errors.Join(c.err, c.w.err)
}

// old takes a record of the old file; false if the copy has failed.
func (c *recordCopy) old(key, stored []byte) bool {
	if c.y.yield(); c.unwanted.Load() {
		c.err = ErrClosed
		return false
	}
	for len(c.order) > 0 {
		n := bytes.Compare(c.from.t.key(c.order[0]), key)
		if n < 0 {
			c.newer(nil, nil)
			continue
		}
		if n == 0 {
			c.newer(key, stored)
			return c.err == nil && c.w.err == nil
		}
		break
	}
	r, err := parseRecord(key, stored)
	if c.err = err; err != nil {
		return false
	}
	if c.reaps(&r) {
		c.count().remove(key, recordDigest(key, &r))
		return true
	}
	c.w.put(key, stored)
	return c.w.err == nil
}

// newer takes the next record of the table, in place of what is stored under its
// key in the old file if that is given.
func (c *recordCopy) newer(key, old []byte) {
	number := c.order[0]
	c.order = c.order[1:]
	if key != nil {
		r, err := parseRecord(key, old)
		if c.err = err; err != nil {
			return
		}
		c.count().remove(key, recordDigest(key, &r))
	} else {
		key = c.from.t.key(number)
	}
	stored := c.from.t.version(c.from.t.keys[number].newest).stored
	if r := recordOf(stored); !c.reaps(&r) {
		c.count().add(key, digestOf(key, stored))
		c.w.put(key, stored)
	}
	c.y.yield()
}

func (c *recordCopy) count() tally { return tally{&c.state.digest, &c.tree} }

// reaps reports whether r is a tombstone that is not needed any more.
func (c *recordCopy) reaps(r *Record) bool { return r.Deleted() && r.Stamp.Time < c.from.floor }

// paceBytes is how many bytes of a new file are written in a second by a checkpoint
// that nobody waits for: the disk is the log's.
const paceBytes = 64 << 20

// pace takes the time that writing n bytes should take.
func (s *diskStore) pace(n int) {
	if s.awaited.Load() > 0 || s.disk.hurried() {
		return
	}
	s.disk.rests(time.Second * time.Duration(n) / paceBytes)
}

// yielder lets others run now and then in a long loop: a checkpoint has time, and
// the log's writer, which shares its processor, has not.
type yielder int

func (y *yielder) yield() {
	if *y++; *y%256 == 0 {
		runtime.Gosched()
	}
}
