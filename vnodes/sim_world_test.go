package vnodes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// world is a cluster in one process: the managers are real; metadata, network and
// clients are made up, so that a test may lose, delay or cut whatever it likes.
type world struct {
	t   *testing.T
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
}

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
func newWorld(t *testing.T, n, replicas int, change ...func(*simNode)) *world {
	t.Helper()
	w := &world{t: t, nodes: make(map[ring.NodeID]*simNode)}
	w.net = &simNet{w: w, links: make(map[*simLink]struct{})}
	r := ring.New(simQ, replicas, nodeID(1))
	for p := range r.Assignments {
		for i := 2; i <= replicas; i++ {
			r.Assignments[p].Replicas = append(r.Assignments[p].Replicas, ring.Replica{Node: nodeID(i)})
		}
	}
	w.states = []*simState{{ring: r, ended: make(map[string]bool)}}
	for i := 1; i <= n; i++ {
		x := &simNode{w: w, id: nodeID(i), dir: t.TempDir(), log: &logs{}, services: []Service{simService("kv", 0)}}
		for _, c := range change {
			c(x)
		}
		w.nodes[x.id] = x
	}
	for i := 1; i <= n; i++ {
		w.node(i).start()
	}
	t.Cleanup(func() {
		for _, x := range w.nodes {
			x.stop()
		}
		if t.Failed() {
			w.dump()
		}
	})
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
	s := &simState{ring: old.ring, open: slices.Clone(old.open), ended: make(map[string]bool)}
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

// logs collects what a node logs, for the tests that fail and for those that look for something.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text.Len() > 200<<10 {
		return len(b), nil
	}
	return l.text.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// simNode is a node over all its lives.
type simNode struct {
	w        *world
	id       ring.NodeID
	dir      string
	memory   bool
	services []Service
	tune     func(*Config)
	log      *logs
	born     bool // has been started before

	leaving atomic.Bool
	m       atomic.Pointer[Manager] // nil while it is down
	view    atomic.Pointer[view]
	streams sync.WaitGroup // that it serves
}

// start opens the node with the newest metadata.
func (n *simNode) start() *Manager {
	n.w.t.Helper()
	return n.startAt(n.w.state())
}

// startAt opens the node with the metadata of st: what it had on disk.
func (n *simNode) startAt(st *simState) *Manager {
	n.w.t.Helper()
	v := &view{n: n, changed: make(chan struct{}), gone: make(chan struct{})}
	v.st = st
	cfg := Config{
		ClusterID: "sim", Node: n.id, Dir: n.dir, Memory: n.memory, Services: n.services, Fresh: !n.born,
		Rings: v, Transfers: v, Dialer: v, Up: func(id ring.NodeID) bool { return n.w.nodes[id].up() }, Logger: n.log.logger(),
	}
	if n.tune != nil {
		n.tune(&cfg)
	}
	n.view.Store(v)
	m, err := Open(cfg)
	if err != nil {
		n.w.t.Fatalf("open node %s: %v", n.id, err)
	}
	n.m.Store(m)
	n.born = true
	return m
}

func (n *simNode) up() bool { return n.m.Load() != nil }

// stop closes the node.
func (n *simNode) stop() {
	m := n.m.Swap(nil)
	if m == nil {
		return
	}
	n.w.net.cutOff(n.id)
	n.view.Load().die()
	if err := m.Close(); err != nil && !errors.Is(err, ErrClosed) {
		n.w.t.Errorf("close node %s: %v", n.id, err)
	}
	n.streams.Wait()
}

// restart stops and starts the node.
func (n *simNode) restart() *Manager {
	n.w.t.Helper()
	n.stop()
	return n.start()
}

// crash ends the node as a kill would: what is durable at one moment is all that
// is left. The node starts again on a copy of that.
func (n *simNode) crash() {
	n.w.t.Helper()
	m := n.m.Swap(nil)
	if m == nil {
		return
	}
	thaw := freeze(m)
	n.view.Load().die()
	n.w.net.cutOff(n.id)
	var dir string
	var err error
	for try := 0; try == 0 || err != nil && try < 10; try++ { // again if a file has gone meanwhile
		dir = n.w.t.TempDir()
		err = os.CopyFS(dir, os.DirFS(n.dir))
	}
	thaw()
	if err != nil {
		n.w.t.Errorf("copy the files of node %s: %v", n.id, err)
	}
	_ = m.Close() // it is dead already
	n.streams.Wait()
	n.dir = dir
}

// freeze keeps everything from becoming durable until thaw is called.
func freeze(m *Manager) (thaw func()) {
	m.installMu.Lock()
	m.mu.Lock()
	var files []*boltFile
	add := func(st Store) {
		if s, ok := st.(*slotStore); ok {
			s.mu.Lock() // no file is made meanwhile
			if inner := s.inner.Load(); inner != nil {
				st = *inner
			}
		}
		if b, ok := st.(*boltStore); ok {
			files = append(files, b.file)
		}
	}
	var stores []Store
	for _, svc := range m.services {
		for p := range svc.vnodes {
			if v := svc.vnodes[p].Load(); v != nil {
				stores = append(stores, v.store)
			}
		}
	}
	for _, v := range m.hints {
		stores = append(stores, v.store)
	}
	for _, a := range m.arrived {
		for _, st := range a.stores {
			stores = append(stores, st)
		}
	}
	for _, st := range stores {
		add(st)
	}
	if m.journal.file != nil {
		files = append(files, m.journal.file)
	}
	var undo []func()
	for _, f := range files {
		if tx, err := f.db.Begin(true); err == nil {
			undo = append(undo, func() { _ = tx.Rollback() })
		}
	}
	return func() {
		for _, u := range undo {
			u()
		}
		for _, st := range stores {
			if s, ok := st.(*slotStore); ok {
				s.mu.Unlock()
			}
		}
		m.mu.Unlock()
		m.installMu.Unlock()
	}
}

// strayFile names a file that the ring does not give to the node.
func (n *simNode) strayFile(m *Manager, r *ring.Ring) string {
	names, err := m.storage.List()
	if err != nil {
		return err.Error()
	}
	want := make(map[string]bool)
	for _, svc := range m.services {
		for p := range r.Assignments {
			if within(r.Place(ring.Partition(p), n.id), svc.replicas(r)) {
				want[slotFile(svc, ring.Partition(p))] = true
			}
		}
	}
	for _, name := range names {
		if !want[name] {
			return fmt.Sprintf("node %s has the file %s", n.id, name)
		}
		if !m.journal.HasFile(name) {
			return fmt.Sprintf("node %s has the file %s, unknown to its journal", n.id, name)
		}
	}
	return ""
}

// view is the metadata as one life of a node knows it.
type view struct {
	n       *simNode
	deaf    atomic.Bool // hears of no new state by itself
	alone   atomic.Bool // cannot ask either
	contact atomic.Int64
	gone    chan struct{} // closed when this life ends

	mu      sync.Mutex
	st      *simState
	changed chan struct{}
	dead    bool
}

func (v *view) die() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.dead {
		v.dead = true
		close(v.gone)
	}
}

// learn takes a newer state.
func (v *view) learn(s *simState) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.dead || s.ring.Epoch <= v.st.ring.Epoch {
		return
	}
	v.st = s
	close(v.changed)
	v.changed = make(chan struct{})
}

func (v *view) state() *simState {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.st
}

func (v *view) isDead() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.dead
}

func (v *view) Ring() *ring.Ring { return v.state().ring }

func (v *view) Changed() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changed
}

func (v *view) Fetch(_ context.Context, epoch ring.Epoch, _ ring.NodeID) error {
	if v.Ring().Epoch >= epoch {
		return nil
	}
	if !v.isDead() && !v.alone.Load() {
		v.learn(v.n.w.state())
	}
	if have := v.Ring().Epoch; have < epoch {
		return &wire.Error{Code: wire.Behind, Epoch: uint64(have)}
	}
	return nil
}

func (v *view) Sessions() []Session { return v.state().open }

func (v *view) Outcome(id string) (committed, known bool) {
	committed, known = v.state().ended[id]
	return committed, known
}

func (v *view) Commit(ctx context.Context, s Session) error {
	w := v.n.w
	w.mu.Lock()
	decide := w.onCommit
	w.mu.Unlock()
	f := applied
	if decide != nil {
		f = decide(v.n, s)
	}
	if ctx.Err() != nil || v.isDead() || f == lostBefore {
		return errLost
	}
	err := w.end(s.ID, true)
	if f == lostAfter {
		return errLost
	}
	v.learn(w.state())
	return err
}

func (v *view) LeaderContact() time.Duration { return time.Duration(v.contact.Load()) }

func (v *view) Others() []ring.NodeID {
	var all []ring.NodeID
	for id := range v.n.w.nodes {
		if id != v.n.id {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}

func (v *view) Keepers() []ring.NodeID { return v.Others() }
func (v *view) Leaving() bool          { return v.n.leaving.Load() }

func (v *view) Dial(ctx context.Context, node ring.NodeID) (Stream, error) {
	if v.isDead() {
		return nil, io.ErrClosedPipe
	}
	return v.n.w.net.dial(ctx, v.n, node)
}
