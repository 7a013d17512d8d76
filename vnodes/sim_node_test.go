package vnodes

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ringcore/ringcore/metadata/ring"
)

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

	absent  atomic.Bool // no member yet
	leaving atomic.Bool
	m       atomic.Pointer[Manager] // nil while it is down
	view    atomic.Pointer[view]
	streams sync.WaitGroup // that it serves
	wrong   sync.Once      // its first wrong answer is told, not the thousands that follow
}

// tunedBy adds to what is changed in the configuration before the node is opened.
func (n *simNode) tunedBy(more func(*Config)) {
	before := n.tune
	n.tune = func(c *Config) {
		if before != nil {
			before(c)
		}
		more(c)
	}
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
		Rings: v, Transfers: v, Floors: v, Dialer: v, CompareEvery: -1, Up: func(id ring.NodeID) bool { return n.w.nodes[id].up() }, Logger: n.log.logger(),
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
	var undo []func()
	add := func(st Store) {
		if s, ok := st.(*slotStore); ok {
			s.mu.Lock() // no file is made meanwhile
			if inner := s.inner.Load(); inner != nil {
				st = *inner
			}
		}
		if d, ok := st.(*diskStore); ok {
			d.checkpointing.Lock()
			undo = append(undo, d.checkpointing.Unlock)
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
	if m.disk != nil {
		undo = append(undo, freezeLog(m.disk.log))
	}
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

// freezeLog waits until nothing is on its way to the disk and keeps it so.
func freezeLog(l *commitLog) (thaw func()) {
	for {
		l.mu.Lock()
		if len(l.groups) == 0 && l.durableEnd() == positionOf(l.active.number, l.offset) {
			return l.mu.Unlock
		}
		l.mu.Unlock()
		_ = l.flush()
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
