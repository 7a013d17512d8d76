package vnodes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// joiningWorld makes a world of five in which node 2 stands in for node 1, and the
// nodes 4 and 5 are no members yet.
func joiningWorld(t *testing.T) (w *world, key string) {
	t.Helper()
	w = newWorld(t, 5, 1, func(n *simNode) { n.absent.Store(n.id == nodeID(4) || n.id == nodeID(5)) })
	key = keyIn(1, 0)
	w.node(1).mustPut(key, "old")
	w.node(1).stop()
	w.node(2).insist(wire.OpCommand, key, "put first", 1)
	return w, key
}

func (w *world) join(i int) {
	w.t.Helper()
	w.node(i).absent.Store(false)
	w.node(i).start()
}

// Nodes that join after a claim was told learn of it from whoever has noted it, and an
// owner that meets nobody else hears of it from them.
func TestNewcomersLearnWhoHolds(t *testing.T) {
	w, key := joiningWorld(t)
	w.net.setHook(func(f *passing) treatment {
		if f.opened == wire.OpHolds {
			return sever // the holder tells nobody
		}
		return deliver
	})
	for _, i := range []int{4, 5} {
		w.join(i)
		w.until("it has learned", func() bool { return !w.node(i).m.Load().holders.isNewcomer() })
	}
	w.node(2).crash()
	w.node(3).stop()
	w.net.setHook(nil)
	w.node(1).start()
	w.until("the owner hears of it", func() bool {
		got := w.node(1).get(key)
		if got.code == wire.OK {
			t.Fatalf("read %q", got.body)
		}
		return strings.Contains(string(got.body), string(nodeID(2)))
	})
	w.node(2).start()
	w.node(3).start()
	w.settled()
	w.node(1).mustGet(key, "first")
}

// A newcomer that has learned nothing yet counts for nobody: neither for an owner that
// asks nor for one that claims; nor does one that has lost its files.
func TestNewcomersDoNotCount(t *testing.T) {
	w, key := joiningWorld(t)
	w.net.setHook(func(f *passing) treatment {
		if f.opened == wire.OpHintsFor && !f.answer && (f.from == nodeID(4) || f.from == nodeID(5)) {
			return sever // they cannot ask
		}
		return deliver
	})
	w.join(4)
	w.join(5)
	w.node(2).stop()
	w.node(3).stop()
	if got := w.node(4).standIn(wire.OpCommand, key, "put second", 1); got.code != wire.Unavailable {
		t.Errorf("a newcomer stands in with another newcomer: %v", got)
	}
	w.node(1).start()
	if got := w.node(1).get(key); got.code != wire.Unavailable {
		t.Errorf("the owner has asked newcomers alone: %v", got)
	}
	w.net.setHook(nil)
	w.node(2).start()
	w.node(3).start()
	w.settled()
	w.node(1).mustGet(key, "first")

	w.node(3).stop()
	if err := os.Remove(filepath.Join(w.node(3).dir, "journal.bolt")); err != nil {
		t.Fatal(err)
	}
	w.net.setHook(func(f *passing) treatment {
		if f.opened == wire.OpHintsFor && f.from == nodeID(3) {
			return sever
		}
		return deliver
	})
	w.node(3).start()
	if !w.node(3).m.Load().holders.isNewcomer() {
		t.Error("who has lost its notes does not know it")
	}
	w.net.setHook(nil)
	w.until("it has them again", func() bool { return !w.node(3).m.Load().holders.isNewcomer() })
}

// What is learned does not take the place of what is newer, nor of this node's own.
func TestLearnedNotes(t *testing.T) {
	h, err := newHolders(MemoryJournal())
	if err != nil {
		t.Fatal(err)
	}
	m := &Manager{node: nodeID(3), holders: h}
	note := func(id uint64) *holderNote {
		return &holderNote{ID: id, Slots: map[string][]ring.Partition{"kv": {ring.Partition(id)}}}
	}
	if err := m.holders.put(nodeID(1), nodeID(9), note(5)); err != nil {
		t.Fatal(err)
	}
	all := map[ring.NodeID]map[ring.NodeID]*holderNote{nodeID(1): {nodeID(9): note(4), nodeID(8): note(3), nodeID(3): note(7)}}
	if err := m.learn(all); err != nil {
		t.Fatal(err)
	}
	if n := m.holders.note(nodeID(1), nodeID(9)); n.ID != 5 {
		t.Errorf("an older note is taken: %+v", n)
	}
	if m.holders.note(nodeID(1), nodeID(8)) == nil || m.holders.note(nodeID(1), nodeID(3)) != nil {
		t.Errorf("learned: %v", m.holders.of(nodeID(1)))
	}
}
