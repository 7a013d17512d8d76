package vnodetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
)

const partitions = ring.MinPartitions

// nodeNumber tells replicas apart: those with different numbers issue different stamps.
type nodeNumber int

func (n nodeNumber) id() ring.NodeID { return ring.NodeID(fmt.Sprintf("%016x", 0xa+int(n))) }

// node is a cluster of one: the vnodes of a service, without network. Its wall
// clock stands still but for tick, so that two nodes with the same number issue the same
// stamps for the same commands, however often they are restarted in between.
type node struct {
	s    *suite
	cfg  vnodes.Config
	info wire.ServiceInfo
	now  atomic.Int64 // milliseconds since 1970
	m    *vnodes.Manager

	mu     sync.Mutex        // guards actors
	actors map[uint64]uint64 // a number for each copy of a partition, in the order of their first use
}

// open starts a node with its files in dir; with records in memory if dir is empty.
func (s *suite) open(number nodeNumber, dir string) (*node, error) {
	n := &node{s: s, actors: map[uint64]uint64{}}
	n.now.Store(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	world := &lonely{ring: ring.New(partitions, cmp.Or(s.service.N, ring.DefaultReplicas), number.id())}
	n.cfg = vnodes.Config{
		ClusterID: "vnodetest", Node: number.id(), Dir: dir, Memory: dir == "", Fresh: true, Services: []vnodes.Service{s.service},
		Rings: world, Transfers: world, Dialer: world, Up: func(ring.NodeID) bool { return true },
		Actor: func(id uint64) uint64 { return uint64(number)<<32 + n.actor(id) }, Logger: s.log, Now: func() time.Time { return time.UnixMilli(n.now.Load()) },
	}
	return n, n.start()
}

// actor is the number of a copy of a partition: the same on every node on which the
// same commands run, so that what they write can be compared.
func (n *node) actor(id uint64) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.actors[id] == 0 {
		n.actors[id] = uint64(len(n.actors)) + 1
	}
	return n.actors[id]
}

func (n *node) start() error {
	m, err := vnodes.Open(n.cfg)
	if err != nil {
		return fmt.Errorf("open the service: %w", err)
	}
	n.m, n.cfg.Fresh = m, false
	n.info, _ = m.Service(wire.ServiceID(n.s.service.Name))
	return nil
}

func (n *node) close() error { return n.m.Close() }

// restart ends every vnode and starts them anew, from their records.
func (n *node) restart() error {
	if err := n.close(); err != nil {
		return fmt.Errorf("close the service: %w", err)
	}
	return n.start()
}

// tick moves the wall clock past whatever the node has reserved of it.
func (n *node) tick() { n.now.Add(time.Second.Milliseconds()) }

// outcome is how a command or query ended.
type outcome struct {
	code   wire.Code
	body   []byte
	effect []vnodes.Write // of a command, in the order of its writes
}

func (o *outcome) String() string {
	if o.code == wire.OK {
		return fmt.Sprintf("%q", brief(o.body))
	}
	return fmt.Sprintf("%s: %s", o.code, brief(o.body))
}

// equal compares replies and writes, stamps included.
func (o *outcome) equal(other *outcome) bool {
	return o.code == other.code && bytes.Equal(o.body, other.body) && slices.EqualFunc(o.effect, other.effect, sameWrite)
}

func sameWrite(a, b vnodes.Write) bool {
	return bytes.Equal(a.Key, b.Key) && sameRecord(&a.Record, &b.Record)
}

func sameRecord(a, b *vnodes.Record) bool {
	return a.Stamp == b.Stamp && a.Flags == b.Flags && bytes.Equal(a.Value, b.Value)
}

// do sends a request to the vnode of its key and waits for the answer.
func (n *node) do(op wire.Op, c wire.Call) outcome {
	c.Key, c.Body = bytes.Clone(c.Key), bytes.Clone(c.Body)
	var o outcome
	done := make(chan struct{})
	n.m.Dispatch(&wire.Request{
		Op: op, Service: wire.ServiceID(n.s.service.Name), Partition: uint16(partitionOf(&c)), Gen: 1, Epoch: 1, Call: c,
		OnEffect: func(effect, _ []byte) {
			var err error
			if o.effect, err = vnodes.ParseWrites(effect); err != nil {
				panic(err) // the toolkit's own encoding
			}
		},
		Done: func(code wire.Code, _ uint64, body []byte) {
			o.code, o.body = code, bytes.Clone(body)
			close(done)
		},
	})
	<-done
	clobber(c.Body) // valid only during the call: who has kept it has it no longer
	return o
}

// clobber overwrites b.
func clobber(b []byte) {
	for i := range b {
		b[i] = '?'
	}
}

// run runs command i of the inputs: at a time and under an id of its own.
func (n *node) run(i int, c wire.Call) (outcome, error) {
	c.ID = uint64(i) + 1
	o := n.do(wire.OpCommand, c)
	return o, acceptable(title("command", i, &c), &o)
}

// runAll runs the commands that are wanted. The clock moves for the others too.
func (n *node) runAll(commands []wire.Call, wanted func(i int) bool) ([]outcome, error) {
	outcomes := make([]outcome, len(commands))
	for i, c := range commands {
		n.tick()
		if !wanted(i) {
			continue
		}
		var err error
		if outcomes[i], err = n.run(i, c); err != nil {
			return nil, err
		}
	}
	return outcomes, nil
}

// ask asks query i of the inputs.
func (n *node) ask(i int, c wire.Call) (outcome, error) {
	o := n.do(wire.OpRead, c)
	return o, acceptable(title("query", i, &c), &o)
}

// cover runs a coverage query on every partition and returns the items, copied, by partition.
func (n *node) cover(i int, body []byte) ([partitions][]vnodes.Item, error) {
	var items [partitions][]vnodes.Item
	for p := range items {
		err := n.coverPartition(p, body, func(it *vnodes.Item) error {
			items[p] = append(items[p], cloneItem(it))
			return nil
		})
		if err != nil {
			return items, fmt.Errorf("coverage query %d (%q) in partition %d: %w", i, brief(body), p, err)
		}
	}
	return items, nil
}

func (n *node) coverPartition(p int, body []byte, emit func(*vnodes.Item) error) error {
	call := wire.CoverCall{Service: wire.ServiceID(n.s.service.Name), Partition: uint16(p), Gen: 1, Epoch: 1, Body: bytes.Clone(body)}
	return n.m.Cover(context.Background(), &call, emit)
}

func cloneItem(it *vnodes.Item) vnodes.Item {
	c := *it
	c.Key, c.Value = bytes.Clone(it.Key), bytes.Clone(it.Value)
	return c
}

// acceptable refuses an internal error: a panic, a write where none is allowed, or
// an error without a code.
func acceptable(what string, o *outcome) error {
	if o.code != wire.Internal {
		return nil
	}
	return fmt.Errorf("%s: internal error %q; errors that callers are meant to see are *wire.Error", what, o.body)
}

func partitionOf(c *wire.Call) ring.Partition {
	return ring.Locate(ring.HashKey(c.Bucket, c.Key), partitions)
}

// lonely is the world of a node without others.
type lonely struct{ ring *ring.Ring }

var errAlone = errors.New("there is no other node")

func (l *lonely) Ring() *ring.Ring                                         { return l.ring }
func (l *lonely) Changed() <-chan struct{}                                 { return nil }
func (l *lonely) Fetch(context.Context, ring.Epoch, ring.NodeID) error     { return nil }
func (l *lonely) Sessions() []vnodes.Session                               { return nil }
func (l *lonely) Outcome(string) (committed, known bool)                   { return false, false }
func (l *lonely) Commit(context.Context, vnodes.Session) error             { return errAlone }
func (l *lonely) Abort(context.Context, vnodes.Session, string) error      { return errAlone }
func (l *lonely) LeaderContact() time.Duration                             { return 0 }
func (l *lonely) Others() []ring.NodeID                                    { return nil }
func (l *lonely) Keepers() []ring.NodeID                                   { return nil }
func (l *lonely) Alone() bool                                              { return false }
func (l *lonely) Leaving() bool                                            { return false }
func (l *lonely) Dial(context.Context, ring.NodeID) (vnodes.Stream, error) { return nil, errAlone }
