package vnodes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Damage of the log, and files that are gone, are noticed when a node starts, and
// all slots that they touch are rebuilt.
func TestDamagedStartHeals(t *testing.T) {
	for what, damage := range map[string]func(t *testing.T, dir string){
		"a file is gone": func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "kv", fmt.Sprintf("p%04d.bolt", repairP))); err != nil {
				t.Fatal(err)
			}
		},
		"all files are gone": func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "kv")); err != nil {
				t.Fatal(err)
			}
		},
		"everything is gone": func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		},
		"the log is gone": func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, logDir)); err != nil {
				t.Fatal(err)
			}
		},
		"head of an entry":    flipInLog(entryHead - 2),
		"payload of an entry": flipInLog(entryHead + 5),
		"foot of an entry":    flipInLog(-3),
		"segment's header":    flipInLog(-1 << 20),
	} {
		t.Run(what, func(t *testing.T) {
			w := repairWorld(t, 3)
			n := w.node(2)
			for range 5 { // damage of the last write cannot be told from a torn one
				w.replicate(repairP, 1)
			}
			n.crash() // all is in the log
			damage(t, n.dir)
			n.start()
			stop := w.readers()
			n.heals(rebuiltBy(what))
			stop()
			w.settled()
			n.restart()
			if faults := n.m.Load().Faults(); len(faults) > 0 || !n.healthy(repairP, repairRecords) {
				t.Errorf("after one more start: %+v", faults)
			}
		})
	}
}

// rebuiltBy is how many slots must be rebuilt: the header of a segment is there twice.
func rebuiltBy(what string) int64 {
	if what == "segment's header" {
		return 0
	}
	return 1
}

// flipInLog flips a bit of an entry in the middle of the log: at an offset from its
// head, or, if that is negative, from its end.
func flipInLog(at int) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		segments, err := filepath.Glob(filepath.Join(dir, logDir, "*"+segmentSuffix))
		if err != nil || len(segments) == 0 {
			t.Fatal(segments, err)
		}
		content := readFile(t, segments[0])
		info, ok := parseHeader(content, 1)
		if !ok {
			t.Fatal("no header")
		}
		if at < -1000 {
			flip(t, segments[0], 20)
			return
		}
		seed, off := entrySeed(info.log, 1), int64(segmentHeader)
		for range repairRecords / 2 {
			h, ok := parseHead(content, seed, off)
			if !ok {
				t.Fatal("no entry")
			}
			if next := off + entrySize + h.length; next > off {
				off = next
			}
		}
		h, _ := parseHead(content, seed, off)
		if at < 0 {
			at += int(entrySize + h.length)
		}
		flip(t, segments[0], int(off)+at)
	}
}

// With one replica there is nobody to rebuild from: the damaged key is refused with
// its place, and everything else serves on.
func TestOneReplicaIsDamaged(t *testing.T) {
	w := newWorld(t, 2, 1, quickRepairs)
	n := w.node(1)
	for i := range repairRecords {
		n.mustPut(keyIn(repairP, i), repairValue(i))
	}
	n.mustPut(keyIn(repairP+1, 0), "beside")
	places := boltPlaces(t, n.checkpointed())
	flip(t, n.slotPath(repairP), places["value"])
	n.m.Load().disk.scrubNow(t)
	w.until("it is known", func() bool { return len(n.m.Load().Faults()) == 1 })
	f := n.m.Load().Faults()[0]
	if f.State != FaultCorrupt || f.File != "kv/p0003.bolt" || !strings.Contains(f.Reason, keyIn(repairP, 9)) {
		t.Errorf("%+v", f)
	}
	for i := range repairRecords {
		if i == 9 {
			if a := n.get(keyIn(repairP, i)); a.code != wire.Corrupt || !strings.Contains(a.String(), "kv/p0003.bolt") {
				t.Errorf("%v", a)
			}
			continue
		}
		n.mustGet(keyIn(repairP, i), repairValue(i))
	}
	n.mustGet(keyIn(repairP+1, 0), "beside")
	if c := n.m.Load().FaultCounts(); c.Rebuilding+c.Quarantined+c.Rebuilt > 0 || c.Found != 1 {
		t.Errorf("%+v", c)
	}
	m := n.m.Load()
	m.installMu.Lock()
	err := m.dropSlot(m.services[wire.ServiceID("kv")], repairP)
	m.installMu.Unlock()
	if faults := m.Faults(); err != nil || len(faults) > 0 {
		t.Errorf("the file is gone: %+v, %v", faults, err)
	}
}

// Hints that cannot be read any more stay where they are, and nobody says that they
// were delivered: with one replica the owner says that it lacks something.
func TestDamagedHints(t *testing.T) {
	w := newWorld(t, 2, 1, quickRepairs)
	a, b := w.node(1), w.node(2)
	a.mustPut(keyIn(repairP, 0), "older")
	a.stop()
	for i := range repairRecords {
		b.mustHint(keyIn(repairP, i), repairValue(i), 1)
	}
	if err := b.m.Load().disk.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(b.dir, "kv", "hints", fmt.Sprintf("p%04d.%s.bolt", repairP, a.id))
	places := boltPlaces(t, readFile(t, path))
	flip(t, path, places["value"])
	b.m.Load().disk.scrubNow(t)
	w.until("it is known", func() bool { return len(b.m.Load().Faults()) == 1 })
	a.start()
	w.until("the owner says so", func() bool {
		got := a.get(keyIn(repairP, 0))
		if got.code == wire.OK {
			t.Fatalf("answered: %v", got)
		}
		return got.code == wire.Unavailable && strings.Contains(got.String(), string(b.id))
	})
	if held := b.m.Load().Holding(); held != 1 {
		t.Errorf("%d hint stores are kept", held)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	if f := b.m.Load().Faults()[0]; f.For != a.id || f.State != FaultCorrupt {
		t.Errorf("%+v", f)
	}
	a.mustGet(keyIn(repairP+1, 0), "")
}
