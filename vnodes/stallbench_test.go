package vnodes

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestStallBench measures for how long a vnode stands still while its file, of a
// million records, is copied: the longest of the calls that its worker and its
// readers make meanwhile. `make bench-storage` runs it.
func TestStallBench(t *testing.T) {
	if os.Getenv("RINGCORE_BENCH_STORAGE") == "" {
		t.Skip("make bench-storage runs it")
	}
	const records, batch, bar = 1_000_000, 10_000, 50 * time.Millisecond
	d := openDisk(t, t.TempDir(), DiskOptions{})
	st := createNamed(t, d, testName).(*diskStore)
	value := strings.Repeat("v", benchValue)
	for from := 0; from < records; from += batch {
		var writes []Write
		for i := range batch {
			writes = append(writes, write(string(benchKey(uint64(from+i))), value, 1))
		}
		if err := appendSync(st, writes...); err != nil {
			t.Fatal(err)
		}
	}
	if err := rewriteNow(st, 0); err != nil {
		t.Fatal(err)
	}

	var latest, appended, read stall
	var written stall // until it is durable: the disk's part, which the log shares with the copy
	var done atomic.Bool
	var began, users sync.WaitGroup
	use := func(each func(key []byte)) {
		began.Add(1)
		users.Go(func() {
			each(benchKey(0))
			began.Done()
			for i := uint64(1); !done.Load(); i++ {
				each(benchKey(i * 7919 % records))
			}
		})
	}
	use(func(key []byte) { // the worker: one command after the other
		start := time.Now()
		_, _, err := st.Latest(key)
		found := time.Now()
		durable := make(chan error, 1)
		st.Append([]Write{write(string(key), value, 2)}, func(err error) { durable <- err })
		latest.saw(found.Sub(start))
		appended.saw(time.Since(found))
		if err := cmp.Or(err, <-durable); err != nil {
			t.Error(err)
		}
		written.saw(time.Since(start))
	})
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	use(func(key []byte) {
		<-tick.C
		start := time.Now()
		if _, _, err := st.Get(key); err != nil {
			t.Error(err)
		}
		read.saw(time.Since(start))
	})
	began.Wait()
	start := time.Now()
	for range 3 {
		if err := rewriteNow(st, 0); err != nil {
			t.Error(err)
		}
	}
	done.Store(true)
	fmt.Printf("three copies of a file of %d MB took %v; meanwhile\n", fileSize(d.path(testName))>>20, time.Since(start))
	users.Wait()
	for _, s := range []struct {
		name string
		*stall
	}{{"latest", &latest}, {"append", &appended}, {"write, durable", &written}, {"get", &read}} {
		fmt.Printf("  %s: %d calls, the longest %v\n", s.name, s.calls, s.longest)
		if s.longest > bar && s.stall != &written {
			t.Errorf("%s stood still for %v; bar %v", s.name, s.longest, bar)
		}
	}
}

// stall is the longest of some calls that one goroutine made.
type stall struct {
	calls   int
	longest time.Duration
}

func (s *stall) saw(took time.Duration) {
	s.calls++
	s.longest = max(s.longest, took)
}
