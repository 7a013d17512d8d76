package ringcore

import (
	"context"
	"errors"
	"time"

	"github.com/ringcore/ringcore/dataplane"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
)

// The parts do not know each other: each says in an interface of its own what it
// needs, and here it gets it.

// rings is the metadata as dataplane and vnodes see it.
type rings struct{ c *core }

func (r rings) Ring() *ring.Ring         { return r.c.meta.Ring() }
func (r rings) Changed() <-chan struct{} { return r.c.meta.Changed() }
func (r rings) Fetch(ctx context.Context, epoch ring.Epoch, from ring.NodeID) error {
	return r.c.meta.Fetch(ctx, epoch, from)
}

// caller carries metadata's requests to other nodes.
type caller struct{ c *core }

func (k caller) Call(ctx context.Context, node ring.NodeID, op wire.Op, epoch uint64, body []byte) ([]byte, error) {
	f, err := k.c.peers.Call(ctx, node, wire.Header{Op: op, Epoch: epoch}, body)
	return f.Body, err
}

// dialer opens streams for vnodes.
type dialer struct{ c *core }

func (d dialer) Dial(ctx context.Context, node ring.NodeID) (vnodes.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	s, err := d.c.peers.Stream(ctx, node)
	if err != nil {
		return nil, err // not s: a nil *Stream is not a nil Stream
	}
	return s, nil
}

// transfers is the metadata's record of transfers as vnodes see it.
type transfers struct{ c *core }

func (t transfers) Sessions() []vnodes.Session {
	var all []vnodes.Session
	for _, x := range t.c.meta.State().Transfers {
		all = append(all, vnodes.Session{ID: x.ID, Step: x.Step, Gen: x.Gen})
	}
	return all
}

func (t transfers) Outcome(id string) (committed, known bool) { return t.c.meta.State().Outcome(id) }

func (t transfers) Commit(ctx context.Context, s vnodes.Session) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cmd := metadata.Commit(&metadata.Transfer{ID: s.ID, Step: s.Step, Gen: s.Gen}, t.c.self.ID)
	if t.c.hasVnodes.Load() { // not while they open
		for _, p := range t.c.vnodes.Progress() {
			if p.Session.ID == s.ID {
				cmd.Records, cmd.Bytes = p.Records, p.Bytes
			}
		}
	}
	err := t.c.meta.Propose(ctx, cmd)
	if e, ok := errors.AsType[*wire.Error](err); ok && e.Code == wire.Conflict {
		// It has ended before: the outcome is in a state at least as new as the refusal's.
		err = errors.Join(err, t.c.meta.Fetch(ctx, ring.Epoch(e.Epoch), ""))
	}
	return err
}

func (t transfers) Abort(ctx context.Context, s vnodes.Session, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return t.c.abort(ctx, s.ID, reason)
}

func (t transfers) LeaderContact() time.Duration { return t.c.meta.LeaderContact() }
func (t transfers) Others() []ring.NodeID        { return t.c.others() }

// Alone holds only where nobody else can have changed it meanwhile: at a leader that
// has applied what others committed.
func (t transfers) Alone() bool {
	return t.c.hasMeta.Load() && t.c.meta.Leading() && len(t.c.others()) == 0
}

// Keepers are the other members that are to own a share of the ring.
func (t transfers) Keepers() []ring.NodeID {
	var ids []ring.NodeID
	for _, m := range t.c.meta.State().Members {
		if m.ID != t.c.self.ID && m.Stays() {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

func (t transfers) Leaving() bool { return t.c.status() == metadata.StatusLeaving }

// floors is the metadata's record of floors as vnodes see it.
type floors struct{ c *core }

func (f floors) Floor(p ring.Partition) (floor, reap uint64) {
	x := f.c.meta.State().Floor(p)
	return x.Time, x.Reap
}

func (f floors) Raise(ctx context.Context, rises []vnodes.FloorRise, asked []ring.NodeID) error {
	list := make([]metadata.FloorRise, len(rises))
	for i, r := range rises {
		list[i] = metadata.FloorRise{Partition: r.Partition, Gen: r.Gen, Time: r.Time}
	}
	return f.c.meta.Propose(ctx, metadata.RaiseFloors(list, asked))
}

// kvCluster is the node as its key/value service sees it.
type kvCluster struct{ n *Node }

func (k kvCluster) Command(ctx context.Context, service string, call wire.Call) ([]byte, error) {
	return k.n.Command(ctx, service, call)
}

func (k kvCluster) Query(ctx context.Context, service string, call wire.Call) ([]byte, error) {
	return k.n.Query(ctx, service, call)
}

func (k kvCluster) Queries(ctx context.Context, service string, calls []wire.Call, each func(i int, reply []byte, err error)) {
	k.n.Queries(ctx, service, calls, each)
}

func (k kvCluster) Cover(ctx context.Context, service string, body []byte, r wire.Quorum,
	emit func(p ring.Partition, node ring.NodeID, it *wire.Item) error,
) (bool, []ring.Partition, error) {
	result, err := k.n.Cover(ctx, service, body, CoverOptions{R: r}, func(it CoverItem) error {
		return emit(it.Partition, it.Node, &it.Item)
	})
	return result.Complete, result.Missing, err
}

// Ring is a ring of one's own while the node belongs to no cluster; it serves nothing then.
func (k kvCluster) Ring() *ring.Ring {
	if c := k.n.core.Load(); c != nil {
		return c.meta.Ring()
	}
	return ring.New(k.n.cfg.Partitions, k.n.cfg.Replicas, k.n.id.NodeID)
}

func (k kvCluster) NodeName(id ring.NodeID) string {
	if c := k.n.core.Load(); c != nil {
		return c.name(id)
	}
	return string(id)
}

// name is a member's name; its id if it is not known.
func (c *core) name(id ring.NodeID) string {
	if m, ok := c.meta.State().Member(id); ok {
		return m.Name
	}
	return string(id)
}

// status is this node's own, as far as it knows.
func (c *core) status() metadata.MemberStatus {
	m, _ := c.meta.State().Member(c.self.ID)
	return m.Status
}

// problem gives err a code.
func problem(err error) *wire.Error {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return wire.Errorf(wire.Deadline, "%v", err)
	}
	return wire.Errorf(wire.Internal, "%v", err)
}

var _ dataplane.Local = (*vnodes.Manager)(nil)
