package vnodes

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	scrubFirst = 2 * time.Second // after the start, before the first pass
	scrubTries = 3               // of a file that changes meanwhile; then its checkpoints wait
	scrubPiece = 256 << 10       // of a long value that is read at a time
)

// scrubCounts are what the scrub has read.
type scrubCounts struct{ records, bytes, passes atomic.Int64 }

// scrub reads all files and the log again and again, at a bounded rate, and tells
// of what is damaged before anybody needs it.
func (d *Disk) scrub() {
	for rest := scrubFirst; d.rests(rest); {
		began := time.Now()
		if err := d.scrubAll(); err != nil && !errors.Is(err, errStopped) {
			d.logger.Warn("scrub ended early", "err", err)
		}
		d.scrubs.passes.Add(1)
		rest = max(d.opts.ScrubRest, 4*time.Since(began))
	}
}

// rests waits; false if the disk closes.
func (d *Disk) rests(wait time.Duration) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-d.stop:
		return false
	}
}

var errStopped = errors.New("the disk is closing")

// scrubAll is one pass.
func (d *Disk) scrubAll() error {
	names, err := d.List()
	if err != nil {
		return err
	}
	pace := &pace{disk: d, began: time.Now()}
	for _, name := range names {
		if _, err := d.scrubFile(name, pace); err != nil {
			return err
		}
	}
	return d.scrubLog(pace)
}

// scrubFile checks one store's file and tells of damage: to its caller too. The
// error says that the pass is at its end.
func (d *Disk) scrubFile(name string, pace *pace) (found, err error) {
	for try := 1; ; try++ {
		found, again, err := d.scrubOnce(name, pace, try == scrubTries)
		if err != nil || !again {
			return found, err
		}
	}
}

// scrubOnce reads the file from one end to the other. It is read without a
// transaction, which would keep bbolt from using pages again: what looks damaged in
// a file that has changed meanwhile may not be. again asks for another try; the last
// one holds checkpoints up, and reads as fast as it can.
func (d *Disk) scrubOnce(name string, pace *pace, last bool) (found error, again bool, err error) {
	if s := d.storeNamed(name); s != nil && last {
		s.lockCheckpoints()
		defer s.checkpointing.Unlock()
		pace = nil
	}
	f, err := os.Open(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil // dropped since
	}
	if err != nil {
		return nil, false, fmt.Errorf("scrub %s: %w", name, err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, false, fmt.Errorf("scrub %s: %w", name, err)
	}
	before := metasOf(f)
	c := boltChecker{r: &pacedReader{f, pace}, verify: d.verify}
	found = c.check(info.Size())
	switch {
	case errors.Is(found, errStopped) || d.stopping():
		return nil, false, errStopped
	case found == nil:
		return nil, false, nil
	case !bytes.Equal(before, metasOf(f)) && !last:
		return found, true, nil
	}
	still := func() bool {
		now, err := os.Stat(d.path(name))
		return err == nil && os.SameFile(now, info)
	}
	if still() && d.opts.Damaged != nil {
		d.opts.Damaged(name, still, fmt.Errorf("scrub of %s: %w", name, found))
	}
	return found, false, nil
}

// metasOf is what tells one state of a bbolt file from another.
func metasOf(r io.ReaderAt) []byte {
	b := make([]byte, 2*defaultPageSize())
	n, _ := r.ReadAt(b, 0) // what cannot be read has been noticed
	return b[:n]
}

func (d *Disk) stopping() bool {
	select {
	case <-d.stop:
		return true
	default:
		return false
	}
}

// verify checks the record under key, whose value may be long.
func (d *Disk) verify(key []byte, v boltValue) error {
	d.scrubs.records.Add(1)
	if v.n < recordHeader {
		return fmt.Errorf("record %s of page %d is %d bytes long: %w", shortKey(key), v.page.id, v.n, ErrCorrupt)
	}
	head, err := v.page.bytes(v.off, sealHeader)
	if err != nil {
		return err
	}
	want := [sealHeader]byte(head)
	sum := crc32.Checksum(key, castagnoli())
	for off, end := v.off+sealHeader, v.off+v.n; off < end; off += scrubPiece {
		b, err := v.page.bytes(off, min(scrubPiece, end-off))
		if err != nil {
			return err
		}
		sum = crc32.Update(sum, castagnoli(), b)
	}
	if [sealHeader]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)} != want {
		return fmt.Errorf("checksum of record %s of page %d: %w", shortKey(key), v.page.id, ErrCorrupt)
	}
	return nil
}

// pace keeps the scrub at the disk's rate and lets others go first.
type pace struct {
	disk  *Disk
	began time.Time
	done  int64
}

// after counts n bytes that were read, and waits for as long as they are ahead of
// the rate.
func (p *pace) after(n int) error {
	if p.disk.stopping() {
		return errStopped
	}
	p.done += int64(n)
	p.disk.scrubs.bytes.Add(int64(n))
	runtime.Gosched()
	due := time.Duration(float64(p.done) / float64(p.disk.opts.ScrubBytes) * float64(time.Second))
	if ahead := due - time.Since(p.began); ahead > 10*time.Millisecond && !p.disk.rests(ahead) {
		return errStopped
	}
	return nil
}

// pacedReader reads a file at a pace, or as fast as it can without one.
type pacedReader struct {
	r    io.ReaderAt
	pace *pace
}

func (p *pacedReader) ReadAt(b []byte, at int64) (int, error) {
	n, err := p.r.ReadAt(b, at)
	if p.pace != nil && err == nil {
		err = p.pace.after(n)
	}
	return n, err
}
