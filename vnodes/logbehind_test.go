package vnodes

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// logBehind opens a disk whose log's syncs hang, so that what was appended fills two
// segments that nothing is written to, and calls then.
func logBehind(t *testing.T, then func(dir string, d *Disk)) {
	files := newFaultFiles()
	dir := t.TempDir()
	d := openDisk(t, dir, DiskOptions{files: files, SegmentBytes: 4 << 10})
	st := createStore(t, d)
	put(t, st, "first", "v", 1)
	stalled, release := files.stall("write")
	t.Cleanup(release)
	var failed atomic.Int64
	ready := func() {
		(&world{t: t}).until("the next segment is ready", func() bool {
			d.log.mu.Lock()
			defer d.log.mu.Unlock()
			return d.log.next != nil || d.log.offset < d.log.active.length/2
		})
	}
	for i := 0; d.log.position().segment() < 3; i++ {
		ready()
		st.Append([]Write{write(fmt.Sprint(i), strings.Repeat("v", 1000), 1)}, func(err error) {
			if err != nil {
				failed.Add(1)
			}
		})
	}
	<-stalled
	ready()
	then(dir, d)
	release()
	if err := st.Sync(); err != nil || failed.Load() != 0 {
		t.Errorf("%v, %d failed", err, failed.Load())
	}
}

// A store that is made while the log on the disk is far behind takes nothing for
// granted that a kill takes away: it opens, and keeps what it acknowledges then.
func TestCreatedWhileLogIsBehind(t *testing.T) {
	logBehind(t, func(dir string, d *Disk) {
		createNamed(t, d, "kv/new.bolt")
		killed := killedCopy(t, dir)
		for i, key := range []string{"a", "b"} {
			d := openDisk(t, killed, DiskOptions{SegmentBytes: 4 << 10})
			st, err := d.Open(testID, "kv/new.bolt")
			if err != nil {
				t.Fatal(err)
			}
			if n := len(collect(t, st, nil)); n != i {
				t.Errorf("%d records, not %d", n, i)
			}
			put(t, st, key, "v", 1)
			killed = killedCopy(t, killed)
		}
	})
}

// A start that dies while it removes segments that were never begun leaves nothing
// that the next one takes for a loss.
func TestKilledWhileRemovingSegments(t *testing.T) {
	logBehind(t, func(dir string, _ *Disk) {
		(&world{t: t}).until("three segments", func() bool {
			found, err := filepath.Glob(filepath.Join(dir, logDir, "*"+segmentSuffix))
			return err == nil && len(found) >= 3
		})
		killed := killedCopy(t, dir)
		for i := 2; ; i++ { // each of them may be the one that is gone
			once := killedCopy(t, killed)
			if err := (osFiles{}).remove(filepath.Join(once, logDir, segmentName(uint64(i)))); err != nil {
				if i < 4 || !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("segment %d: %v", i, err)
				}
				return
			}
			openStore(t, openDisk(t, once, DiskOptions{}))
		}
	})
}
