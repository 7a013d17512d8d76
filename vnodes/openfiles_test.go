package vnodes

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// However fast files are opened, no more stay open than twice the limit, and those
// that are being opened.
func TestOpenFilesStayFew(t *testing.T) {
	const stores, limit, readers = 200, 4, 16
	dir := t.TempDir()
	d := openDisk(t, dir, DiskOptions{OpenFiles: limit})
	all := make([]Store, stores)
	for i := range all {
		all[i] = createNamed(t, d, fmt.Sprintf("kv/p%04d.bolt", i))
		put(t, all[i], "k", "v", 1)
	}
	if err := d.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	var most atomic.Int64
	var running sync.WaitGroup
	for r := range readers {
		running.Go(func() {
			for n := range stores / 2 {
				if _, ok, err := all[(n*readers+r)%stores].Get([]byte("k")); !ok || err != nil {
					t.Error(ok, err)
				}
				if now := d.open.Load(); now > most.Load() {
					most.Store(now)
				}
			}
		})
	}
	running.Wait()
	if most.Load() > 2*limit+readers {
		t.Errorf("%d files were open", most.Load())
	}
}
