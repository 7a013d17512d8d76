package dataplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// The fakes: a cluster of Routers in one process, each with vnodes that are maps,
// joined by function calls that a test can look into, answer itself, or cut.

const testService = "notes"

// fakeCluster must be used inside a synctest bubble: every delivery is a goroutine.
type fakeCluster struct {
	t     *testing.T
	nodes map[ring.NodeID]*fakeNode
	info  wire.ServiceInfo

	mu     sync.Mutex
	newest *ring.Ring
	// meddle, if it says true, answers a frame in the receiver's place; it may block.
	meddle func(from, to ring.NodeID, h wire.Header, body []byte) (wire.Frame, error, bool)
	sent   []string // "from>to op" of every frame, in order
}

type fakeNode struct {
	c       *fakeCluster
	id      ring.NodeID
	router  *Router
	local   *fakeLocal
	current atomic.Pointer[ring.Ring]
	down    atomic.Bool // nobody reaches it, and all know
	fetches atomic.Int32
}

// listRing is a ring of 8 partitions that all have the same list; "x*" is catching up.
func listRing(epoch ring.Epoch, gen ring.Gen, list ...string) *ring.Ring {
	g := ring.New(8, max(len(list), 1), "x").WithEpoch(epoch)
	for p := range g.Assignments {
		a := ring.Assignment{Gen: gen}
		for _, n := range list {
			id, catching := strings.CutSuffix(n, "*")
			a.Replicas = append(a.Replicas, ring.Replica{Node: ring.NodeID(id), CatchingUp: catching})
		}
		g.Assignments[p] = a
	}
	return g
}

// partitionOf is where the tests' keys are.
func partitionOf(key string) ring.Partition { return ring.Locate(ring.HashKey("b", []byte(key)), 8) }

// withOwners gives the partitions other than that of key "k" to the given nodes in
// turn: the fallbacks of "k" are found there.
func withOwners(g *ring.Ring, owners ...ring.NodeID) *ring.Ring {
	p := int(partitionOf("k"))
	for d := 1; d < g.Q(); d++ {
		g.Assignments[(p+d)%g.Q()] = ring.Assignment{Gen: 1, Replicas: []ring.Replica{{Node: owners[(d-1)%len(owners)]}}}
	}
	return g
}

func newFakeCluster(t *testing.T, n int, g *ring.Ring, ids ...ring.NodeID) *fakeCluster {
	c := &fakeCluster{t: t, nodes: make(map[ring.NodeID]*fakeNode), newest: g}
	c.info = wire.ServiceInfo{
		Name: testService, N: n, Resolves: true,
		Blind: func(cmd []byte) bool {
			return bytes.HasPrefix(cmd, []byte("put ")) || bytes.HasPrefix(cmd, []byte("del"))
		},
	}
	for _, id := range ids {
		x := &fakeNode{c: c, id: id}
		x.current.Store(g)
		x.local = &fakeLocal{node: x, now: 1, slots: make(map[ring.Partition]items), hints: make(map[ring.NodeID]items)}
		x.router = NewRouter(RouterConfig{Self: id, Rings: x, Local: x.local, Repairs: x.local, Peers: x, OpenStream: x.openStream, Up: c.up})
		c.nodes[id] = x
	}
	t.Cleanup(func() {
		for _, x := range c.nodes {
			x.router.Close()
		}
	})
	return c
}

func (c *fakeCluster) up(id ring.NodeID) bool { return c.nodes[id] != nil && !c.nodes[id].down.Load() }

// learn lets nodes see g; no nodes: only Fetch brings it.
func (c *fakeCluster) learn(g *ring.Ring, ids ...ring.NodeID) {
	c.mu.Lock()
	c.newest = g
	c.mu.Unlock()
	for _, id := range ids {
		c.nodes[id].current.Store(g)
	}
}

// frames counts the frames sent whose description contains s.
func (c *fakeCluster) frames(s string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, f := range c.sent {
		if strings.Contains(f, s) {
			n++
		}
	}
	return n
}

func (x *fakeNode) Ring() *ring.Ring { return x.current.Load() }

func (x *fakeNode) Fetch(_ context.Context, epoch ring.Epoch, _ ring.NodeID) error {
	x.fetches.Add(1)
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	if x.c.newest.Epoch < epoch {
		return errors.New("nobody has it")
	}
	x.current.Store(x.c.newest)
	return nil
}

func (x *fakeNode) Send(to ring.NodeID, h wire.Header, body []byte, deadline time.Time, done func(wire.Frame, error)) {
	go func() {
		answer := make(chan func(), 1)
		go x.deliver(to, h, body, deadline, func(f wire.Frame, err error) {
			answer <- func() { done(f, err) }
		})
		select {
		case fn := <-answer:
			fn()
		case <-time.After(time.Until(deadline)):
			done(wire.Frame{}, wire.Errorf(wire.Deadline, "late"))
		}
	}()
}

func (x *fakeNode) deliver(to ring.NodeID, h wire.Header, body []byte, deadline time.Time, done func(wire.Frame, error)) {
	c := x.c
	c.mu.Lock()
	c.sent = append(c.sent, fmt.Sprintf("%s>%s op=%d flags=%d slot=%d", x.id, to, h.Op, h.Flags, h.Slot))
	meddle := c.meddle
	c.mu.Unlock()
	if meddle != nil {
		if f, err, mine := meddle(x.id, to, h, body); mine {
			done(f, err)
			return
		}
	}
	if !c.up(to) || x.down.Load() {
		done(wire.Frame{}, wire.Errorf(wire.Unavailable, "node %s is down", to))
		return
	}
	c.nodes[to].router.serve(inbound{h, body, x.id, deadline, false, nil, func(code wire.Code, epoch uint64, body []byte) {
		done(wire.Frame{Header: wire.Header{Code: code, Epoch: epoch}, Body: body}, nil)
	}})
}

// items are records by key.
type items map[string]wire.Item

func (m items) merge(it wire.Item) (newer wire.Stamp, ok bool) {
	have, found := m[string(it.Key)]
	if found && have.Stamp.Compare(it.Stamp) > 0 {
		return have.Stamp, false
	}
	m[string(it.Key)] = it
	return wire.Stamp{}, true
}

// fakeLocal is a node's vnodes. Commands: "put V", "del", "add" (it reads: appends a
// star); a query answers the record; coverage all records.
type fakeLocal struct {
	node *fakeNode

	mu     sync.Mutex
	now    uint64
	wall   bool // now follows the bubble's clock, as real nodes' stamps do
	behind bool // its clock may not follow the others' stamps
	slots  map[ring.Partition]items
	hints  map[ring.NodeID]items
	runs   int // of commands

	suspected atomic.Int32 // times that a write was kept by nobody
	// gate, if set, answers a request in the vnode's place; OK lets it pass.
	gate func(r *wire.Request) wire.Code
	// disk, if set, is called when a command has run and before it is answered.
	disk func()
	// coverGate is called before each item.
	coverGate func(c *wire.CoverCall, n int) error
}

func (l *fakeLocal) Service(id uint32) (wire.ServiceInfo, bool) {
	return l.node.c.info, id == wire.ServiceID(testService)
}

func (l *fakeLocal) Observe(s wire.Stamp) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.behind {
		l.now = max(l.now, s.Time)
	}
}

func (l *fakeLocal) Resolve(_ uint32, _ ring.Partition, _ []byte, replies [][]byte) ([]byte, error) {
	var best wire.Item
	for _, r := range replies {
		it, _, err := wire.CutItem(r)
		if err != nil {
			return nil, err
		}
		if it.Stamp.Compare(best.Stamp) >= 0 {
			best = it
		}
	}
	return wire.AppendItem(nil, &best), nil
}

// Reconcile brings everybody the newest version.
func (l *fakeLocal) Reconcile(id uint32, p ring.Partition, records [][]byte) ([][]byte, error) {
	held := slices.DeleteFunc(slices.Clone(records), func(b []byte) bool { return len(b) == 0 })
	best, err := l.Resolve(id, p, nil, held)
	if err != nil {
		return nil, err
	}
	effects := make([][]byte, len(records))
	for i, b := range records {
		if !bytes.Equal(b, best) {
			effects[i] = best
		}
	}
	return effects, nil
}

func (l *fakeLocal) Dispatch(r *wire.Request) { go l.handle(r) }

func (l *fakeLocal) Suspect(ring.Partition) { l.suspected.Add(1) }

func (l *fakeLocal) handle(r *wire.Request) {
	g := l.node.Ring()
	l.mu.Lock()
	gate, disk := l.gate, l.disk
	l.mu.Unlock()
	if r.Op == wire.OpHintStores {
		r.Done(wire.OK, uint64(g.Epoch), l.hintStores())
		return
	}
	if gate != nil {
		if code := gate(r); code != wire.OK {
			r.Done(code, uint64(g.Epoch), []byte("gate"))
			return
		}
	}
	if code := l.check(g, r); code != wire.OK {
		r.Done(code, uint64(g.Epoch), []byte("check"))
		return
	}
	code, effect, reply := l.run(r)
	if effect != nil && r.OnEffect != nil {
		r.OnEffect(effect, reply)
	}
	if r.Op == wire.OpCommand && disk != nil {
		disk()
	}
	r.Done(code, uint64(g.Epoch), reply)
}

func (l *fakeLocal) hintStores() (list []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for owner, at := range l.hints {
		for key := range at {
			list = wire.AppendHintStore(list, &wire.HintStore{Partition: uint16(partitionOf(key)), For: string(owner)})
		}
	}
	return list
}

func (l *fakeLocal) check(g *ring.Ring, r *wire.Request) wire.Code {
	a := g.Assignments[r.Partition]
	me := slices.IndexFunc(a.Replicas, func(x ring.Replica) bool { return x.Node == l.node.id })
	switch {
	case r.Flags&wire.FlagFallback != 0:
	case me < 0:
		return wire.Moved
	case r.Gen > uint64(a.Gen):
		return wire.Behind
	case r.Gen < uint64(a.Rebuilt):
		return wire.Stale
	case a.Replicas[me].CatchingUp && r.Op != wire.OpEffect:
		return wire.NotReadable
	}
	return wire.OK
}

// run does the work under the lock; what it returns is handed out without it.
func (l *fakeLocal) run(r *wire.Request) (wire.Code, []byte, []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.slots[ring.Partition(r.Partition)]
	if at == nil {
		at = make(items)
		l.slots[ring.Partition(r.Partition)] = at
	}
	if r.Flags&wire.FlagFallback != 0 {
		if l.hints[ring.NodeID(r.For)] == nil {
			l.hints[ring.NodeID(r.For)] = make(items)
		}
		at = l.hints[ring.NodeID(r.For)]
	}
	switch r.Op {
	case wire.OpEffect:
		it, _, err := wire.CutItem(bytes.Clone(r.Effect))
		if err != nil {
			return wire.BadRequest, nil, []byte(err.Error())
		}
		newer, ok := at.merge(it)
		if !ok && r.Flags&wire.FlagFresh != 0 {
			return wire.Superseded, nil, newer.Append(nil)
		}
		return wire.OK, nil, nil
	case wire.OpRead:
		it, ok := at[string(r.Call.Key)]
		if !ok && r.Flags&wire.FlagRecords != 0 {
			return wire.OK, nil, nil
		}
		if !ok && r.Flags&wire.FlagFallback != 0 {
			return wire.Unavailable, nil, []byte("the fallback does not hold it")
		}
		return wire.OK, nil, wire.AppendItem(nil, &it)
	}
	l.runs++
	l.now++
	if l.wall {
		l.now = max(l.now, uint64(time.Now().UnixNano()))
	}
	key := bytes.Clone(r.Call.Key)
	above := max(at[string(key)].Stamp.Time, r.Above) // what it replaces, here and elsewhere
	if !l.behind {
		l.now = max(l.now, above+1)
	}
	it := wire.Item{Key: key, Stamp: wire.Stamp{Time: max(l.now, above+1), Node: uint64(l.node.id[0]), ID: r.Call.ID}}
	switch cmd, v, _ := strings.Cut(string(r.Call.Body), " "); cmd {
	case "put":
		it.Value = []byte(v)
	case "del":
		it.Deleted = true
	case "add":
		it.Value = append(bytes.Clone(at[string(key)].Value), '*')
	case "nop":
		return wire.OK, nil, []byte("nothing")
	default:
		return wire.NotFound, nil, []byte("no such command")
	}
	at.merge(it)
	return wire.OK, wire.AppendItem(nil, &it), []byte("done by " + l.node.id)
}

func (l *fakeLocal) Cover(_ context.Context, c *wire.CoverCall, emit func(*wire.Item) error) error {
	g := l.node.Ring()
	if code := l.check(g, &wire.Request{Op: wire.OpRead, Partition: c.Partition, Gen: c.Gen, Flags: coverFlags(c)}); code != wire.OK {
		return &wire.Error{Code: code, Epoch: uint64(g.Epoch)}
	}
	l.mu.Lock()
	at := maps.Clone(l.slots[ring.Partition(c.Partition)])
	if c.For != "" {
		at = maps.Clone(l.hints[ring.NodeID(c.For)])
		maps.DeleteFunc(at, func(key string, _ wire.Item) bool { return partitionOf(key) != ring.Partition(c.Partition) })
	}
	gate := l.coverGate
	l.mu.Unlock()
	n := 0
	for _, key := range slices.Sorted(maps.Keys(at)) {
		if key <= string(c.After) {
			continue
		}
		if gate != nil {
			if err := gate(c, n); err != nil {
				return err
			}
		}
		it := at[key]
		if err := emit(&it); err != nil {
			return err
		}
		n++
	}
	return nil
}

func coverFlags(c *wire.CoverCall) wire.Flags {
	if c.For != "" {
		return wire.FlagFallback
	}
	return 0
}

// put places a record in a node's slot behind the router's back.
func (x *fakeNode) put(p ring.Partition, key, value string, time uint64, deleted bool) {
	x.local.mu.Lock()
	defer x.local.mu.Unlock()
	if x.local.slots[p] == nil {
		x.local.slots[p] = make(items)
	}
	x.local.slots[p][key] = wire.Item{Key: []byte(key), Stamp: wire.Stamp{Time: time}, Value: []byte(value), Deleted: deleted}
}

// value is what a node holds under key; hintsFor: among its hints.
func (x *fakeNode) value(key string, hintsFor ring.NodeID) string {
	x.local.mu.Lock()
	defer x.local.mu.Unlock()
	if hintsFor != "" {
		return string(x.local.hints[hintsFor][key].Value)
	}
	return string(x.local.slots[partitionOf(key)][key].Value)
}

// openStream joins two goroutines by channels of frames.
func (x *fakeNode) openStream(_ context.Context, to ring.NodeID) (FrameStream, error) {
	if !x.c.up(to) {
		return nil, wire.Errorf(wire.Unavailable, "node %s is down", to)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a, b := make(chan wire.Frame), make(chan wire.Frame)
	near, far := &fakeStream{ctx, cancel, a, b, nil}, &fakeStream{ctx, cancel, b, a, nil}
	go func() {
		defer cancel()
		first, err := far.ReadFrame()
		if err == nil {
			x.c.nodes[to].router.ServeStream(ctx, far, first)
		}
	}()
	return near, nil
}

type fakeStream struct {
	ctx    context.Context
	cancel context.CancelFunc
	in     <-chan wire.Frame
	out    chan<- wire.Frame
	queued []wire.Frame
}

func (s *fakeStream) ReadFrame() (wire.Frame, error) {
	select {
	case f := <-s.in:
		return f, nil
	case <-s.ctx.Done():
		return wire.Frame{}, io.EOF
	}
}

func (s *fakeStream) WriteFrame(h *wire.Header, body []byte) error {
	s.queued = append(s.queued, wire.Frame{Header: *h, Body: bytes.Clone(body)})
	return nil
}

func (s *fakeStream) Flush() error {
	for _, f := range s.queued {
		select {
		case s.out <- f:
		case <-s.ctx.Done():
			return io.ErrClosedPipe
		}
	}
	s.queued = nil
	return nil
}

func (s *fakeStream) Close() error {
	s.cancel()
	return nil
}
