package vnodes

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// fillTogether is how many Appends are made durable with one sync, if they come
	// within fillWait: half of what a source sends ahead.
	fillTogether = pipeWindow / 2
	fillWait     = 20 * time.Millisecond
)

// filler is the store of a transfer's records while they come in the order of their
// keys, as a source folds them: a bbolt file that is written front to back. They pass
// neither the log, where other stores' writes would wait behind them, nor a table, and
// no checkpoint follows.
//
//	Append, keys rising → pages → fdatasync → done
//	Append of nothing, or of another key; or whoever asks for more → the file is whole, a diskStore goes on
//
// Until then the file has the name of one that is being made, and Refill reads what a
// crash has left of it. Nothing of this has to be right for a transfer to be: its end
// compares all records.
type filler struct {
	disk *Disk
	id   Identity
	name string

	kick chan struct{} // one slot: the syncer need not wait for more

	mu      sync.Mutex // held over writes, but over no sync except the last
	idle    sync.Cond  // on mu: syncing has become false
	out     logFile
	w       *boltWriter
	last    []byte // the last key
	digest  Digest
	tree    Tree
	maxTime uint64
	waiting []func(error) // Appends that are not synced
	syncing bool          // the syncer runs
	whole   Store         // takes the place of all that
	failed  error         // why nothing more is taken
}

// Fill makes an empty store for records that come in the order of their keys, for the
// most part. It is on the disk when the first of them is.
func (d *Disk) Fill(id Identity, name string) (Store, error) {
	f, err := d.newFiller(id, name)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	return f, nil
}

func (d *Disk) newFiller(id Identity, name string) (*filler, error) {
	if err := errors.Join(checkName(name), d.log.err()); err != nil {
		return nil, err
	}
	path := d.path(name)
	if _, err := os.Lstat(path); err == nil {
		return nil, fs.ErrExist
	}
	dir := filepath.Dir(path)
	if err := d.fsys.makeDir(dir); err != nil {
		return nil, err
	}
	out, err := d.fsys.create(path+partSuffix, 0)
	if err != nil {
		return nil, err
	}
	if err := d.fsys.syncDir(dir); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return fillerOf(d, id, name, out), nil
}

func fillerOf(d *Disk, id Identity, name string, out logFile) *filler {
	f := &filler{disk: d, id: id, name: name, out: out, w: newBoltWriter(out), kick: make(chan struct{}, 1)}
	f.idle.L = &f.mu
	f.w.begin(recordsBucket)
	return f
}

// count takes w into what the file says of its records.
func (f *filler) count(w *Write) {
	tally{&f.digest, &f.tree}.add(w.Key, recordDigest(w.Key, &w.Record))
	f.maxTime = max(f.maxTime, w.Record.Stamp.Time)
	f.last = append(f.last[:0], w.Key...)
}

// Append implements Store.
func (f *filler) Append(writes []Write, done func(error)) {
	f.mu.Lock()
	if f.whole == nil && f.failed == nil && len(writes) > 0 && f.rising(writes) {
		f.put(writes)
		f.waiting = append(f.waiting, done)
		if len(f.waiting) >= fillTogether {
			nudge(f.kick)
		}
		if !f.syncing {
			f.syncing = true
			go f.sync() // settle waits for it
		}
		f.mu.Unlock()
		return
	}
	st, err := f.finishLocked()
	f.mu.Unlock()
	if err != nil || len(writes) == 0 {
		done(err)
		return
	}
	st.Append(writes, done)
}

// rising reports whether the keys of writes, which a Store can hold, go on in order.
func (f *filler) rising(writes []Write) bool {
	last := f.last
	for i := range writes {
		if bytes.Compare(writes[i].Key, last) <= 0 {
			return false
		}
		last = writes[i].Key
	}
	return checkWrites(writes) == nil
}

func (f *filler) put(writes []Write) {
	var stored []byte
	for i := range writes {
		w := &writes[i]
		stored = appendRecord(stored[:0], w.Key, &w.Record)
		f.w.put(w.Key, stored)
		f.count(w)
	}
}

// sync is the syncer: it makes durable what was appended, until nobody waits.
func (f *filler) sync() {
	patience := time.NewTimer(fillWait)
	defer patience.Stop()
	for {
		select {
		case <-f.kick:
		case <-patience.C:
		}
		patience.Reset(fillWait)
		f.mu.Lock()
		waiting := f.waiting
		f.waiting = nil
		if len(waiting) == 0 {
			f.syncing = false
			f.idle.Broadcast()
			f.mu.Unlock()
			return
		}
		err := f.failed
		if err == nil {
			err = f.w.flushLeaves()
		}
		f.mu.Unlock()
		if err == nil {
			err = f.out.sync()
		}
		if err != nil {
			f.fail(err)
		}
		for _, done := range waiting {
			done(err)
		}
	}
}

func (f *filler) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == nil {
		f.failed = f.nameError(err)
	}
}

func (f *filler) nameError(err error) error { return fmt.Errorf("fill %s: %w", f.name, err) }

// wholeStore is st, or what goes on for it if it is a filler.
func wholeStore(st Store) (Store, error) {
	if f, ok := st.(*filler); ok {
		return f.finish()
	}
	return st, nil
}

// finish makes the file whole and returns the store that goes on.
func (f *filler) finish() (Store, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.finishLocked()
}

func (f *filler) finishLocked() (Store, error) {
	waiting := f.waiting // the last sync is theirs too
	f.waiting = nil
	f.settle()
	if f.whole == nil && f.failed == nil {
		st, err := f.makeWhole()
		if err != nil {
			f.failed = f.nameError(err)
		} else {
			f.whole = st
		}
	}
	for _, done := range waiting {
		done(f.failed)
	}
	return f.whole, f.failed
}

// settle waits until the syncer has ended. The caller holds mu.
func (f *filler) settle() {
	for f.syncing {
		nudge(f.kick)
		f.idle.Wait()
	}
}

func (f *filler) makeWhole() (Store, error) {
	d := f.disk
	s := d.newStore(f.name)
	s.id, s.open, s.loaded, s.maxTime = f.id, true, true, f.maxTime
	// No entry of the log is of this file yet.
	s.state = fileState{digest: f.digest, maxTime: f.maxTime, file: newFileID(), covered: d.log.durableEnd(), log: d.log.id}
	part := d.path(f.name) + partSuffix
	if err := errors.Join(f.w.finishStore(f.id, &s.state, &f.tree), f.out.Close()); err != nil {
		return nil, err
	}
	b, err := mapBolt(part, false)
	if err != nil {
		return nil, err
	}
	if err := renameFile(d.fsys, part, d.path(f.name)); err != nil {
		return nil, errors.Join(err, b.close())
	}
	s.use.size = fileSize(d.path(f.name))
	s.use.copied = s.use.size
	s.file.put(s, b)
	if !d.adopt(s) {
		return nil, errors.Join(ErrClosed, s.file.close(s))
	}
	return s, nil
}

// Sync implements Store. What was appended in order is durable when its sync has ended.
func (f *filler) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle()
	if f.whole != nil && f.failed == nil {
		return f.whole.Sync()
	}
	return f.failed
}

// Digest implements Store.
func (f *filler) Digest() Digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.whole != nil {
		return f.whole.Digest()
	}
	return f.digest
}

// MaxTime implements Store.
func (f *filler) MaxTime() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.whole != nil {
		return f.whole.MaxTime()
	}
	return f.maxTime
}

// Close implements Store. A file that is not whole stays for Refill.
func (f *filler) Close() error {
	whole, err := f.end()
	if whole != nil {
		return whole.Close()
	}
	return err
}

// Drop implements Store.
func (f *filler) Drop() error {
	whole, err := f.end()
	if whole != nil {
		return whole.Drop()
	}
	return errors.Join(err, removeFile(f.disk.fsys, f.disk.path(f.name)+partSuffix))
}

// end lets nothing more be appended, and gives up the file if it is not whole.
func (f *filler) end() (whole Store, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle()
	if f.whole == nil && !errors.Is(f.failed, ErrClosed) {
		err = f.out.Close()
	}
	f.failed = ErrClosed
	return f.whole, err
}

// The rest of Store is for a file that is whole.

// Latest implements Store.
func (f *filler) Latest(key []byte) (Record, bool, error) {
	st, err := f.finish()
	if err != nil {
		return Record{}, false, err
	}
	return st.Latest(key)
}

// Get implements Store.
func (f *filler) Get(key []byte) (Record, bool, error) {
	st, err := f.finish()
	if err != nil {
		return Record{}, false, err
	}
	return st.Get(key)
}

// Ascend implements Store.
func (f *filler) Ascend(from []byte, fn func(key []byte, r Record) bool) error {
	st, err := f.finish()
	if err != nil {
		return err
	}
	return st.Ascend(from, fn)
}

// Tree implements Store.
func (f *filler) Tree() (Tree, error) {
	st, err := f.finish()
	if err != nil {
		return Tree{}, err
	}
	return st.Tree()
}

// ID implements Store.
func (f *filler) ID() uint64 {
	st, err := f.finish()
	if err != nil {
		return 0
	}
	return st.ID()
}
