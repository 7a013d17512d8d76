package vnodes

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

const (
	repairP       = 3
	repairRecords = 150
)

// quickRepairs shortens the wait for what is under way, and makes the scrub fast.
func quickRepairs(n *simNode) {
	n.tune = func(c *Config) { c.ChunkBytes, c.SettleTime, c.ScrubBytes = 1<<10, 50*time.Millisecond, 1<<30 }
}

// repairWorld has three replicas of everything, and records on all of them.
func repairWorld(t *testing.T, nodes int, change ...func(*simNode)) *world {
	t.Helper()
	w := newWorld(t, nodes, 3, append([]func(*simNode){quickRepairs}, change...)...)
	w.replicate(repairP, repairRecords)
	return w
}

func repairValue(i int) string { return strings.Repeat(fmt.Sprintf("<value %d>", i), 8) }

// replicate writes records on all replicas.
func (w *world) replicate(p ring.Partition, count int) {
	w.t.Helper()
	r := w.ring()
	slots := r.Replicas(p, 3)
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() {
			a := w.nodes[slots[0].Node].ask(request(wire.OpCommand, r, "kv", keyIn(p, i), "put "+repairValue(i)))
			for _, s := range slots[1:] {
				e := request(wire.OpEffect, r, "kv", keyIn(p, i), "")
				e.Effect, e.Flags = a.effect, wire.FlagFresh
				if b := w.nodes[s.Node].ask(e); a.code != wire.OK || b.code != wire.OK {
					w.t.Errorf("put %d: %v, %v", i, a, b)
				}
			}
		})
	}
	wg.Wait()
}

// healthy reads all records at the node: each is right, or refused; whole if all
// are there.
func (n *simNode) healthy(p ring.Partition, count int) (whole bool) {
	n.w.t.Helper()
	whole = true
	for i := range count {
		switch a := n.get(keyIn(p, i)); {
		case a.code != wire.OK:
			whole = false
		case string(a.body) != repairValue(i):
			n.wrong.Do(func() { n.w.t.Errorf("node %s answers %q for key %d", n.id, a.body, i) })
			return true
		}
	}
	return whole
}

// heals waits until the node has rebuilt its slot and serves all of it by itself.
func (n *simNode) heals(rebuilt int64) {
	n.w.t.Helper()
	n.w.until(fmt.Sprintf("node %s is whole again", n.id), func() bool {
		m := n.m.Load()
		return m.FaultCounts().Rebuilt >= rebuilt && len(m.Faults()) == 0 && n.healthy(repairP, repairRecords)
	})
	if text := n.log.String(); rebuilt > 0 && !strings.Contains(text, "slot rebuilt") {
		n.w.t.Errorf("the log of node %s says nothing of it", n.id)
	}
	asides, err := n.m.Load().disk.asides()
	if len(asides) > 0 || err != nil {
		n.w.t.Errorf("node %s still has %v; %v", n.id, asides, err)
	}
}

// readers read at all nodes until stopped; what is answered must be right.
func (w *world) readers() (stop func()) {
	var ended atomic.Bool
	var wg sync.WaitGroup
	for _, n := range w.nodes {
		wg.Go(func() {
			for !ended.Load() {
				n.healthy(repairP, repairRecords)
				pause(w.t.Context(), time.Millisecond)
			}
		})
	}
	return func() { ended.Store(true); wg.Wait() }
}

func (n *simNode) slotPath(p ring.Partition) string {
	return filepath.Join(n.dir, fmt.Sprintf("kv/p%04d.bolt", p))
}

// flip inverts a bit of a file, in place.
func flip(t testing.TB, path string, at int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	_, err = f.ReadAt(b, int64(at))
	b[0] ^= 1 << (at % 7)
	if err == nil {
		_, err = f.WriteAt(b, int64(at))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// boltPlaces are offsets in a slot's file, one of each kind.
func boltPlaces(t *testing.T, content []byte) map[string]int {
	t.Helper()
	ne := binary.NativeEndian
	places := map[string]int{"meta": 16 + 48, "other meta": 4096 + 16 + 20}
	c := boltChecker{r: bytes.NewReader(content)}
	c.verify = func(key []byte, v boltValue) error {
		if string(key) == keyIn(repairP, 7) {
			places["key"] = int(v.page.start) + int(v.off) - 1
		}
		if string(key) == keyIn(repairP, 9) {
			places["value"] = int(v.page.start) + int(v.off+v.n) - 10
		}
		return nil
	}
	if err := c.check(int64(len(content))); err != nil {
		t.Fatal(err)
	}
	for id := 2; id < int(c.pages); id++ {
		page := content[id*4096:]
		switch flags := ne.Uint16(page[8:]); {
		case !c.seen[id]:
			places["free page"] = id*4096 + 100
		case flags == boltBranchPage:
			places["branch child"] = id*4096 + boltPageHeader + boltElement + 8
			places["branch count"] = id*4096 + 10
		case flags == boltLeafPage && ne.Uint16(page[10:]) > 4:
			places["leaf header"] = id * 4096
			places["leaf count"] = id*4096 + 10
			places["leaf element"] = id*4096 + boltPageHeader + 2*boltElement + 4
		}
	}
	if len(places) != 10 {
		t.Fatalf("only these kinds of places are in the file: %v", places)
	}
	return places
}

// checkpointed writes the records of a node to its files, in two steps, so that
// the two metas differ in what they lead to.
func (n *simNode) checkpointed() []byte {
	n.w.t.Helper()
	if err := n.m.Load().disk.Checkpoint(); err != nil {
		n.w.t.Fatal(err)
	}
	return readFile(n.w.t, n.slotPath(repairP))
}

// A bit is flipped in a file of a node that is down, or up: nobody ever reads
// something wrong or that a record is not there, and the slot is rebuilt.
func TestFlippedBitInFileHeals(t *testing.T) {
	for _, running := range []bool{false, true} {
		w := repairWorld(t, 3)
		n := w.node(2)
		n.checkpointed()
		w.replicate(repairP, repairRecords/2) // once more: pages become free
		places := boltPlaces(t, n.checkpointed())
		for what := range places {
			at, was := boltPlaces(t, n.checkpointed())[what], n.m.Load().FaultCounts().Rebuilt
			t.Logf("%s at %d, running %v", what, at, running)
			hurts := int64(1)
			if what == "free page" {
				hurts = 0
			}
			stop := func() {}
			if running {
				if !strings.Contains(what, "count") && !strings.Contains(what, "child") {
					stop = w.readers() // with those a read of this copy alone may miss a record until the scrub has been there
				}
				flip(t, n.slotPath(repairP), at)
				n.m.Load().disk.scrubNow(t)
			} else {
				n.stop()
				flip(t, n.slotPath(repairP), at)
				was = 0
				n.start()
				stop = w.readers()
			}
			n.heals(was + hurts)
			stop()
			w.settled()
		}
	}
}

// scrubNow is one pass of the scrub.
func (d *Disk) scrubNow(t testing.TB) {
	t.Helper()
	if err := d.scrubAll(); err != nil {
		t.Fatal(err)
	}
}
