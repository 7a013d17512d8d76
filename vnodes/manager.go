package vnodes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Manager runs the vnodes of one node in one cluster. Its methods may be called
// from any goroutine.
type Manager struct {
	cfg       Config
	log       *slog.Logger
	now       func() time.Time
	node      ring.NodeID
	rings     Rings
	transfers Transfers
	floors    Floors
	storage   Storage
	disk      *Disk // storage, if it is one
	journal   *Journal
	clock     *Clock
	services  map[uint32]*service
	nodeBits  uint64

	ctx     context.Context // ends at Close
	cancel  context.CancelFunc
	tasks   sync.WaitGroup // everything but workers
	workers sync.WaitGroup
	closeMu sync.RWMutex // held to add a task, so that none begins after Close has
	closed  bool
	frozen  atomic.Bool // see Freeze
	retired atomic.Bool // see Retire
	last    atomic.Bool // see LastCommands

	faults   *faults
	repairNo atomic.Uint64 // tells the drivers of repairs apart
	compares *compares
	moments  atomic.Int64 // bytes that folds keep; see moment

	holders  *holders
	born     time.Time     // beats count from here, on the monotonic clock
	beaten   atomic.Int64  // when this node last beat
	upBefore atomic.Int32  // other members that were up then
	beatMu   sync.Mutex    // held to beat
	asking   chan struct{} // one slot: slots wait for hints, or some have come
	handing  chan struct{} // one slot: hints may be handed to their owners

	standInMu sync.Mutex    // held for a comparison
	standIn   uint64        // the newest time of a stamp issued as a fallback
	soleTime  atomic.Uint64 // the newest time met in records of a service with one replica
	hintRate  *rate
	inRate    *throttle // of transfers
	outRate   *throttle
	bulk      *bulk

	wake      chan struct{} // one slot: a driver has ended, there may be more to drive
	installMu sync.Mutex    // held while slots change hands: to install a ring, to drop what has left
	holdMu    sync.Mutex    // held while held is made durable
	held      ring.Epoch    // the journal's: no older ring is ever installed

	mu        sync.Mutex                 // held to open, install and drop; never while waiting for a worker or the network
	installed *ring.Ring                 // of epoch 0 and without replicas until the first one is installed
	hints     map[vnodeID]*vnode         // fallbacks that are open
	lostSeats map[vnodeID]string         // why a slot's data is not here
	catchUps  map[vnodeID]struct{}       // slots that must catch up before they serve, though the ring says readable
	forced    map[vnodeID]struct{}       // slots that came by a force, and are filled; nil before the first
	filling   bool                       // fillForced runs
	repairs   map[vnodeID]*repair        // slots whose file is damaged and that have other replicas
	claims    map[ring.NodeID]*claim     // by owner: for which slots this node keeps hints
	waiting   map[vnodeID]hintWait       // slots that wait for hints
	doubts    uint64                     // times that slots began to
	drivers   map[string]*driver         // by session, and by purpose
	arrived   map[string]*arrival        // sessions that this node holds ready, by id
	incoming  map[string]*incoming       // streams that fill staging files, by session id
	parked    map[string]*staged         // what streams that broke have staged, by session id
	proposals map[ring.Partition]Session // sessions that this node may have committed: it answers nothing for them
}

// Open starts the vnodes of a node: it resumes what a crash interrupted, then
// follows the ring until Close.
func Open(cfg Config) (*Manager, error) {
	m := &Manager{
		cfg: cfg, log: cfg.Logger, now: cfg.Now, node: cfg.Node, rings: cfg.Rings, transfers: cfg.Transfers, floors: cfg.Floors,
		services: make(map[uint32]*service), hints: make(map[vnodeID]*vnode), lostSeats: make(map[vnodeID]string),
		catchUps: make(map[vnodeID]struct{}), waiting: make(map[vnodeID]hintWait), wake: make(chan struct{}, 1),
		claims: make(map[ring.NodeID]*claim), asking: make(chan struct{}, 1), handing: make(chan struct{}, 1), born: time.Now(),
		drivers: make(map[string]*driver), proposals: make(map[ring.Partition]Session),
		arrived: make(map[string]*arrival), incoming: make(map[string]*incoming), parked: make(map[string]*staged),
		repairs: make(map[vnodeID]*repair), faults: newFaults(), bulk: newBulk(),
	}
	m.withDefaults()
	bits, err := strconv.ParseUint(string(cfg.Node), 16, 64)
	if err != nil {
		return nil, fmt.Errorf("node id %q: must be 16 hexadecimal digits", cfg.Node)
	}
	m.nodeBits = bits
	if err := m.register(cfg.Services); err != nil {
		return nil, err
	}
	m.installed = &ring.Ring{N: m.rings.Ring().N, Assignments: make([]ring.Assignment, m.rings.Ring().Q())}
	if err := m.openFiles(); err != nil {
		return nil, err
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	if err := m.resume(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	m.tasks.Go(m.followRing)
	m.tasks.Go(m.deliverHints)
	m.tasks.Go(m.tendHolders)
	m.tasks.Go(m.learnNotes)
	m.tasks.Go(m.askForHints)
	m.tasks.Go(m.watchAbsence)
	m.tasks.Go(m.tendFaults)
	m.tasks.Go(m.watchWorkers)
	if m.cfg.CompareEvery > 0 {
		m.tasks.Go(m.compareRounds)
		m.tasks.Go(m.watchUrgent)
	}
	return m, nil
}

func (m *Manager) register(services []Service) error {
	r := m.rings.Ring()
	for _, s := range services {
		svc, err := newService(s, r.Q())
		if err != nil {
			return err
		}
		if err := svc.checkReplicas(svc.replicas(r)); err != nil {
			return err
		}
		if other := m.services[svc.id]; other != nil {
			return fmt.Errorf("service %s: its id is that of service %s; choose another name", s.Name, other.Name)
		}
		m.services[svc.id] = svc
	}
	return nil
}

func (m *Manager) openFiles() (err error) {
	path := filepath.Join(m.cfg.Dir, "journal.bolt")
	_, missing := os.Stat(path)
	if m.cfg.Memory {
		m.journal = MemoryJournal()
	} else if m.journal, err = OpenJournal(path); err != nil {
		return fmt.Errorf("open the vnodes' journal: %w", err)
	}
	if m.clock, err = NewClock(m.node, m.now, m.journal); err != nil {
		return errors.Join(err, m.journal.Close())
	}
	// The wall clock overtakes what was reserved before the restart: else a node that
	// restarts again and again would be further ahead of the others each time.
	if lead := m.clock.lead(); lead <= farAhead { // it is more if a time far ahead was passed
		time.Sleep(lead)
	}
	m.held = m.journal.Epoch()
	if m.holders, err = newHolders(m.journal); err != nil {
		return errors.Join(err, m.journal.Close())
	}
	if m.cfg.Memory {
		m.storage = MemoryStorage()
		return nil
	}
	if missing != nil && !m.transfers.Alone() {
		if err := m.holders.beNewcomer(); err != nil {
			return errors.Join(err, m.journal.Close())
		}
	}
	if m.disk, err = OpenDisk(m.cfg.Dir, m.diskOptions()); err != nil {
		return errors.Join(err, m.journal.Close())
	}
	m.storage = m.disk
	m.noteSole(m.disk.newest)
	if missing != nil && !m.cfg.Fresh {
		if err := m.mournFiles(); err != nil {
			return errors.Join(err, m.closeFiles())
		}
	}
	return nil
}

// Freeze refuses commands and effects from now on, or no longer, and returns when
// those that were admitted before have ended. A node that is about to give up its
// data does so, to be sure of what it holds.
func (m *Manager) Freeze(on bool) {
	m.frozen.Store(on)
	if !on {
		return
	}
	for _, v := range m.open() {
		if v.do(func(*vnode) {}) {
			_ = v.store.Sync() // those who wait for it are told
		}
	}
}

// Retire takes no more hints for other nodes: this node is about to leave.
func (m *Manager) Retire() { m.retired.Store(true) }

// Close stops all transfers and vnodes; everything answered stays on disk.
func (m *Manager) Close() error {
	m.closeMu.Lock()
	m.closed = true
	m.closeMu.Unlock()
	m.cancel()
	m.tasks.Wait()
	m.installMu.Lock() // from here on install does nothing
	defer m.installMu.Unlock()
	var errs []error
	if m.disk != nil {
		errs = append(errs, m.disk.Checkpoint()) // several at a time, so that little is left for each Close
	}
	for _, v := range m.open() {
		v.stop()
		errs = append(errs, v.store.Close())
	}
	for _, a := range m.arrived {
		for _, st := range a.stores {
			errs = append(errs, st.Close())
		}
	}
	for _, s := range m.parked {
		for _, st := range s.stores {
			errs = append(errs, st.Close())
		}
	}
	m.workers.Wait()
	return errors.Join(append(errs, m.clock.Close(), m.closeFiles())...)
}

func (m *Manager) closeFiles() error {
	if m.disk == nil {
		return m.journal.Close()
	}
	return errors.Join(m.disk.Close(), m.journal.Close())
}

// open lists the vnodes that are open, fallbacks too.
func (m *Manager) open() []*vnode {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*vnode
	for _, svc := range m.services {
		for p := range svc.vnodes {
			if v := svc.vnodes[p].Load(); v != nil {
				all = append(all, v)
			}
		}
	}
	for _, v := range m.hints {
		all = append(all, v)
	}
	return all
}

// Observe moves the node's clock past a stamp that a replica has shown, unless that is
// further ahead than the clock may go.
func (m *Manager) Observe(s wire.Stamp) {
	if err := m.clock.Observe(s.Time); err != nil {
		m.log.Debug("a replica's stamp is far ahead", "err", err)
	}
}

// stamp issues a stamp newer than have for the write with this id.
func (m *Manager) stamp(have Stamp, id uint64) (Stamp, error) {
	t, err := m.clock.Now()
	if err == nil && t <= have.Time {
		m.clock.ObserveTrusted(have.Time)
		t, err = m.clock.Now()
	}
	if err == nil {
		t, err = after(have.Time, t)
	}
	return Stamp{Time: t, Node: m.nodeBits, ID: id}, err
}

// ring is the ring that the gates check, or will as soon as what is posted to
// the workers has run. Before the first one its epoch is 0.
func (m *Manager) ring() *ring.Ring {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.installed
}

// hold makes durable that this node acts on the ring of epoch: from now on it
// never serves by an older one, whatever metadata a restart finds. It comes before
// anything that is right only because of that ring: using data that came with it,
// deleting what left with it, telling another node that it is known here.
func (m *Manager) hold(epoch ring.Epoch) error {
	m.holdMu.Lock()
	defer m.holdMu.Unlock()
	if epoch <= m.held {
		return nil
	}
	if err := m.journal.SetEpoch(epoch); err != nil {
		return fmt.Errorf("note the ring's epoch: %w", err)
	}
	m.held = epoch
	return nil
}

// floor is the epoch that the ring must have to be installed.
func (m *Manager) floor() ring.Epoch {
	m.holdMu.Lock()
	defer m.holdMu.Unlock()
	return m.held
}

// enter counts the caller among the tasks that Close waits for; false if Close has begun.
func (m *Manager) enter() bool {
	m.closeMu.RLock()
	defer m.closeMu.RUnlock()
	if !m.closed {
		m.tasks.Add(1)
	}
	return !m.closed
}

// spawn runs fn in a goroutine that Close waits for; false if Close has begun.
func (m *Manager) spawn(fn func()) bool {
	m.closeMu.RLock()
	defer m.closeMu.RUnlock()
	if m.closed {
		return false
	}
	m.tasks.Go(fn)
	return true
}
