package metadata

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Store is one node's copy of the metadata and its door to the leader. Its methods
// may be called from any goroutine.
type Store struct {
	cfg    Config
	waits  waits
	self   ring.NodeID
	log    *slog.Logger
	fsm    *fsm
	raft   *raftNode
	loaded ring.Epoch    // of the state.json found when opened
	prod   chan struct{} // one slot: there is a newer State to persist
	failpoints

	current  atomic.Pointer[State] // newest seen; written under mu
	cache    atomic.Pointer[encodedState]
	draining atomic.Bool // what this node says of itself; see Drain
	leading  atomic.Bool // this node leads, and has applied what others committed; set by lead

	mu       sync.Mutex                  // held only to read or change the fields below
	changed  chan struct{}               // closed when current changes, then replaced
	heard    time.Time                   // when the leader was surely there, told by a watch
	toldHead ring.NodeID                 // who leads, told by a watch
	history  []*State                    // published lately, oldest first; at most historyKept
	deltas   map[ring.Epoch]encodedDelta // to the newest of them
	whole    bool                        // the last delta did not fit: the next watch asks for a whole State

	fetching chan struct{} // one slot: who holds it fetches for all

	failed   chan struct{} // closed when err is set
	failOnce sync.Once
	err      error // why the Store cannot go on

	ctx    context.Context // of the goroutines; ended by Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // persist, follow, announce, lead, govern
}

// Open starts the node's Store. first is the State of Birth, which makes a cluster
// of one; or one received through a join, which is written down before Open
// returns; or nil, to go on from what lies in cfg.Dir. If both are there, the
// newer one counts. A corrupt state.json is ErrCorruptState.
func Open(cfg Config, first *State) (*Store, error) {
	cfg = cfg.withDefaults()
	cfg.Self = claiming(cfg.Self)
	st, loaded, err := openState(&cfg, first)
	if err != nil {
		return nil, err
	}
	s := &Store{
		cfg: cfg, waits: cfg.Timing.waits(), self: cfg.Self.ID, log: cfg.Logger.With("component", "metadata"),
		loaded: loaded, prod: make(chan struct{}, 1), changed: make(chan struct{}), fetching: make(chan struct{}, 1), failed: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.current.Store(st)
	s.remember(st)
	s.failpoints = failpoints{cfg.Failpoint}
	s.fsm = &fsm{publish: func(st *State) { s.publish(st) }, fail: s.fail, failpoints: s.failpoints}
	if s.raft, err = openRaft(&s.cfg, s.waits, s.fsm, st, s.log); err != nil {
		s.cancel()
		return nil, err
	}
	for _, run := range []func(){s.persist, s.follow, s.announce, s.lead, s.govern} {
		s.wg.Add(1)
		go run()
	}
	return s, nil
}

// openState finds the State to begin with, and makes it durable if it is not yet.
func openState(cfg *Config, first *State) (st *State, loaded ring.Epoch, err error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, 0, fmt.Errorf("open metadata: %w", err)
	}
	st, err = loadState(cfg.Dir)
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("open metadata: %w", err)
	case st == nil && first == nil:
		return nil, 0, fmt.Errorf("open metadata: no %s in %s, and nothing to begin with", stateFile, cfg.Dir)
	case st != nil && first != nil && st.ClusterID != first.ClusterID:
		return nil, 0, fmt.Errorf("open metadata: %s belongs to cluster %s, not %s", cfg.Dir, st.ClusterID, first.ClusterID)
	}
	if st == nil || first != nil && first.Epoch > st.Epoch {
		st = first
		if err := saveState(cfg.Dir, st); err != nil {
			return nil, 0, fmt.Errorf("open metadata: %w", err)
		}
	}
	if cfg.ClusterID != "" && st.ClusterID != cfg.ClusterID {
		return nil, 0, fmt.Errorf("open metadata: %s belongs to cluster %s, not %s", cfg.Dir, st.ClusterID, cfg.ClusterID)
	}
	if why := st.lacks(&cfg.Self); why != "" {
		return nil, 0, fmt.Errorf("open metadata: %w: %s", ErrNewer, why)
	}
	return st, st.Epoch, nil
}

// State is the newest State seen. Callers must not change what it points to.
func (s *Store) State() *State { return s.current.Load() }

// Ring is State().Ring.
func (s *Store) Ring() *ring.Ring { return s.current.Load().Ring }

// Changed is closed when State changes next. Get it before reading State, so that
// no change is missed.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// WaitEpoch waits until State has at least that epoch, or ctx or the Store ends.
func (s *Store) WaitEpoch(ctx context.Context, epoch ring.Epoch) error {
	for {
		changed := s.Changed()
		have := s.State().Epoch
		if have >= epoch {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for epoch %d, have %d: %w", epoch, have, context.Cause(ctx))
		case <-s.ctx.Done():
			return errClosed()
		}
	}
}

// publish makes st the current State if it is newer.
func (s *Store) publish(st *State) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.current.Load(); st.Epoch <= have.Epoch || st.ClusterID != have.ClusterID || st.Generation() != have.Generation() {
		return false
	}
	s.current.Store(st)
	s.remember(st)
	close(s.changed)
	s.changed = make(chan struct{})
	s.prodPersist()
	return true
}

// Learn takes a newer State from another node. An older one is ignored; one of
// another cluster or generation is WrongCluster: a Store lives in one generation.
func (s *Store) Learn(encoded []byte) error {
	st, err := Decode(encoded)
	if errors.Is(err, ErrNewer) {
		s.fail(fmt.Errorf("the cluster's metadata: %w", err))
	}
	if err != nil {
		return wire.Errorf(wire.BadRequest, "learn: %v", err)
	}
	if own := s.State().ClusterID; st.ClusterID != own {
		return wire.Errorf(wire.WrongCluster, "state of cluster %s, this node is in %s", st.ClusterID, own)
	}
	if own := s.State().Generation(); st.Generation() != own {
		return wire.Errorf(wire.WrongCluster, "state of generation %v, this node is in %v", st.Generation(), own)
	}
	s.publish(st)
	return nil
}

// Failed is closed when the Store cannot go on: the cluster has gone on to what this
// version of the software does not understand. Err says more.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err is why the Store failed, once Failed is closed.
func (s *Store) Err() error { return s.err }

func (s *Store) fail(err error) {
	s.failOnce.Do(func() {
		s.err = err
		close(s.failed)
	})
}

// encodedState is a State with its two encodings, made when first asked for.
type encodedState struct {
	state          *State
	member, public func() ([]byte, error)
}

// encoded is the newest State's encoding and epoch. Many watchers share one.
func (s *Store) encoded(public bool) ([]byte, error) {
	st := s.State()
	e := s.cache.Load()
	if e == nil || e.state != st {
		e = &encodedState{st, sync.OnceValues(st.Encode), sync.OnceValues(st.encodePublic)}
		s.cache.Store(e)
	}
	if public {
		return e.public()
	}
	return e.member()
}

// Close ends the Store: raft stops, the newest State is on disk, all goroutines
// have ended. A leader that can should Yield first, so that the others need not
// notice its silence.
func (s *Store) Close() error {
	s.cancel()
	err := s.raft.close()
	s.wg.Wait()
	return err
}

// Yield hands raft's leadership to another voter, if this node has it and there is one.
func (s *Store) Yield() error {
	if !s.raft.leads() {
		return nil
	}
	if err := s.raft.LeadershipTransfer().Error(); err != nil && !errors.Is(err, raft.ErrNotLeader) {
		return fmt.Errorf("hand leadership over: %w", err)
	}
	return nil
}

// sleep waits for d, or until ctx or the Store ends.
func (s *Store) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-s.ctx.Done():
	}
}

func errClosed() error { return wire.Errorf(wire.ShuttingDown, "the metadata store is closed") }
