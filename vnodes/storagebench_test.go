package vnodes

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"go.etcd.io/bbolt"
)

// The storage bench compares, in one run on one disk, what the engine costs with
// what the disk can do and with what it replaces:
//
//	(a) a bare loop that writes 128-byte records and syncs once for all that wait
//	(b) the engine
//	(c) a transaction per bbolt file for all that wait for that file
//
// RINGCORE_BENCH_STORAGE is how long each measurement takes ("3s"); empty skips
// it. RINGCORE_BENCH_SUSTAINED is how long (b) is measured with 64 callers at the
// end, so that checkpoints run throughout. RINGCORE_BENCH_KEYS, _CALLERS, _SUBJECTS
// and _DIR change the rest.

const (
	benchVnodes = 64
	benchValue  = 100
)

func TestStorageBench(t *testing.T) {
	setting := func(name, fallback string) string {
		if v := os.Getenv("RINGCORE_BENCH_" + name); v != "" {
			return v
		}
		return fallback
	}
	if setting("STORAGE", "") == "" {
		t.Skip("make bench-storage runs it")
	}
	length, err := time.ParseDuration(setting("STORAGE", ""))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := strconv.Atoi(setting("KEYS", "2000000"))
	if err != nil {
		t.Fatal(err)
	}
	sustained, err := time.ParseDuration(setting("SUSTAINED", "0s"))
	if err != nil {
		t.Fatal(err)
	}
	var counts []int
	for _, s := range strings.Split(setting("CALLERS", "1,16,64,256"), ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		counts = append(counts, n)
	}
	dir, err := os.MkdirTemp(setting("DIR", ""), "storage-bench") //nolint:usetesting // on the disk that is to be measured
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer func() { _ = out.Flush() }()
	fmt.Fprintf(out, "callers\tsubject\tops/s\tp50\tp99\tCPU s/M\t(b)/(a)\t(b)/(c)\t\n")
	row := func(n int, subject string, m measured, ratios string) {
		fmt.Fprintf(out, "%d\t%s\t%.0f\t%v\t%v\t%.2f\t%s\t\n", n, subject, m.rate, m.p50, m.p99, m.cpu, ratios)
	}
	kinds := setting("SUBJECTS", "abc")
	results := make(map[string]measured)
	subjects := make(map[rune]benchSubject)
	open := func(kind rune) benchSubject {
		if subjects[kind] == nil {
			subjects[kind] = openBench(t, string(kind), filepath.Join(dir, string(kind)), keys)
		}
		return subjects[kind]
	}
	if alone := slices.Index(counts, 1); alone >= 0 {
		counts = slices.Delete(counts, alone, alone+1)
		takeTurns(t, length, keys, kinds, open, results)
	}
	for _, k := range kinds {
		subject := open(k)
		for _, n := range counts {
			results[fmt.Sprint(n, string(k))] = measure(t, n, length, keys, subject.put)
		}
		if e, ok := subject.(*engineBench); ok {
			fmt.Fprintf(out, "16\t(b) get\t%s\t\n", e.gets(t, keys))
			if sustained > 0 {
				m := measure(t, 64, sustained, keys, subject.put)
				row(64, fmt.Sprintf("(b) for %v: p99/p50 %.1f", sustained, float64(m.p99)/float64(m.p50)), m, "\t")
			}
		}
		subject.close(t)
	}
	for _, n := range append([]int{1}, counts...) {
		a, b, c := results[fmt.Sprint(n, "a")], results[fmt.Sprint(n, "b")], results[fmt.Sprint(n, "c")]
		row(n, "(a) bare loop", a, "\t")
		row(n, "(b) engine", b, fmt.Sprintf("%.2f\t%.1f", b.rate/a.rate, b.rate/c.rate))
		row(n, "(c) commit per file", c, "\t")
	}
}

// takeTurns measures one caller: what that gets is the disk's mood, so (a) and (b)
// are measured in turns, and each result is the one with the median of p50.
func takeTurns(t *testing.T, length time.Duration, keys int, kinds string, open func(rune) benchSubject, results map[string]measured) {
	const turns = 9
	all := make(map[rune][]measured)
	for range turns {
		for _, k := range kinds {
			if subject := open(k); k != 'c' || len(all[k]) == 0 {
				all[k] = append(all[k], measure(t, 1, length/4, keys, subject.put))
			}
		}
	}
	for k, m := range all {
		slices.SortFunc(m, func(a, b measured) int { return cmp.Compare(a.p50, b.p50) })
		results[fmt.Sprint(1, string(k))] = m[len(m)/2]
	}
}

// benchSubject is one of the three. put calls done when key is durable.
type benchSubject interface {
	put(key uint64, value []byte, done func(error))
	close(t *testing.T)
}

func openBench(t *testing.T, kind, dir string, keys int) benchSubject {
	switch kind {
	case "a":
		return newBareLoop(t, dir)
	case "b":
		return newEngineBench(t, dir, keys)
	}
	return newFileBench(t, dir, keys)
}

type measured struct {
	rate     float64 // ops/s
	p50, p99 time.Duration
	cpu      float64 // seconds per million
}

// measure lets n callers put random keys, one after the other.
func measure(t *testing.T, n int, length time.Duration, keys int, put func(uint64, []byte, func(error))) measured {
	runtime.GC()
	latencies := make([][]time.Duration, n)
	var wg sync.WaitGroup
	cpu, start := cpuTime(), time.Now()
	for i := range n {
		wg.Go(func() {
			draw := rand.New(rand.NewPCG(uint64(i), uint64(n)))
			done := make(chan error, 1)
			value := make([]byte, benchValue)
			tell := func(err error) { done <- err }
			for now := time.Now(); now.Sub(start) < length; {
				for j := 0; j+8 <= len(value); j += 8 {
					binary.LittleEndian.PutUint64(value[j:], draw.Uint64())
				}
				put(draw.Uint64N(uint64(keys)), value, tell)
				if err := <-done; err != nil {
					t.Error(err)
					return
				}
				next := time.Now()
				latencies[i] = append(latencies[i], next.Sub(now))
				now = next
			}
		})
	}
	wg.Wait()
	elapsed, spent := time.Since(start), cpuTime()-cpu
	all := slices.Concat(latencies...)
	slices.Sort(all)
	if len(all) == 0 {
		return measured{}
	}
	return measured{
		rate: float64(len(all)) / elapsed.Seconds(),
		p50:  all[len(all)/2], p99: all[len(all)*99/100],
		cpu: spent.Seconds() / float64(len(all)) * 1e6,
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bareLoop is (a).
type bareLoop struct {
	f     *os.File
	queue chan bareRecord
	wg    sync.WaitGroup
}

type bareRecord struct {
	data [128]byte
	done func(error)
}

func newBareLoop(t *testing.T, dir string) *bareLoop {
	const size = 64 << 20
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	created, err := osFiles{}.create(filepath.Join(dir, "log"), size)
	if err != nil {
		t.Fatal(err)
	}
	l := &bareLoop{f: created.(osFile).File, queue: make(chan bareRecord, 4096)}
	l.wg.Go(func() {
		var buf []byte
		var waiting []func(error)
		for at := int64(0); ; {
			r, ok := <-l.queue
			if !ok {
				return
			}
			buf, waiting = append(buf[:0], r.data[:]...), append(waiting[:0], r.done)
			for range len(l.queue) {
				r = <-l.queue
				buf, waiting = append(buf, r.data[:]...), append(waiting, r.done)
			}
			if at+int64(len(buf)) > size {
				at = 0
			}
			_, err := l.f.WriteAt(buf, at)
			if err == nil {
				err = datasync(l.f)
			}
			at += int64(len(buf))
			for _, done := range waiting {
				done(err)
			}
		}
	})
	return l
}

func (l *bareLoop) put(key uint64, value []byte, done func(error)) {
	r := bareRecord{done: done}
	binary.BigEndian.PutUint64(r.data[:], key)
	copy(r.data[8:], value)
	l.queue <- r
}

func (l *bareLoop) close(t *testing.T) {
	close(l.queue)
	l.wg.Wait()
	if err := l.f.Close(); err != nil {
		t.Error(err)
	}
}

// engineBench is (b). A vnode's worker is its lock.
type engineBench struct {
	disk   *Disk
	stores [benchVnodes]Store
	worker [benchVnodes]sync.Mutex
	time   [benchVnodes]uint64
}

func newEngineBench(t *testing.T, dir string, keys int) *engineBench {
	d, err := OpenDisk(dir, DiskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := &engineBench{disk: d}
	for i := range b.stores {
		if b.stores[i], err = d.Create(Identity{Service: "bench", Partition: i}, fmt.Sprintf("bench/p%04d.bolt", i)); err != nil {
			t.Fatal(err)
		}
	}
	preload(t, keys, func(i int, writes []Write) error { return appendSync(b.stores[i], writes...) })
	if err := d.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	return b
}

// preload writes every key once, in batches of one vnode each.
func preload(t *testing.T, keys int, write func(vnode int, writes []Write) error) {
	var wg sync.WaitGroup
	for i := range benchVnodes {
		wg.Go(func() {
			var writes []Write
			flush := func() {
				if err := write(i, writes); err != nil {
					t.Error(err)
				}
				writes = nil
			}
			for key := i; key < keys; key += benchVnodes {
				writes = append(writes, Write{Key: benchKey(uint64(key)), Record: Record{Value: make([]byte, benchValue)}})
				if len(writes) == 1000 {
					flush()
				}
			}
			flush()
		})
	}
	wg.Wait()
}

func benchKey(key uint64) []byte {
	return strconv.AppendUint([]byte("key-"), key*0x9e3779b97f4a7c15>>16, 16)
}

func (b *engineBench) put(key uint64, value []byte, done func(error)) {
	i := key % benchVnodes
	w := []Write{{Key: benchKey(key), Record: Record{Value: slices.Clone(value)}}}
	b.worker[i].Lock()
	defer b.worker[i].Unlock()
	b.time[i]++
	w[0].Record.Stamp.Time = b.time[i]
	b.stores[i].Append(w, done)
}

// gets measures reads at 16 callers, and says what was found.
func (b *engineBench) gets(t *testing.T, keys int) string {
	m := measure(t, 16, time.Second, keys, func(key uint64, _ []byte, done func(error)) {
		_, ok, err := b.stores[key%benchVnodes].Get(benchKey(key))
		if !ok {
			t.Errorf("%d is not there", key)
		}
		done(err)
	})
	return fmt.Sprintf("%.0f\t%v\t%v\t%.2f\t\t", m.rate, m.p50, m.p99, m.cpu)
}

func (b *engineBench) close(t *testing.T) {
	if err := b.disk.Close(); err != nil {
		t.Error(err)
	}
}

// fileBench is (c).
type fileBench struct {
	files [benchVnodes]*fileLoop
	wg    sync.WaitGroup
}

type fileLoop struct {
	f     *boltFile
	queue chan fileWrites
}

type fileWrites struct {
	writes []Write
	done   func(error)
}

func newFileBench(t *testing.T, dir string, keys int) *fileBench {
	b := new(fileBench)
	for i := range b.files {
		f, err := createBolt(osFiles{}, filepath.Join(dir, fmt.Sprintf("p%04d.bolt", i)), func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte(recordsBucket))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		l := &fileLoop{f: f, queue: make(chan fileWrites, 4096)}
		b.files[i] = l
		b.wg.Go(l.run)
	}
	preload(t, keys, func(i int, writes []Write) error {
		done := make(chan error, 1)
		b.files[i].queue <- fileWrites{writes, func(err error) { done <- err }}
		return <-done
	})
	return b
}

func (l *fileLoop) run() {
	for first := range l.queue {
		batch := []fileWrites{first}
		for range len(l.queue) {
			batch = append(batch, <-l.queue)
		}
		err := l.f.update(func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte(recordsBucket))
			for _, w := range batch {
				for i := range w.writes {
					key, r := w.writes[i].Key, &w.writes[i].Record
					if err := b.Put(key, appendRecord(nil, key, r)); err != nil {
						return err
					}
				}
			}
			return nil
		})
		for _, w := range batch {
			w.done(err)
		}
	}
}

func (b *fileBench) put(key uint64, value []byte, done func(error)) {
	w := []Write{{Key: benchKey(key), Record: Record{Value: slices.Clone(value)}}}
	b.files[key%benchVnodes].queue <- fileWrites{w, done}
}

func (b *fileBench) close(t *testing.T) {
	for _, l := range b.files {
		close(l.queue)
	}
	b.wg.Wait()
	for _, l := range b.files {
		if err := l.f.close(); err != nil {
			t.Error(err)
		}
	}
}
