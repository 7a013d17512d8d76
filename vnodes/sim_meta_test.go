package vnodes

import (
	"context"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

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

func (v *view) Abort(_ context.Context, s Session, _ string) error { return v.n.w.end(s.ID, false) }

func (v *view) LeaderContact() time.Duration { return time.Duration(v.contact.Load()) }

func (v *view) Others() []ring.NodeID {
	var all []ring.NodeID
	for id, n := range v.n.w.nodes {
		if id != v.n.id && !n.absent.Load() {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}

func (v *view) Keepers() []ring.NodeID { return v.Others() }
func (v *view) Alone() bool            { return len(v.Others()) == 0 }
func (v *view) Leaving() bool          { return v.n.leaving.Load() }

func (v *view) Floor(p ring.Partition) (floor, reap uint64) {
	f := v.state().floors[p]
	return f.floor, f.reap
}

// Raise keeps to the rules that the real metadata has a test of.
func (v *view) Raise(_ context.Context, rises []FloorRise, asked []ring.NodeID) error {
	w := v.n.w
	for id := range w.nodes {
		if !slices.Contains(asked, id) {
			return wire.Errorf(wire.Conflict, "%s was not asked", id)
		}
	}
	err := w.commit(func(s *simState) error {
		for _, r := range rises {
			moving := slices.ContainsFunc(s.open, func(o Session) bool { return o.Partition == r.Partition })
			if f := &s.floors[r.Partition]; !moving && s.ring.Gen(r.Partition) == r.Gen && r.Time > f.floor {
				*f = simFloor{floor: r.Time, reap: f.floor}
			}
		}
		return nil
	})
	v.learn(w.state())
	return err
}

func (v *view) Dial(ctx context.Context, node ring.NodeID) (Stream, error) {
	if v.isDead() {
		return nil, io.ErrClosedPipe
	}
	return v.n.w.net.dial(ctx, v.n, node)
}
