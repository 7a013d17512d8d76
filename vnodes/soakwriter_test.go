//go:build unix

package vnodes

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

const (
	soakVerified = "verified" // the line that a writer prints when it has looked at everything
	soakSlots    = 8          // stores at a time
	soakKeys     = 600        // of one store: enough that files are copied
)

// What may have happened to a store when its writer died.
const (
	soakNone     = iota
	soakCreating // it is there, empty, or not
	soakLive
	soakDropping // it is there, whole, or not
)

// notebook is what is known of the stores, in memory shared with a file.
type notebook struct {
	slots   [soakSlots]soakSlot
	numbers atomic.Int64 // the last that was given to a store or a name
	// Counts, for the report. copied is how often a file was found to be another one.
	acked, verified, made, renamed, dropped, reopened, copied atomic.Int64
}

// soakSlot is one store after the other; the one goroutine that uses it writes it.
type soakSlot struct {
	phase   atomic.Int64
	session atomic.Int64 // its identity, and the seed of what is written to it
	name    atomic.Int64
	newName atomic.Int64 // while it is being renamed; 0 otherwise
	tried   atomic.Int64 // batches 1 to tried were appended
	acked   atomic.Int64 // batches 1 to acked are durable
}

func openNotebook(t *testing.T, path string) *notebook {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := int(unsafe.Sizeof(notebook{}))
	if err := f.Truncate(int64(size)); err != nil {
		t.Fatal(err)
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(mem) })
	return (*notebook)(unsafe.Pointer(&mem[0]))
}

// soakBatch is batch n of a store: the same whoever asks.
func soakBatch(session, n int64) []Write {
	draw := rand.New(rand.NewPCG(uint64(session), uint64(n)))
	batch := make([]Write, 1+draw.IntN(5))
	for i := range batch {
		key := fmt.Sprint("key", draw.IntN(soakKeys))
		size := draw.IntN(1200)
		switch draw.IntN(60) {
		case 0:
			size = 6 << 10 // more than a page of the file
		case 1:
			size = draw.IntN(100 << 10) // more than a segment, at times
		}
		value := append(fmt.Appendf(nil, "%d.%d.%d ", session, n, i), make([]byte, size)...)
		batch[i] = write(key, string(value), uint64(n))
		if draw.IntN(4) == 0 {
			batch[i].Record.Flags, batch[i].Record.Value = FlagTombstone, nil
		}
	}
	return batch
}

func soakName(number int64) string { return fmt.Sprintf("kv/s%d.bolt", number) }

func soakID(session int64) Identity {
	id := testID
	id.Session = fmt.Sprint(session)
	return id
}

// verify opens all stores and compares them with the notebook, which then says what
// there is: what was found once must stay.
func (b *notebook) verify(d *Disk) ([soakSlots]Store, error) {
	var found [soakSlots]Store
	names, err := d.List()
	if err != nil {
		return found, err
	}
	for _, name := range names {
		st, err := d.Open(testID, name)
		if err != nil {
			return found, err
		}
		i := b.slotOf(IdentityOf(st).Session)
		switch {
		case i < 0:
			return found, fmt.Errorf("%s, of store %s, was dropped, or never made", name, IdentityOf(st).Session)
		case found[i] != nil:
			return found, fmt.Errorf("store %d is there twice", b.slots[i].session.Load())
		}
		s := &b.slots[i]
		if name != soakName(s.name.Load()) {
			if s.newName.Load() == 0 || name != soakName(s.newName.Load()) {
				return found, fmt.Errorf("store %d is %s", s.session.Load(), name)
			}
			s.name.Store(s.newName.Load())
		}
		s.newName.Store(0)
		if err := s.compare(st); err != nil {
			return found, fmt.Errorf("%s: %w", name, err)
		}
		s.phase.Store(soakLive)
		found[i] = st
		b.verified.Add(1)
	}
	for i := range b.slots {
		if found[i] != nil {
			continue
		}
		if b.slots[i].phase.Load() == soakLive {
			return found, fmt.Errorf("%s, store %d, is gone", soakName(b.slots[i].name.Load()), b.slots[i].session.Load())
		}
		b.slots[i].phase.Store(soakNone)
	}
	return found, nil
}

// slotOf is the slot of the store with a session, -1 if it has none.
func (b *notebook) slotOf(session string) int {
	for i := range b.slots {
		if s := &b.slots[i]; s.phase.Load() != soakNone && session == fmt.Sprint(s.session.Load()) {
			return i
		}
	}
	return -1
}

// compare reports whether st holds what the first n batches lead to, for an n that
// includes all that was acknowledged: the newest record says which n.
func (s *soakSlot) compare(st Store) error {
	got := modelStore{}
	var n int64
	err := st.Ascend(nil, func(key []byte, r Record) bool {
		r.Value = slices.Clone(r.Value)
		got[string(key)] = r
		n = max(n, int64(r.Stamp.Time))
		return true
	})
	if err != nil {
		return err
	}
	if acked, tried := s.acked.Load(), s.tried.Load(); n < acked || n > tried {
		return fmt.Errorf("it holds batch %d: %d were appended, %d acknowledged", n, tried, acked)
	}
	model := modelStore{}
	for batch := int64(1); batch <= n; batch++ {
		for _, w := range soakBatch(s.session.Load(), batch) {
			model[string(w.Key)] = w.Record
		}
	}
	if len(got) != len(model) {
		return fmt.Errorf("%d records, not the %d that %d batches lead to", len(got), len(model), n)
	}
	for key, want := range model {
		have, ok := got[key]
		one, found, err := st.Get([]byte(key))
		switch {
		case err != nil:
			return err
		case !ok || !found || !equalRecords(have, want) || !equalRecords(one, want):
			return fmt.Errorf("after %d batches %s is %v %q, a get %v %q, not %v %q", n, key,
				have.Stamp.Time, firstBytes(have.Value), one.Stamp.Time, firstBytes(one.Value), want.Stamp.Time, firstBytes(want.Value))
		}
	}
	if err := model.miscounts(st); err != nil {
		return err
	}
	s.acked.Store(n)
	s.tried.Store(n)
	return nil
}

func firstBytes(b []byte) []byte { return b[:min(len(b), 20)] }

// soakWriter uses one slot.
type soakWriter struct {
	book   *notebook
	slot   *soakSlot
	disk   *Disk
	st     Store
	flying chan struct{} // one element for each batch under way
	file   os.FileInfo   // of the store, when it was last looked at
}

// run does things to one store after the other until stop is closed.
func (w *soakWriter) run(stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		var err error
		switch n := rand.IntN(2000); {
		case w.st == nil:
			err = w.create()
		case n < 2:
			err = w.drop()
		case n < 8:
			err = w.rename()
		case n < 14:
			err = w.reopen()
		case n < 20:
			err = w.disk.Checkpoint()
		case n < 120:
			err = w.look()
		default:
			w.append(n%4 == 0)
		}
		if err != nil {
			return err
		}
	}
}

// append appends the next batch; wait says whether to wait until it is durable.
func (w *soakWriter) append(wait bool) {
	n := w.slot.tried.Add(1)
	w.flying <- struct{}{}
	done := make(chan struct{})
	w.st.Append(soakBatch(w.slot.session.Load(), n), func(err error) {
		if err != nil {
			soakFailed(fmt.Errorf("batch %d: %w", n, err))
		}
		w.slot.acked.Store(n)
		w.book.acked.Add(1)
		<-w.flying
		close(done)
	})
	if wait {
		<-done
	}
}

// look counts a file that was replaced by a copy.
func (w *soakWriter) look() error {
	info, err := os.Stat(w.disk.path(soakName(w.slot.name.Load())))
	if err != nil {
		return err
	}
	if w.file != nil && !os.SameFile(w.file, info) {
		w.book.copied.Add(1)
	}
	w.file = info
	return nil
}

// settle waits until no batch is under way.
func (w *soakWriter) settle() {
	for range cap(w.flying) {
		w.flying <- struct{}{}
	}
	for range cap(w.flying) {
		<-w.flying
	}
}

// soakFailed ends the process: nothing may fail while the disk is whole.
func soakFailed(err error) {
	fmt.Fprintln(os.Stderr, "the writer failed:", err)
	os.Exit(1)
}

func (w *soakWriter) create() (err error) {
	number := w.book.numbers.Add(1)
	w.slot.session.Store(number)
	w.slot.name.Store(number)
	w.slot.newName.Store(0)
	w.slot.tried.Store(0)
	w.slot.acked.Store(0)
	w.slot.phase.Store(soakCreating)
	if w.st, err = w.disk.Create(soakID(number), soakName(number)); err != nil {
		return err
	}
	w.slot.phase.Store(soakLive)
	w.book.made.Add(1)
	return nil
}

func (w *soakWriter) drop() error {
	w.slot.phase.Store(soakDropping)
	if err := w.st.Drop(); err != nil {
		return err
	}
	w.settle() // what is noted from now on is another store's
	w.slot.phase.Store(soakNone)
	w.st, w.file = nil, nil
	w.book.dropped.Add(1)
	return nil
}

func (w *soakWriter) rename() error {
	number := w.book.numbers.Add(1)
	w.slot.newName.Store(number)
	if err := w.disk.Rename(w.st, soakName(number)); err != nil {
		return err
	}
	w.slot.name.Store(number)
	w.slot.newName.Store(0)
	w.book.renamed.Add(1)
	return nil
}

func (w *soakWriter) reopen() (err error) {
	if err := w.st.Close(); err != nil {
		return err
	}
	w.book.reopened.Add(1)
	w.st, err = w.disk.Open(testID, soakName(w.slot.name.Load()))
	return err
}

// TestSoakWriter is the process that TestSoakKill kills. Small limits let
// checkpoints, new segments and trims go on all the time.
func TestSoakWriter(t *testing.T) {
	dir := os.Getenv("RINGCORE_SOAK_WRITER")
	if dir == "" {
		t.Skip("TestSoakKill starts it")
	}
	book := openNotebook(t, filepath.Join(dir, "notebook"))
	d, err := OpenDisk(filepath.Join(dir, "disk"), DiskOptions{
		Logger: discardLogger(), TableBytes: 512 << 10, LogBytes: 512 << 10, SegmentBytes: 64 << 10, OpenFiles: 4, CheckpointAge: 40 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	found, err := book.verify(d)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(soakVerified)
	stop := make(chan struct{})
	var running sync.WaitGroup
	for i := range book.slots {
		w := &soakWriter{book: book, slot: &book.slots[i], disk: d, st: found[i], flying: make(chan struct{}, 32)}
		running.Go(func() {
			if err := w.run(stop); err != nil {
				soakFailed(err)
			}
		})
	}
	_, err = io.Copy(io.Discard, os.Stdin) // until the parent says so, or has ended
	close(stop)
	running.Wait()
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
}
