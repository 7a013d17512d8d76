package dataplane

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/ringcore/ringcore/metadata/ring"
)

// Liveness says which nodes are up, as far as this node can tell. Gossip and
// requests bring the evidence; requests weigh more, since they are what matters:
//
//	Failed                 down until Worked
//	Worked                 up, also while gossip has not heard of the node or still thinks it dead
//	GossipAlive(n, true)   up, unless Failed
//	GossipAlive(n, false)  down until Worked afresh or alive again
//	nothing heard          not up, but not down either: worth a try, see MaybeUp
//
// All methods may be called from any goroutine; none blocks.
type Liveness struct {
	self ring.NodeID
	up   atomic.Pointer[map[ring.NodeID]bool] // the nodes heard of, and whether they are up; never changed once stored

	mu      sync.Mutex // held for a few instructions
	nodes   map[ring.NodeID]evidence
	changed chan struct{} // closed and replaced when up changes
}

// evidence is what is known of one node.
type evidence struct {
	alive  bool // gossip's last word
	failed bool // a request failed since one last worked
	worked bool // a request worked since it last failed or gossip said dead
}

func (e evidence) up() bool { return !e.failed && (e.alive || e.worked) }

// NewLiveness returns the liveness as node self sees it: nobody but self is up.
func NewLiveness(self ring.NodeID) *Liveness {
	l := &Liveness{self: self, nodes: make(map[ring.NodeID]evidence), changed: make(chan struct{})}
	l.up.Store(&map[ring.NodeID]bool{self: true})
	return l
}

// Up reports whether node is up; this node always is.
func (l *Liveness) Up(node ring.NodeID) bool { return (*l.up.Load())[node] }

// MaybeUp reports whether node is worth a request: it is up, or nothing at all is
// known of it yet, as of one that has just joined.
func (l *Liveness) MaybeUp(node ring.NodeID) bool {
	up, heard := (*l.up.Load())[node]
	return up || !heard
}

// Down lists the nodes that were heard of and are not up, in no order.
func (l *Liveness) Down() []ring.NodeID {
	l.mu.Lock()
	defer l.mu.Unlock()
	var down []ring.NodeID
	for node, e := range l.nodes {
		if !e.up() {
			down = append(down, node)
		}
	}
	return down
}

// Unsure lists the nodes that are up by a request alone, without gossip's word, in no
// order. That request may have been their last: nobody notices when they go but by asking.
func (l *Liveness) Unsure() []ring.NodeID {
	l.mu.Lock()
	defer l.mu.Unlock()
	var unsure []ring.NodeID
	for node, e := range l.nodes {
		if e.up() && !e.alive {
			unsure = append(unsure, node)
		}
	}
	return unsure
}

// Failed notes that node could not be reached, or does not answer.
func (l *Liveness) Failed(node ring.NodeID) {
	l.update(node, func(e *evidence) { e.failed, e.worked = true, false })
}

// Worked notes that node has just answered. It costs nothing for a node that is up.
func (l *Liveness) Worked(node ring.NodeID) {
	if l.Up(node) {
		return
	}
	l.update(node, func(e *evidence) { e.failed, e.worked = false, true })
}

// GossipAlive notes what gossip says of node now.
func (l *Liveness) GossipAlive(node ring.NodeID, alive bool) {
	l.update(node, func(e *evidence) {
		e.alive = alive
		e.worked = e.worked && alive
	})
}

// Forget drops all that is known of node, which is no member any longer.
func (l *Liveness) Forget(node ring.NodeID) {
	l.update(node, func(e *evidence) { *e = evidence{} })
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.nodes, node)
	up := maps.Clone(*l.up.Load())
	delete(up, node)
	l.up.Store(&up)
}

// Changed returns a channel that is closed when the set of nodes that are up
// next changes. Ask for it first, then for Up.
func (l *Liveness) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *Liveness) update(node ring.NodeID, note func(*evidence)) {
	if node == l.self {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.nodes[node]
	was, heard := (*l.up.Load())[node]
	note(&e)
	l.nodes[node] = e
	if e.up() == was && heard {
		return
	}
	up := maps.Clone(*l.up.Load())
	up[node] = e.up()
	l.up.Store(&up)
	if e.up() != was {
		close(l.changed)
		l.changed = make(chan struct{})
	}
}
