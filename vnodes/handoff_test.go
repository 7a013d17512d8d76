package vnodes

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// smallChunks makes a transfer of a few hundred records take many frames.
func smallChunks(n *simNode) { n.tune = func(c *Config) { c.ChunkBytes = 1 << 10 } }

func inMemory(n *simNode) { n.memory = true }

// Each kind of step, under traffic: nothing acknowledged is lost, nothing is read
// that was replaced, two nodes never serve one slot, and in the end all files are
// where the ring says and nowhere else.
func TestStepsUnderTraffic(t *testing.T) {
	for name, c := range map[string]struct {
		replicas int
		steps    func(p ring.Partition) []ring.Step
	}{
		"move": {1, func(p ring.Partition) []ring.Step {
			return []ring.Step{move(p, 0, 1, 2), move(p, 0, 2, 3), move(p, 0, 3, 1)}
		}},
		"swap": {2, func(p ring.Partition) []ring.Step {
			return []ring.Step{swap(p, 0, 1, 1, 2), swap(p, 0, 1, 2, 1)}
		}},
		"add and drop": {1, func(p ring.Partition) []ring.Step {
			return []ring.Step{add(p, 1, 2), add(p, 2, 3), drop(p, 2, 3), swap(p, 0, 1, 1, 2), drop(p, 1, 1), add(p, 1, 3)}
		}},
		"move of three": {3, func(p ring.Partition) []ring.Step {
			return []ring.Step{move(p, 1, 2, 4), move(p, 0, 1, 2), swap(p, 0, 2, 2, 3), drop(p, 2, 2)}
		}},
	} {
		for _, storage := range []string{"disk", "memory"} {
			t.Run(name+" "+storage, func(t *testing.T) {
				w := newWorld(t, 4, c.replicas, smallChunks, func(n *simNode) {
					n.memory = storage == "memory"
					n.services = []Service{simService("one", 1), simService("all", 3)}
				})
				w.guardOwners()
				const p = 3
				one := w.startTraffic("one", 1, keysIn(p, 60))
				all := w.startTraffic("all", 3, keysIn(p, 60))
				for _, s := range c.steps(p) {
					s := w.begin(s)
					w.committed(s)
				}
				w.settled()
				one.end()
				all.end()
			})
		}
	}
}

// What the source answers after a move, and what the target answers before it.
func TestMove(t *testing.T) {
	w := newWorld(t, 2, 1, smallChunks)
	const p, records = 2, 300
	a, b := w.node(1), w.node(2)
	a.fill(p, records)
	file := slotFile(a.m.Load().services[wire.ServiceID("kv")], p)
	old := w.ring()

	// The target serves nothing before the commit, however far the transfer is.
	var frames atomic.Int64
	w.net.setHook(func(f *passing) treatment {
		if f.opened == wire.OpHandoff && frames.Add(1)%5 == 0 {
			if got := b.get(keyIn(p, 0)); got.code != wire.Moved {
				t.Errorf("the target answers a read: %v", got)
			}
		}
		return deliver
	})
	w.setFate(func(*simNode, Session) fate {
		b.mustRefuse(keyIn(p, 0), wire.Moved)
		if ph := a.phase(p); ph != proposed {
			t.Errorf("the source proposes in phase %d", ph)
		}
		return applied
	})
	w.do(move(p, 0, 1, 2))
	if frames.Load() < 10 {
		t.Errorf("only %d frames", frames.Load())
	}
	b.filled(p, records)
	a.mustRefuse(keyIn(p, 0), wire.Moved)
	if got := a.ask(request(wire.OpRead, old, "kv", keyIn(p, 0), "")); got.code != wire.Moved || got.epoch != uint64(w.ring().Epoch) {
		t.Errorf("a read planned with the old ring: %v, epoch %d", got, got.epoch)
	}
	if names, err := a.m.Load().storage.List(); err != nil || slices.Contains(names, file) {
		t.Errorf("files of the source %v, %v", names, err)
	}
	if !a.m.Load().Vacant() || b.m.Load().Vacant() {
		t.Error("the source is not vacant, or the target is")
	}
}

// A request held while the switch is on is answered MOVED as soon as it is done.
func TestHeldRequestsMove(t *testing.T) {
	w := newWorld(t, 2, 1)
	const p = 2
	a := w.node(1)
	a.fill(p, 3)
	var held []<-chan answer
	w.setFate(func(*simNode, Session) fate {
		for _, op := range []wire.Op{wire.OpCommand, wire.OpRead, wire.OpEffect} {
			r := request(op, w.ring(), "kv", keyIn(p, 0), "put held")
			r.Effect = AppendWrites(nil, []Write{{Key: []byte("x"), Record: Record{Stamp: Stamp{Time: 1}}}})
			done, _ := a.send(r)
			held = append(held, done)
		}
		return applied
	})
	w.do(move(p, 0, 1, 2))
	for i, h := range held {
		if got := <-h; got.code != wire.Moved {
			t.Errorf("request %d: %v", i, got)
		}
	}
}

// The stream breaks after any number of frames, in both directions: the transfer is
// tried again and loses nothing.
func TestBrokenStreams(t *testing.T) {
	w := newWorld(t, 2, 1, smallChunks)
	const p, records = 5, 40
	w.node(1).fill(p, records)
	for at, broke := 0, true; broke; at++ {
		broke = false
		w.net.setHook(func(f *passing) treatment {
			if f.opened != wire.OpHandoff || f.n != at || broke {
				return deliver
			}
			broke = true
			return sever
		})
		from, to := 1+at%2, 2-at%2
		w.do(move(p, 0, from, to))
		w.node(to).filled(p, records)
		if !broke && at < 8 {
			t.Errorf("a transfer of %d frames", at)
		}
	}
}

// The target's copy differs from the source: it is not READY, and the whole is sent
// again.
func TestDigestMismatch(t *testing.T) {
	w := newWorld(t, 2, 1, smallChunks)
	const p, records = 5, 60
	w.node(1).fill(p, records)
	var chunks, refused atomic.Int64
	w.net.setHook(func(f *passing) treatment {
		if f.opened == wire.OpHandoff && f.Kind == wire.KindChunk && !f.answer && chunks.Add(1) == 2 {
			// A record that the fold has passed and no tail has noted.
			v := w.node(1).m.Load().services[wire.ServiceID("kv")].vnodes[p].Load()
			if err := appendWait(v.store, []Write{{Key: []byte("!"), Record: Record{Stamp: Stamp{Time: 1}, Value: []byte("late")}}}); err != nil {
				t.Error(err)
			}
		}
		if f.ready() && f.Code == wire.Conflict {
			refused.Add(1)
		}
		return deliver
	})
	w.do(move(p, 0, 1, 2))
	if refused.Load() != 1 {
		t.Errorf("refused %d times", refused.Load())
	}
	w.node(2).filled(p, records)
	v := w.node(2).m.Load().services[wire.ServiceID("kv")].vnodes[p].Load()
	if r, ok, err := v.store.Get([]byte("!")); !ok || err != nil || string(r.Value) != "late" {
		t.Errorf("the late record: %q, %v, %v", r.Value, ok, err)
	}
}

// The leader aborts the session at each point before the commit: the source serves
// on, the target keeps nothing, and the next session goes through.
func TestAbort(t *testing.T) {
	const p, records = 4, 60
	for _, at := range []string{"open", "fold", "sealed", "ready", "proposed"} {
		t.Run(at, func(t *testing.T) {
			w := newWorld(t, 2, 1, smallChunks)
			w.node(1).fill(p, records)
			var aborted atomic.Bool
			abort := func() {
				if aborted.CompareAndSwap(false, true) {
					w.abort("s001")
				}
			}
			w.net.setHook(func(f *passing) treatment {
				switch {
				case f.opened != wire.OpHandoff || aborted.Load():
				case at == "open" && f.n == 0, at == "fold" && f.n == 5, at == "sealed" && f.end(), at == "ready" && f.ready():
					abort()
				}
				return deliver
			})
			w.setFate(func(*simNode, Session) fate {
				if at == "proposed" {
					abort()
				}
				return applied
			})
			w.begin(move(p, 0, 1, 2))
			w.until("aborted", aborted.Load)
			w.settled()
			if w.state().ended["s001"] {
				t.Fatal("the session was committed")
			}
			w.node(1).filled(p, records)
			w.node(2).mustRefuse(keyIn(p, 0), wire.Moved)
			w.do(move(p, 0, 1, 2))
			w.node(2).filled(p, records)
		})
	}
}

// A target that does not answer the end of a transfer keeps the writers waiting for
// no longer than the seal's time.
func TestSealEnds(t *testing.T) {
	for _, silent := range []string{"ready", "chunk"} {
		t.Run(silent, func(t *testing.T) {
			w := newWorld(t, 2, 1, func(n *simNode) {
				n.tune = func(c *Config) { c.SealTimeout, c.ChunkBytes = 250*time.Millisecond, 1 }
			})
			const p = 4
			a := w.node(1)
			a.fill(p, 40)
			var stalled atomic.Int64
			w.net.setHook(func(f *passing) treatment {
				if f.opened != wire.OpHandoff || !f.answer || stalled.Load() > 2 {
					return deliver
				}
				// From the seal on the target says nothing.
				if silent == "ready" && f.ready() || silent == "chunk" && a.phase(p) == sealed {
					stalled.Add(1)
					return lose
				}
				return deliver
			})
			s := w.begin(move(p, 0, 1, 2))
			began := time.Now()
			for i := 0; !w.state().ended[s.ID]; i++ {
				if got := a.put(keyIn(p, i%40), fmt.Sprint("value", i%40)); got.code != wire.OK && got.code != wire.Moved {
					t.Fatalf("put: %v", got)
				}
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("took %v", took)
			}
			if silent == "ready" && stalled.Load() == 0 {
				t.Error("nothing was lost")
			}
			w.settled()
			w.node(2).filled(p, 40)
		})
	}
}

// A switch is proposed only by a source that has just heard of a leader.
func TestNoProposalWithoutLeader(t *testing.T) {
	w := newWorld(t, 2, 1)
	const p = 1
	w.node(1).fill(p, 3)
	w.node(1).view.Load().contact.Store(int64(time.Hour))
	w.setFate(func(n *simNode, _ Session) fate {
		if n.view.Load().contact.Load() > 0 {
			t.Error("proposed although no leader is there")
		}
		return applied
	})
	s := w.begin(move(p, 0, 1, 2))
	w.until("the transfer waits for a leader", func() bool {
		all := w.node(1).m.Load().Progress()
		return len(all) == 1 && all[0].Phase == "tail" && all[0].Records == 3
	})
	w.node(1).mustPut(keyIn(p, 0), "value0")
	w.node(1).view.Load().contact.Store(0)
	w.committed(s)
	w.settled()
	w.node(2).filled(p, 3)
}

// A slot that waits for its hints can be asked to move: it does when they are here.
func TestRecoveringSlotMoves(t *testing.T) {
	w := newWorld(t, 3, 1)
	const p = 1
	w.node(1).fill(p, 3)
	w.node(1).stop()
	w.node(2).mustHint(keyIn(p, 0), "newer", 1)
	var blocked atomic.Bool
	blocked.Store(true)
	w.net.setHook(func(f *passing) treatment {
		if hinted(f) && blocked.Load() {
			return sever
		}
		return deliver
	})
	w.node(1).start()
	s := w.begin(move(p, 0, 1, 3))
	w.until("an attempt has ended", func() bool { return strings.Contains(w.node(1).log.String(), "transfer attempt ended") })
	if ph := w.node(1).phase(p); ph != recovering {
		t.Errorf("phase %d", ph)
	}
	blocked.Store(false)
	w.committed(s)
	w.settled()
	w.node(3).mustGet(keyIn(p, 0), "newer")
	w.node(3).mustGet(keyIn(p, 1), "value1")
}

// followedStore starts a tail in the middle of Append.
type followedStore struct {
	Store
	v    *vnode
	tail *tail
}

func (s *followedStore) Append(writes []Write, done func(error)) {
	s.tail = s.v.follow()
	s.Store.Append(writes, done)
}

// A tail that begins while a record is being appended has it, as no wait for what
// was appended before need include it.
func TestTailBegunDuringAppend(t *testing.T) {
	st, err := MemoryStorage().Create(Identity{}, "kv/p0000.bolt")
	if err != nil {
		t.Fatal(err)
	}
	v := &vnode{tails: make(map[*tail]struct{})}
	followed := &followedStore{Store: st, v: v}
	v.store = followed
	v.append([]Write{{Key: []byte("k"), Record: Record{Stamp: Stamp{Time: 1}}}}, func(error) {})
	if _, ok := followed.tail.take()["k"]; !ok {
		t.Error("the tail has missed the record")
	}
}
