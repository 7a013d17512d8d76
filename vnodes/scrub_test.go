package vnodes

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// scrubbed is a disk that notes what damage it tells of.
func scrubbed(t *testing.T, opts DiskOptions) (d *Disk, told func() []error) {
	t.Helper()
	var mu sync.Mutex
	var all []error
	opts.ScrubBytes = 1 << 40
	opts.Damaged = func(_ string, still func() bool, err error) {
		mu.Lock()
		defer mu.Unlock()
		if still() {
			all = append(all, err)
		}
	}
	return openDisk(t, t.TempDir(), opts), func() []error {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// The scrub verifies every record, long values and keys too, of open and idle
// files, and names the one that is damaged.
func TestScrubFindsDamage(t *testing.T) {
	d, told := scrubbed(t, DiskOptions{})
	st := createNamed(t, d, "kv/p0000.bolt")
	long := strings.Repeat("long value ", 200_000)
	for _, w := range []Write{write("a", long, 1), write(strings.Repeat("k", 3*keySegment), "of a long key", 1), write("z", "<short>", 1)} {
		if err := appendSync(st, w); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	d.scrubNow(t)
	if errs := told(); len(errs) > 0 || d.scrubs.records.Load() != 3 {
		t.Fatalf("%d records; %v", d.scrubs.records.Load(), errs)
	}
	path := d.path("kv/p0000.bolt")
	for i, damage := range []struct{ what, key string }{{"of a long key", "kkkk"}, {"<short>", `"z"`}, {long[:1<<20], `"a"`}} {
		at := bytes.Index(readFile(t, path), []byte(damage.what)) + len(damage.what) - 1
		flip(t, path, at)
		d.scrubNow(t)
		if errs := told(); len(errs) != i+1 || !errors.Is(errs[i], ErrCorrupt) || !strings.Contains(errs[i].Error(), damage.key) || !strings.Contains(errs[i].Error(), "kv/p0000.bolt") {
			t.Errorf("%.10q: %.200v", damage.what, errs)
		}
		flip(t, path, at)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// Files that change while they are read are not taken for damaged ones.
func TestScrubBesideCheckpoints(t *testing.T) {
	d, told := scrubbed(t, DiskOptions{})
	st := createNamed(t, d, "kv/p0000.bolt")
	var ended atomic.Bool
	var wg sync.WaitGroup
	var checkpoints atomic.Int64
	wg.Go(func() {
		for n := uint64(1); !ended.Load(); n++ {
			for i := range 300 {
				key := fmt.Sprintf("k%04d", (i*7+int(n)*13)%2000)
				st.Append([]Write{write(key, strings.Repeat(fmt.Sprint(n), 50+i), n)}, func(error) {})
			}
			if err := d.Checkpoint(); err != nil {
				t.Error(err)
				return
			}
			checkpoints.Add(1)
		}
	})
	for checkpoints.Load() < 20 {
		d.scrubNow(t)
	}
	ended.Store(true)
	wg.Wait()
	if errs := told(); len(errs) > 0 {
		t.Errorf("%d files are said to be damaged: %v", len(errs), errs[0])
	}
	if d.scrubs.records.Load() < 2000 {
		t.Errorf("%d records were read", d.scrubs.records.Load())
	}
}

// A segment of the log that is needed is damaged while the node runs: its records
// are in memory, and go to their files; the next start does not need the segment.
func TestScrubOfLog(t *testing.T) {
	for _, at := range []int{70, segmentHeader + 9, segmentHeader + 3000, -40} {
		opts := DiskOptions{SegmentBytes: 16 << 10}
		d, told := scrubbed(t, opts)
		st := createNamed(t, d, "kv/p0000.bolt")
		model := modelStore{}
		for i := range 600 {
			w := write(fmt.Sprintf("k%04d", i), strings.Repeat("v", 100), uint64(i+1))
			if err := appendSync(st, w); err != nil {
				t.Fatal(err)
			}
			model[string(w.Key)] = w.Record
		}
		d.scrubNow(t)
		before := d.log.segments()
		if len(before) < 4 || d.scrubs.bytes.Load() < 32<<10 {
			t.Fatalf("%d segments, %d bytes read", len(before), d.scrubs.bytes.Load())
		}
		hurt := before[1]
		content := readFile(t, hurt.path)
		if at < 0 {
			at += len(bytes.TrimRight(content, "\x00"))
		}
		flip(t, hurt.path, at)
		if at == 70 { // the header is there twice
			flip(t, hurt.path, 7)
		}
		d.scrubNow(t)
		if errs := told(); len(errs) > 0 {
			t.Errorf("byte %d: %v", at, errs)
		}
		if d.log.needed(hurt) {
			t.Errorf("byte %d of %s: the damaged segment is still needed", at, filepath.Base(hurt.path))
		}
		dir := killedCopy(t, d.dir)
		after, err := openDisk(t, dir, opts).Open(testID, "kv/p0000.bolt")
		if err != nil {
			t.Fatalf("byte %d: %v", at, err)
		}
		if err := model.miscounts(after); err != nil {
			t.Errorf("byte %d: %v", at, err)
		}
	}
}
