package vnodes

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// world is a cluster in one process: the managers are real; metadata, network and
// clients are made up, so that a test may lose, delay or cut whatever it likes.
type world struct {
	t   testing.TB
	net *simNet

	mu       sync.Mutex
	states   []*simState // all that was ever committed, oldest first
	nodes    map[ring.NodeID]*simNode
	sessions int // begun so far
	onCommit func(*simNode, Session) fate
}

// simState is one committed state of the metadata.
type simState struct {
	ring  *ring.Ring
	open  []Session
	ended map[string]bool // committed or not, by session id

	floors [simQ]simFloor
}

// simFloor is a partition's floor, and what it was before.
type simFloor struct{ floor, reap uint64 }

// fate is what becomes of a proposal.
type fate int

const (
	applied    fate = iota
	lostBefore      // nobody hears of it
	lostAfter       // it is committed, and its proposer never learns that
)

var errLost = errors.New("the answer of the leader got lost")

const simQ = ring.MinPartitions

func nodeID(i int) ring.NodeID { return ring.NodeID(fmt.Sprintf("%016x", i)) }

// newWorld starts nodes 1 to n. Every partition's list is node 1, 2, ... up to replicas.
func newWorld(t testing.TB, n, replicas int, change ...func(*simNode)) *world {
	t.Helper()
	r := ring.New(simQ, replicas, nodeID(1))
	for p := range r.Assignments {
		for i := 2; i <= replicas; i++ {
			r.Assignments[p].Replicas = append(r.Assignments[p].Replicas, ring.Replica{Node: nodeID(i)})
		}
	}
	return newWorldOf(t, n, r, change...)
}

// newWorldOf starts nodes 1 to n with the ring r.
func newWorldOf(t testing.TB, n int, r *ring.Ring, change ...func(*simNode)) *world {
	t.Helper()
	w := &world{t: t, nodes: make(map[ring.NodeID]*simNode)}
	w.net = &simNet{w: w, links: make(map[*simLink]struct{})}
	w.states = []*simState{{ring: r, ended: make(map[string]bool)}}
	for i := 1; i <= n; i++ {
		x := &simNode{w: w, id: nodeID(i), dir: t.TempDir(), log: &logs{}, services: []Service{simService("kv", 0)}}
		for _, c := range change {
			c(x)
		}
		w.nodes[x.id] = x
	}
	for i := 1; i <= n; i++ {
		if !w.node(i).absent.Load() {
			w.node(i).start()
		}
	}
	t.Cleanup(func() {
		for _, x := range w.nodes {
			x.stop()
		}
		if t.Failed() {
			w.dump()
		}
	})
	for _, x := range w.nodes {
		if m := x.m.Load(); m != nil {
			w.until("each has learned what the others have noted", func() bool { return !m.holders.isNewcomer() })
		}
	}
	return w
}

func (w *world) node(i int) *simNode { return w.nodes[nodeID(i)] }

func (w *world) state() *simState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.states[len(w.states)-1]
}

func (w *world) ring() *ring.Ring { return w.state().ring }

// commit makes the next state and tells everybody who listens.
func (w *world) commit(change func(s *simState) error) error {
	w.mu.Lock()
	old := w.states[len(w.states)-1]
	s := &simState{ring: old.ring, open: slices.Clone(old.open), ended: make(map[string]bool), floors: old.floors}
	for id, c := range old.ended {
		s.ended[id] = c
	}
	err := change(s)
	if err == nil {
		s.ring = s.ring.WithEpoch(old.ring.Epoch + 1)
		w.states = append(w.states, s)
	}
	var views []*view
	for _, n := range w.nodes {
		if v := n.view.Load(); v != nil {
			views = append(views, v)
		}
	}
	w.mu.Unlock()
	if err == nil {
		for _, v := range views {
			if !v.deaf.Load() {
				v.learn(s)
			}
		}
	}
	return err
}

// begin opens a session for step.
func (w *world) begin(step ring.Step) Session {
	w.t.Helper()
	var begun Session
	err := w.commit(func(s *simState) error {
		r, err := s.ring.Begin(step)
		if err != nil {
			return err
		}
		w.sessions++
		s.ring = r
		begun = Session{ID: fmt.Sprintf("s%03d", w.sessions), Step: step, Gen: r.Gen(step.Partition)}
		s.open = append(s.open, begun)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return begun
}

// end ends an open session, as done or as aborted.
func (w *world) end(id string, committed bool) error {
	return w.commit(func(s *simState) error {
		i := slices.IndexFunc(s.open, func(o Session) bool { return o.ID == id })
		if i < 0 {
			if was, ok := s.ended[id]; ok && was == committed {
				return nil
			}
			return wire.Errorf(wire.Conflict, "session %s is not open", id)
		}
		change := s.ring.Abort
		if committed {
			change = s.ring.Commit
		}
		r, err := change(s.open[i].Step)
		if err != nil {
			return err
		}
		s.ring, s.open = r, slices.Delete(s.open, i, i+1)
		s.ended[id] = committed
		return nil
	})
}

// abort aborts the session id: "s001" for the first one begun, and so on.
func (w *world) abort(id string) {
	if err := w.end(id, false); err != nil {
		w.t.Error(err)
	}
}

// forget makes the metadata remember no ended session.
func (w *world) forget() {
	w.t.Helper()
	if err := w.commit(func(s *simState) error { clear(s.ended); return nil }); err != nil {
		w.t.Fatal(err)
	}
}

// do carries out step and waits until it is done and cleaned up after.
func (w *world) do(step ring.Step) Session {
	w.t.Helper()
	s := w.begin(step)
	w.committed(s)
	w.settled()
	return s
}

func (w *world) committed(s Session) {
	w.t.Helper()
	w.until("session "+s.ID+" committed", func() bool { return w.state().ended[s.ID] })
}

func (w *world) setFate(f func(*simNode, Session) fate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onCommit = f
}

// until waits for a condition.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(15 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("not within 15 s: %s", what)
		}
	}
}

// settled waits until nothing is under way, and nothing is anywhere but where the
// ring says.
func (w *world) settled() {
	w.t.Helper()
	var left string
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		if left = w.unsettled(); left == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("not settled within 20 s: %s", left)
		}
	}
}

// unsettled says what keeps the world from being at rest.
func (w *world) unsettled() string {
	st := w.state()
	if len(st.open) > 0 {
		return fmt.Sprintf("session %v is open", st.open[0])
	}
	for _, n := range w.nodes {
		m := n.m.Load()
		if m == nil {
			return fmt.Sprintf("node %s is down", n.id)
		}
		if m.ring().Epoch != st.ring.Epoch {
			return fmt.Sprintf("node %s has epoch %d of %d", n.id, m.ring().Epoch, st.ring.Epoch)
		}
		if p := m.Progress(); len(p) > 0 {
			return fmt.Sprintf("node %s drives %v: %s", n.id, p[0].Session, p[0].Phase)
		}
		if notes, _ := m.journal.Sessions(); len(notes) > 0 {
			return fmt.Sprintf("node %s keeps the note %v", n.id, notes[0])
		}
		if held := m.Holding(); held > 0 {
			return fmt.Sprintf("node %s holds %d hint stores", n.id, held)
		}
		if of := m.holders.owners(); len(of) > 0 {
			return fmt.Sprintf("node %s has notes of holders for %v", n.id, of)
		}
		if bad := n.strayFile(m, st.ring); bad != "" {
			return bad
		}
	}
	return ""
}

func (w *world) dump() {
	st := w.state()
	for p, a := range st.ring.Assignments {
		w.t.Logf("partition %d: gen %d rebuilt %d %v", p, a.Gen, a.Rebuilt, a.Replicas)
	}
	w.t.Logf("open %v, ended %v", st.open, st.ended)
	for _, n := range w.nodes {
		w.t.Logf("log of node %s:\n%s", n.id, n.log)
	}
}
