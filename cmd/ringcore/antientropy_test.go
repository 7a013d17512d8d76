package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/client"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes"
)

// comparedRecords is how many records the tests of anti-entropy store:
// RINGCORE_TEST_RECORDS, as make anti-entropy sets it.
func comparedRecords(t *testing.T) int {
	t.Helper()
	s := os.Getenv("RINGCORE_TEST_RECORDS")
	if s == "" {
		return 3000
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// putMany writes records from..to-1 to all replicas. A node that has just come back
// may miss one: then it is written again.
func putMany(t *testing.T, p *process, from, to int, value string) {
	t.Helper()
	c, err := client.Open(t.Context(), client.Config{Addrs: []string{p.addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // every put was answered
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for k := from + i; k < to; k += 64 {
				until(t, fmt.Sprintf("key %d is on all replicas", k), func() error {
					return c.Put(t.Context(), "b", fmt.Appendf(nil, "key%d", k), []byte(value), client.WriteOptions{W: wire.QuorumAll})
				})
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// vnodeDir is the folder of p's vnodes.
func (p *process) vnodeDir() string {
	p.t.Helper()
	dirs, err := filepath.Glob(filepath.Join(p.dir(), "clusters", "*", "vnodes"))
	if err != nil || len(dirs) != 1 {
		p.t.Fatalf("%v, %v", dirs, err)
	}
	return dirs[0]
}

// comesBack starts the node again and waits until it has compared all its
// partitions with the others, and no slot is being rebuilt. It returns whether some were.
func (p *process) comesBack(partitions int) (rebuilt bool) {
	p.t.Helper()
	begun := time.Now()
	p.restart()
	until(p.t, p.name+" has compared its partitions", func() error {
		done, err := p.metric("anti_entropy_exchanges_total")
		if err == nil && done < float64(partitions) {
			err = fmt.Errorf("%v of %d", done, partitions)
		}
		if ok, detail, failed := p.storageCheck(); err == nil && !ok {
			err = fmt.Errorf("storage: %s, %v", detail, failed)
		}
		return err
	})
	took := time.Since(begun)
	received, err := p.metric("anti_entropy_records_received_total")
	slots, err2 := p.metric("storage_repairs_done_total")
	if err != nil || err2 != nil {
		p.t.Fatal(err, err2)
	}
	p.t.Logf("%s is whole %v after its start: %.0f records came by comparison, %.0f slots were rebuilt", p.name, took.Round(time.Millisecond), received, slots)
	if took > time.Minute {
		p.t.Errorf("that took %v", took)
	}
	if slots == 0 && received == 0 {
		p.t.Error("nothing was lost")
	}
	return slots > 0
}

// mustBeEqual reads and compares every record on all replicas: nothing may differ.
func mustBeEqual(t *testing.T, p *process, records int) {
	t.Helper()
	var runs []admin.RepairView
	if err := json.Unmarshal([]byte(p.ok("repair", "--wait", "-o", "json")), &runs); err != nil {
		t.Fatal(err)
	}
	var compared, moved int64
	for _, r := range runs {
		compared += r.Compared
		moved += r.Sent + r.Received
		if r.Failed > 0 || len(r.Unreached) > 0 {
			t.Errorf("repair: %+v", r)
		}
	}
	if compared < int64(2*records) || moved > 0 {
		t.Errorf("a repair compared %d records and moved %d", compared, moved)
	}
}

// A replica that was wiped while its node was down, in whichever way, or put back to
// an older copy, comes back whole by itself.
func TestWipedReplicaComesBack(t *testing.T) {
	long(t)
	const partitions = 16
	n := comparedRecords(t)
	n1 := startProcess(t, "n1", "--partitions", strconv.Itoa(partitions), "--compare-every", "2s")
	n2 := startProcess(t, "n2", "--join", n1.addr, "--compare-every", "2s")
	n3 := startProcess(t, "n3", "--join", n1.addr, "--compare-every", "1h") // what it gets comes by its own start
	settle(t, n1, n2, n3)
	repeat := 1 + 600_000/n // so much that the log does not hold all of it any more
	putMany(t, n1, 0, n/2, strings.Repeat("first", repeat))
	n3.stop()
	copies := t.TempDir()
	if err := os.CopyFS(copies, os.DirFS(filepath.Join(n3.vnodeDir(), "kv"))); err != nil {
		t.Fatal(err)
	}
	n3.restart()
	settle(t, n1, n2, n3)
	putMany(t, n1, n/4, n, strings.Repeat("second", repeat))
	written := time.Now()
	until(t, "what was written is surely not on its way", func() error {
		if age := time.Since(written); age < 6*time.Second {
			return fmt.Errorf("it is %v old", age)
		}
		return nil
	})
	for _, wipe := range []struct {
		what    string
		do      func(dir string) error
		noticed bool // by the node itself, which rebuilds the slots: that takes its time, and has tests of its own
	}{
		{"its files are older copies", func(dir string) error {
			kv := filepath.Join(dir, "kv")
			return errors.Join(os.RemoveAll(kv), os.CopyFS(kv, os.DirFS(copies)))
		}, false},
		{"its files are forgotten", forgetFiles, false},
		{"its files are deleted", func(dir string) error { return os.RemoveAll(filepath.Join(dir, "kv")) }, true},
		{"everything is deleted", os.RemoveAll, true},
	} {
		if wipe.noticed && n <= 3000 {
			continue
		}
		n3.stop()
		if err := wipe.do(n3.vnodeDir()); err != nil {
			t.Fatal(err)
		}
		t.Log(wipe.what)
		if rebuilt := n3.comesBack(partitions); rebuilt != wipe.noticed {
			t.Errorf("slots were rebuilt: %t, want %t", rebuilt, wipe.noticed)
		}
		mustBeEqual(t, n1, n)
	}
	until(t, "a floor rises", func() error {
		raised, err := n1.metric("anti_entropy_floors_raised_total")
		if err == nil && raised == 0 {
			err = fmt.Errorf("none has risen")
		}
		return err
	})
	var view admin.RepairsView
	if err := n2.get("/v1/repairs", &view); err != nil || len(view.Compared) < partitions || len(view.Repairs) < 2 {
		t.Errorf("%d comparisons and %d repairs are told, %v", len(view.Compared), len(view.Repairs), err)
	}
}

// forgetFiles deletes the files of the slots, and their names from the journal.
func forgetFiles(dir string) error {
	disk, err := vnodes.OpenDisk(dir, vnodes.DiskOptions{})
	if err != nil {
		return err
	}
	journal, err := vnodes.OpenJournal(filepath.Join(dir, "journal.bolt"))
	if err != nil {
		return err
	}
	for _, name := range journal.Files() {
		if err := disk.Remove(name); err != nil {
			return err
		}
		if err := journal.UnmarkFile(name); err != nil {
			return err
		}
	}
	if err := disk.Close(); err != nil {
		return err
	}
	return journal.Close()
}
