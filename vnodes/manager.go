package vnodes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Rings tells which ring is in force.
type Rings interface {
	Ring() *ring.Ring
	// Changed is closed when something newer than at the time of the call is in force.
	Changed() <-chan struct{}
	// Fetch makes the ring at least epoch, asking from first if it is not empty.
	Fetch(ctx context.Context, epoch ring.Epoch, from ring.NodeID) error
}

// Session is an open transfer: one step of the ring, under way.
type Session struct {
	ID string `json:"id"`
	ring.Step
	Gen ring.Gen `json:"gen"` // of the partition since the transfer began
}

// Transfers is the committed record of transfers.
type Transfers interface {
	// Sessions are the open ones, as of the ring in force.
	Sessions() []Session
	// Outcome says how a session that is not open has ended; known is false if that is not recorded.
	Outcome(id string) (committed, known bool)
	// Commit ends s as done. A nil error means that it is committed and known here; any other
	// tells nothing about whether it was.
	Commit(ctx context.Context, s Session) error
	// LeaderContact is the time since a leader was last heard of.
	LeaderContact() time.Duration
	// Others are the other members, up or not, that may hold hints for this node.
	Others() []ring.NodeID
	// Leaving reports whether this node is on its way out of the cluster.
	Leaving() bool
}

// Stream is a conversation with another node, on a connection of its own.
type Stream interface {
	ReadFrame() (wire.Frame, error)
	WriteFrame(h *wire.Header, body []byte) error
	Flush() error
	SetDeadline(t time.Time) error
	Close() error
}

// Dialer opens streams to other nodes.
type Dialer interface {
	Dial(ctx context.Context, node ring.NodeID) (Stream, error)
}

// Config says how a Manager runs. Only Logger, Now and the tuning may be zero.
type Config struct {
	ClusterID string
	Node      ring.NodeID
	Dir       string // folder of the vnodes' files; unused with Memory
	Memory    bool   // records live in memory only
	Services  []Service
	Rings     Rings
	Transfers Transfers
	Dialer    Dialer
	Up        func(ring.NodeID) bool
	Logger    *slog.Logger     // slog.Default() if nil
	Now       func() time.Time // time.Now if nil: the wall clock

	SealTimeout time.Duration // how long a seal waits for READY; 2 s if zero
	ChunkBytes  int           // of a handoff chunk; 256 KiB if zero
}

// Manager runs the vnodes of one node in one cluster. Its methods may be called
// from any goroutine.
type Manager struct {
	cfg       Config
	log       *slog.Logger
	now       func() time.Time
	node      ring.NodeID
	rings     Rings
	transfers Transfers
	storage   Storage
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

	installMu sync.Mutex // held while a ring is installed: one after the other

	mu        sync.Mutex // held to open, install and drop; never while waiting for a worker or the network
	installed *ring.Ring
	hints     map[vnodeID]*vnode         // fallbacks that are open
	lostSeats map[vnodeID]string         // why a slot's data is not here
	catchUps  map[vnodeID]struct{}       // slots that must catch up before they serve, though the ring says readable
	waiting   map[vnodeID]struct{}       // slots that wait for hints
	drivers   map[string]*driver         // by session, and by purpose
	arrived   map[string]*arrival        // sessions that this node holds ready, by id
	incoming  map[string]*incoming       // streams that fill staging files, by session id
	proposals map[ring.Partition]Session // sessions that this node may have committed: it answers nothing for them
}

// Open starts the vnodes of a node: it resumes what a crash interrupted, then
// follows the ring until Close.
func Open(cfg Config) (*Manager, error) {
	m := &Manager{
		cfg: cfg, log: cfg.Logger, now: cfg.Now, node: cfg.Node, rings: cfg.Rings, transfers: cfg.Transfers,
		services: make(map[uint32]*service), hints: make(map[vnodeID]*vnode), lostSeats: make(map[vnodeID]string),
		catchUps: make(map[vnodeID]struct{}), waiting: make(map[vnodeID]struct{}),
		drivers: make(map[string]*driver), proposals: make(map[ring.Partition]Session),
		arrived: make(map[string]*arrival), incoming: make(map[string]*incoming),
	}
	if m.log == nil {
		m.log = slog.Default()
	}
	if m.now == nil {
		m.now = time.Now
	}
	m.cfg.SealTimeout = defaulted(cfg.SealTimeout, 2*time.Second)
	m.cfg.ChunkBytes = defaulted(cfg.ChunkBytes, 256<<10)
	bits, err := strconv.ParseUint(string(cfg.Node), 16, 64)
	if err != nil {
		return nil, fmt.Errorf("node id %q: must be 16 hexadecimal digits", cfg.Node)
	}
	m.nodeBits = bits
	if err := m.register(cfg.Services); err != nil {
		return nil, err
	}
	if err := m.openFiles(); err != nil {
		return nil, err
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	if err := m.resume(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	m.tasks.Go(m.followRing)
	m.tasks.Go(m.deliverHints)
	return m, nil
}

func defaulted[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
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

func (m *Manager) openFiles() error {
	if m.cfg.Memory {
		m.storage, m.journal = MemoryStorage(), MemoryJournal()
	} else {
		m.storage = DiskStorage(m.cfg.Dir, m.log)
		j, err := OpenJournal(filepath.Join(m.cfg.Dir, "journal.bolt"))
		if err != nil {
			return fmt.Errorf("open the vnodes' journal: %w", err)
		}
		m.journal = j
	}
	c, err := NewClock(m.node, m.now, m.journal)
	if err != nil {
		return errors.Join(err, m.journal.Close())
	}
	m.clock = c
	return nil
}

// Close stops all transfers and vnodes; everything answered stays on disk.
func (m *Manager) Close() error {
	m.closeMu.Lock()
	m.closed = true
	m.closeMu.Unlock()
	m.cancel()
	m.tasks.Wait()
	var errs []error
	for _, v := range m.open() {
		v.stop()
		errs = append(errs, v.store.Close())
	}
	for _, a := range m.arrived {
		for _, st := range a.stores {
			errs = append(errs, st.Close())
		}
	}
	m.workers.Wait()
	return errors.Join(append(errs, m.clock.Close(), m.journal.Close())...)
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

// Service says what routing must know of a service; false if it is not registered here.
func (m *Manager) Service(id uint32) (wire.ServiceInfo, bool) {
	svc := m.services[id]
	if svc == nil {
		return wire.ServiceInfo{}, false
	}
	return svc.info(m.rings.Ring()), true
}

// Resolve makes one reply of several replicas' replies to query q.
func (m *Manager) Resolve(id uint32, _ ring.Partition, q []byte, replies [][]byte) ([]byte, error) {
	svc := m.services[id]
	if svc == nil {
		return nil, wire.Errorf(wire.BadRequest, "unknown service")
	}
	r, ok := svc.proto.(Resolver)
	if !ok {
		return replies[0], nil
	}
	return r.Resolve(q, replies)
}

// Observe moves the node's clock past a stamp that a replica has shown.
func (m *Manager) Observe(s wire.Stamp) {
	if err := m.clock.Observe(s.Time); err != nil {
		m.log.Warn("a replica's stamp is too far ahead", "err", err)
	}
}

// stamp issues a stamp newer than have for the write with this id.
func (m *Manager) stamp(have Stamp, id uint64) (Stamp, error) {
	t, err := m.clock.Now()
	if err == nil && t <= have.Time {
		m.clock.ObserveTrusted(have.Time)
		t, err = m.clock.Now()
	}
	return Stamp{Time: t, Node: m.nodeBits, ID: id}, err
}

// Dispatch hands r to its vnode. It does not block; see wire.Request.Done. Reads
// are answered on the calling goroutine if nothing stands in their way.
func (m *Manager) Dispatch(r *wire.Request) {
	svc := m.services[r.Service]
	if svc == nil {
		m.fail(r, wire.BadRequest, "unknown service")
		return
	}
	if int(r.Partition) >= len(svc.vnodes) {
		m.fail(r, wire.BadRequest, "no such partition")
		return
	}
	v, err := m.vnodeFor(svc, r)
	if err != nil {
		if err.Code == wire.Behind {
			m.catchUp(r)
			return
		}
		m.fail(r, err.Code, err.Message)
		return
	}
	if r.Op == wire.OpRead && v.opened() {
		if verdict, _ := v.gate.Load().check(r.Op, r.Gen); verdict == admit {
			v.query(r)
			return
		}
	}
	v.enqueue(r)
}

func (m *Manager) vnodeFor(svc *service, r *wire.Request) (*vnode, *wire.Error) {
	p := ring.Partition(r.Partition)
	if r.Flags&wire.FlagFallback != 0 {
		create := r.Op != wire.OpRead
		v, err := m.hintVnode(svc, p, ring.NodeID(r.For), create)
		switch {
		case err != nil:
			return nil, asError(err)
		case v == nil:
			return nil, errPartial
		}
		r.Gen = 0 // hints belong to the slot, whatever the ring
		return v, nil
	}
	if v := svc.vnodes[p].Load(); v != nil {
		return v, nil
	}
	return m.openSlot(svc, p, r.Gen)
}

// openSlot opens the vnode of a slot on its first use.
func (m *Manager) openSlot(svc *service, p ring.Partition, gen uint64) (*vnode, *wire.Error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := svc.vnodes[p].Load(); v != nil {
		return v, nil
	}
	if m.ctx.Err() != nil {
		return nil, wire.Errorf(wire.ShuttingDown, "the node is stopping")
	}
	r := m.installed
	place := r.Place(p, m.node)
	if place < 0 || place >= svc.replicas(r) {
		if gen > uint64(r.Gen(p)) {
			return nil, wire.Errorf(wire.Behind, "")
		}
		return nil, wire.Errorf(wire.Moved, "")
	}
	id := vnodeID{service: svc.id, partition: p}
	name := slotFile(svc, p)
	if why, isLost := m.lostSeats[id]; isLost {
		return nil, wire.Errorf(wire.Unavailable, "%s", why)
	}
	st := m.slotStore(m.identity(svc, p, ""), name)
	v := newVnode(m, svc, id, name, st, m.slotGate(svc, r, p))
	svc.vnodes[p].Store(v)
	return v, nil
}

// slotStore is the store of a slot's vnode. Its file is in the journal from when
// it is made until it is dropped, so that a lost one is noticed.
func (m *Manager) slotStore(id Identity, name string) *slotStore {
	return &slotStore{
		name: name,
		open: func() (Store, error) {
			st, err := m.storage.Open(id, name)
			if errors.Is(err, fs.ErrNotExist) && m.journal.HasFile(name) {
				return nil, fmt.Errorf("%w: its file is gone", ErrCorrupt)
			}
			if err == nil {
				m.clock.ObserveTrusted(st.MaxTime())
			}
			return st, err
		},
		create: func() (Store, error) {
			st, err := m.storage.Create(id, name)
			if err != nil {
				return nil, err
			}
			if err := m.journal.MarkFile(name); err != nil {
				return nil, errors.Join(err, st.Drop())
			}
			return st, nil
		},
	}
}

func (m *Manager) identity(svc *service, p ring.Partition, fallback ring.NodeID) Identity {
	return Identity{
		ClusterID: m.cfg.ClusterID, NodeID: string(m.node), Service: svc.Name, Partition: int(p), For: string(fallback),
	}
}

// slotGate is the gate of a slot's vnode that is opened under ring r. m.mu is held.
func (m *Manager) slotGate(svc *service, r *ring.Ring, p ring.Partition) gate {
	a := &r.Assignments[p]
	g := gate{gen: uint64(a.Gen), rebuilt: uint64(a.Rebuilt)}
	id := vnodeID{service: svc.id, partition: p}
	session, proposes := m.proposals[p]
	proposes = proposes && session.moves(svc.replicas(r))
	_, behind := m.catchUps[id]
	_, waits := m.waiting[id]
	switch place := r.Place(p, m.node); {
	case place < 0 || place >= svc.replicas(r):
		g.phase = gone
	case proposes:
		g.phase = proposed
	case a.Replicas[place].CatchingUp || behind:
		g.phase = catching
	case waits:
		g.phase = recovering
	}
	return g
}

// catchUp fetches the ring that r was planned with, then dispatches r again.
func (m *Manager) catchUp(r *wire.Request) {
	started := m.spawn(func() {
		ctx, cancel := context.WithTimeout(m.ctx, 500*time.Millisecond)
		defer cancel()
		err := m.rings.Fetch(ctx, ring.Epoch(r.Epoch), "")
		m.install()
		if have := m.rings.Ring().Gen(ring.Partition(r.Partition)); err != nil || uint64(have) < r.Gen {
			m.fail(r, wire.Behind, "the request was planned with a ring that this node cannot fetch")
			return
		}
		m.Dispatch(r)
	})
	if !started {
		m.fail(r, wire.ShuttingDown, "the node is stopping")
	}
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

func (m *Manager) epoch() uint64 { return uint64(m.rings.Ring().Epoch) }

func (m *Manager) fail(r *wire.Request, code wire.Code, message string) {
	r.Done(code, m.epoch(), []byte(message))
}

func (m *Manager) failErr(r *wire.Request, err error) {
	e := asError(err)
	m.fail(r, e.Code, e.Message)
}

func (m *Manager) reply(r *wire.Request, body []byte, err error) {
	if err != nil {
		m.failErr(r, err)
		return
	}
	r.Done(wire.OK, m.epoch(), body)
}

func slotFile(svc *service, p ring.Partition) string {
	return fmt.Sprintf("%s/p%04d.bolt", svc.Name, p)
}

func stagingFile(svc *service, p ring.Partition, session string) string {
	return fmt.Sprintf("%s/p%04d.%s.staging", svc.Name, p, session)
}

func hintFile(svc *service, p ring.Partition, fallback ring.NodeID) string {
	return fmt.Sprintf("%s/hints/p%04d.%s.bolt", svc.Name, p, fallback)
}
