package vnodes

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Floors is the committed record of what anti-entropy has made sure of.
type Floors interface {
	// Floor is that of p, as times of stamps: a replica that has no record under a key
	// takes nothing older than floor, and tombstones older than reap are needed by nobody.
	Floor(p ring.Partition) (floor, reap uint64)
	// Raise asks to raise floors. asked are the members that keep nothing older.
	Raise(ctx context.Context, rises []FloorRise, asked []ring.NodeID) error
}

// FloorRise is one floor to be raised.
type FloorRise struct {
	Partition ring.Partition
	Gen       ring.Gen // of the replicas that have compared
	Time      uint64
}

// noFloors is the Floors of a manager that is given none.
type noFloors struct{}

func (noFloors) Floor(ring.Partition) (floor, reap uint64)               { return 0, 0 }
func (noFloors) Raise(context.Context, []FloorRise, []ring.NodeID) error { return nil }

// floorRound is how a round of comparisons raises floors to one time:
//
//  1. Every member, also one that is down, says for which partitions it keeps writes
//     for others. Before it answers it has made sure that it issues no older stamp any
//     more. So what is older and not in those hints is with a replica already: a
//     coordinator is one, and has what it stamps before anybody else.
//  2. All replicas of a partition compare, and a last look at all of them moves nothing.
//  3. Those floors are proposed at once; metadata refuses one whose replicas have
//     changed since, or for which a transfer is open.
//
// Tombstones are reaped below the floor before the last rise only. All replicas have
// compared, for the last rise, while they knew that floor already, and they take
// nothing older since where they have no record. So whatever came to one of them late
// was there to be compared with the tombstone, or is refused.
type floorRound struct {
	m     *Manager
	time  uint64 // 0: somebody did not answer
	kept  map[ring.Partition]bool
	asked []ring.NodeID
	rises []FloorRise
}

// keepsAsk is the body of OpKeeps, keepsAnswer the reply's.
type keepsAsk struct {
	Time uint64 `json:"time"`
}

type keepsAnswer struct {
	Partitions []ring.Partition `json:"partitions"`
}

// proposeFloors begins a round. It cannot raise anything if a member does not answer.
func (m *Manager) proposeFloors(ctx context.Context) *floorRound {
	now, behind := clockTime(m.now()), clockSpan(maxClockAhead+m.cfg.FloorAge)
	f := &floorRound{m: m, kept: make(map[ring.Partition]bool), asked: append(m.transfers.Others(), m.node)}
	if now <= behind {
		return f
	}
	f.time = now - behind
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, node := range f.asked {
		asking.Go(func() {
			kept, err := m.askKeeps(ctx, node, f.time)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				m.log.Debug("no floor rises", "node", node, "err", err)
				f.asked = slices.DeleteFunc(slices.Clone(f.asked), func(n ring.NodeID) bool { return n == node })
			}
			for _, p := range kept {
				f.kept[p] = true
			}
		})
	}
	asking.Wait()
	if len(f.asked) < len(m.transfers.Others())+1 {
		f.time = 0
	}
	return f
}

// askKeeps asks one member, or this node.
func (m *Manager) askKeeps(ctx context.Context, node ring.NodeID, t uint64) ([]ring.Partition, error) {
	if node == m.node {
		return m.keeps(t)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	body, err := json.Marshal(keepsAsk{Time: t})
	if err != nil {
		return nil, err
	}
	frame, err := m.askOnce(ctx, node, wire.OpKeeps, body)
	if err != nil {
		return nil, err
	}
	var answer keepsAnswer
	err = json.Unmarshal(frame.Body, &answer)
	return answer.Partitions, err
}

// serveKeeps answers OpKeeps.
func (m *Manager) serveKeeps(answer *answerer, f *wire.Frame) {
	var ask keepsAsk
	if err := json.Unmarshal(f.Body, &ask); err != nil {
		answer.fail(f, wire.Errorf(wire.BadRequest, "keeps: %v", err))
		return
	}
	kept, err := m.keeps(ask.Time)
	if err != nil {
		answer.fail(f, err)
		return
	}
	body, err := json.Marshal(keepsAnswer{kept})
	answer.give(f, body, err)
}

// keeps lists the partitions for which this node keeps writes of others, or data
// that has arrived and is not in force. From now on, also after a restart, it issues
// no stamp up to t.
func (m *Manager) keeps(t uint64) ([]ring.Partition, error) {
	if now := clockTime(m.now()); t > now {
		return nil, fmt.Errorf("%w: a floor by %d ms", ErrClockAhead, (t-now)>>16)
	}
	if err := m.clock.Pass(t); err != nil {
		return nil, err
	}
	kept := make(map[ring.Partition]bool)
	m.mu.Lock()
	for _, a := range m.arrived {
		kept[a.note.Session.Partition] = true
	}
	var hints []*vnode
	for _, v := range m.hints {
		hints = append(hints, v)
	}
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(m.ctx, idleWait)
	defer cancel()
	for _, v := range hints {
		err := v.idle(ctx) // behind what is queued
		if err != nil || v.check() != nil || m.faults.has(v.name) || v.store.Digest().Records > 0 {
			kept[v.id.partition] = true
		}
	}
	all := make([]ring.Partition, 0, len(kept))
	for p := range kept {
		all = append(all, p)
	}
	slices.Sort(all)
	return all, nil
}

// add notes that all replicas of p have compared since the round began.
func (f *floorRound) add(p ring.Partition, gen ring.Gen) {
	if floor, _ := f.m.floors.Floor(p); f.time > floor && !f.kept[p] {
		f.rises = append(f.rises, FloorRise{Partition: p, Gen: gen, Time: f.time})
	}
}

// raise proposes what has come together.
func (f *floorRound) raise(ctx context.Context) {
	if f.time == 0 || len(f.rises) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := f.m.floors.Raise(ctx, f.rises, f.asked); err != nil {
		f.m.log.Info("floors not raised", "items", len(f.rises), "err", err)
		return
	}
	f.m.compares.counts.floors.Add(int64(len(f.rises)))
}

// reapBelow is the time of the stamps below which nobody needs a store's
// tombstones any more, 0 if that is not known. They stand against older records
// that may come from elsewhere: a node that is alone has all there is, others have
// what they have compared.
func (m *Manager) reapBelow(id Identity) uint64 {
	switch {
	case id.For != "":
		return 0
	case m.moving(ring.Partition(id.Partition)):
		return 0 // the copies must be equal in all
	case m.transfers.Alone():
		return m.clock.Latest() + 1
	}
	_, reap := m.floors.Floor(ring.Partition(id.Partition))
	return reap
}

// reapMemory forgets tombstones in memory that nobody needs; those on disk go when
// their file is copied.
func (m *Manager) reapMemory() {
	if !m.cfg.Memory {
		return
	}
	for _, v := range m.open() {
		s, ok := v.store.(*slotStore)
		if !ok || v.id.fallback != "" {
			continue
		}
		if st := s.inner.Load(); st != nil {
			if mem, ok := (*st).(*memStore); ok {
				mem.file.reap(m.reapBelow(m.identity(v.svc, v.id.partition, "")))
			}
		}
	}
}

// passFloors moves the clock past all floors in force: no write is stamped below.
func (m *Manager) passFloors(r *ring.Ring) {
	highest := uint64(0)
	for p := range r.Assignments {
		floor, _ := m.floors.Floor(ring.Partition(p))
		highest = max(highest, floor)
	}
	m.clock.ObserveTrusted(highest)
}

// tooOld is the time below which v takes no record of that origin under a key that
// it has none of: what is older was compared with all other replicas, so it is there,
// or something newer was and has been reaped. What comes from one of those replicas
// itself is taken: this one may have lost it.
func (v *vnode) tooOld(from origin) uint64 {
	if from == replica || v.id.fallback != "" { // what it keeps for others they know best
		return 0
	}
	floor, _ := v.m.floors.Floor(v.id.partition)
	return floor
}
