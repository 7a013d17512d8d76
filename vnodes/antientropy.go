package vnodes

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/metadata/ring"
)

const (
	urgentAtOnce = 2   // partitions compared out of turn at a time
	urgentTries  = 20  // then the next round has to do
	roundShare   = 0.9 // of the interval, over which a round is spread
	mergeRounds  = 3   // comparisons of all pairs until none has moved anything
	urgentTick   = 250 * time.Millisecond
)

// compares is a manager's part in anti-entropy.
type compares struct {
	rate   rate
	served atomic.Int32 // comparisons that others drive
	counts compareCounts

	mu     sync.Mutex                   // held for map operations only
	urgent map[ring.Partition]urgency   // to be compared out of turn
	busy   map[ring.Partition]bool      // this node drives a comparison of it
	last   map[ring.Partition]time.Time // when it was compared
	runs   []*RepairRun                 // oldest first; mu guards them too
}

// urgency says when a partition is to be compared out of turn, and how often that
// came to nothing.
type urgency struct {
	at     time.Time
	tries  int
	wait   *backoff // between tries; nil before the first
	second bool     // what was too young in a first comparison is not any more
}

func newCompares(bytes int64) *compares {
	return &compares{
		rate:   rate{perSecond: bytes},
		urgent: make(map[ring.Partition]urgency), busy: make(map[ring.Partition]bool), last: make(map[ring.Partition]time.Time),
	}
}

// compareCounts count since the manager was opened.
type compareCounts struct {
	done, failed, compared, sent, received, late, floors atomic.Int64
}

func (c *compareCounts) add(t CompareTally) {
	c.compared.Add(t.Compared)
	c.sent.Add(t.Sent)
	c.received.Add(t.Received)
}

// CompareCounts are what anti-entropy has done since the manager was opened.
type CompareCounts struct {
	Done     int64         // partitions compared with all replicas that are up
	Failed   int64         // attempts that came to nothing and are made again
	Compared int64         // records compared one by one
	Sent     int64         // records sent because another replica lacked them or had them older
	Received int64         // the other way
	Late     int64         // records not taken because they are older than their partition's floor
	Floors   int64         // floors raised
	Oldest   time.Duration // since the partition that this node drives and that waits longest was compared; 0 if none was
}

// CompareCounts counts.
func (m *Manager) CompareCounts() CompareCounts {
	n := &m.compares.counts
	c := CompareCounts{
		Done: n.done.Load(), Failed: n.failed.Load(), Compared: n.compared.Load(), Sent: n.sent.Load(),
		Received: n.received.Load(), Late: n.late.Load(), Floors: n.floors.Load(),
	}
	for _, at := range m.lastCompared() {
		c.Oldest = max(c.Oldest, m.now().Sub(at))
	}
	return c
}

// lastCompared is when this node last compared its replica with all others that were up.
func (m *Manager) lastCompared() map[ring.Partition]time.Time {
	r := m.ring()
	m.compares.mu.Lock()
	defer m.compares.mu.Unlock()
	maps.DeleteFunc(m.compares.last, func(p ring.Partition, _ time.Time) bool { return r.Place(p, m.node) < 0 })
	return maps.Clone(m.compares.last)
}

// Suspect has p compared soon: this node knows that a replica has missed something.
// What that is must be old enough then not to be on its way.
func (m *Manager) Suspect(p ring.Partition) {
	if m.cfg.CompareEvery < 0 {
		return
	}
	m.compares.mu.Lock()
	defer m.compares.mu.Unlock()
	u, waits := m.compares.urgent[p]
	if !waits {
		u.at = time.Now().Add(m.cfg.SettleTime)
	}
	u.second = false
	m.compares.urgent[p] = u
}

// hasten has partitions compared out of turn.
func (m *Manager) hasten(all []ring.Partition) {
	if m.cfg.CompareEvery < 0 {
		return
	}
	m.compares.mu.Lock()
	defer m.compares.mu.Unlock()
	for _, p := range all {
		m.compares.urgent[p] = urgency{}
	}
}

// own are the partitions that this node has a slot of.
func (m *Manager) own(r *ring.Ring) (all []ring.Partition) {
	for p := range r.Assignments {
		if p := ring.Partition(p); r.Place(p, m.node) >= 0 && len(r.Assignments[p].Replicas) > 1 {
			all = append(all, p)
		}
	}
	return all
}

// drivesCompare reports whether this node is the first replica of p that is up.
func (m *Manager) drivesCompare(r *ring.Ring, p ring.Partition) bool {
	return r.FirstUp(p, func(node ring.NodeID) bool { return node == m.node || m.cfg.Up(node) }) == m.node
}

// compareRounds compares all partitions that this node drives, a round each
// interval, until Close.
func (m *Manager) compareRounds() {
	every := m.cfg.CompareEvery
	if !pause(m.ctx, every/2+rand.N(every/2+1)) { // so that nodes that start together do not do so together
		return
	}
	for begun := time.Now(); m.ctx.Err() == nil; begun = time.Now() {
		m.compareRound(every)
		m.reapMemory()
		pause(m.ctx, time.Until(begun.Add(every)))
	}
}

// compareRound compares the partitions that this node drives, evenly spread over a
// part of every, then raises their floors.
func (m *Manager) compareRound(every time.Duration) {
	r := m.ring()
	var mine []ring.Partition
	for _, p := range m.own(r) {
		if m.drivesCompare(r, p) {
			mine = append(mine, p)
		}
	}
	if len(mine) == 0 {
		return
	}
	floors := m.proposeFloors(m.ctx)
	rest := time.Duration(float64(every) * roundShare / float64(len(mine)))
	for _, p := range mine {
		begun := time.Now()
		o, err := m.comparePartition(p)
		if err != nil {
			m.log.Debug("replicas not compared", "partition", p, "err", err)
		}
		if o.whole() {
			floors.add(p, o.gen)
		}
		if !pause(m.ctx, time.Until(begun.Add(rest))) {
			return
		}
	}
	floors.raise(m.ctx)
}

// watchUrgent compares what is urgent: the partitions of a node that has come back,
// this one too, and those of which a write was kept by nobody. Until Close.
func (m *Manager) watchUrgent() {
	up := make(map[ring.NodeID]bool)
	places := make(chan struct{}, urgentAtOnce)
	var workers sync.WaitGroup
	defer workers.Wait()
	for pause(m.ctx, urgentTick) {
		m.noticeReturns(up)
		for p, u := range m.takeUrgent() {
			select {
			case places <- struct{}{}:
			case <-m.ctx.Done():
				return
			}
			workers.Go(func() {
				m.compareUrgent(p, u)
				<-places
			})
		}
	}
}

// noticeReturns hastens the partitions shared with nodes that were down in the last
// look, which is in up, and are not now.
func (m *Manager) noticeReturns(up map[ring.NodeID]bool) {
	r := m.ring()
	for _, node := range m.transfers.Others() {
		was, known := up[node]
		is := m.cfg.Up(node)
		if up[node] = is; !is || was || !known {
			continue
		}
		var shared []ring.Partition
		for _, p := range m.own(r) {
			if r.Place(p, node) >= 0 && m.drivesCompare(r, p) {
				shared = append(shared, p)
			}
		}
		m.hasten(shared)
	}
}

// takeUrgent takes out what is due.
func (m *Manager) takeUrgent() map[ring.Partition]urgency {
	now := time.Now()
	m.compares.mu.Lock()
	defer m.compares.mu.Unlock()
	taken := make(map[ring.Partition]urgency)
	for p, u := range m.compares.urgent {
		if !u.at.After(now) {
			taken[p] = u
			delete(m.compares.urgent, p)
		}
	}
	return taken
}

// compareUrgent compares p, or puts it off: a replica may be catching up or moving.
// Where something was too young it does so a second time: what was missed just
// before is old enough then.
func (m *Manager) compareUrgent(p ring.Partition, u urgency) {
	o, err := m.comparePartition(p)
	var wait time.Duration
	switch {
	case err == nil && o.young > 0 && !u.second:
		u, wait = urgency{second: true}, m.cfg.SettleTime
	case err == nil || u.tries == urgentTries:
		return
	default:
		m.log.Debug("replicas not compared yet", "partition", p, "err", err)
		if u.wait == nil {
			u.wait = newBackoff(urgentTick, 5*time.Second)
		}
		wait = u.wait.delay()
		u.tries++
	}
	u.at = time.Now().Add(wait)
	m.compares.mu.Lock()
	defer m.compares.mu.Unlock()
	if _, again := m.compares.urgent[p]; !again {
		m.compares.urgent[p] = u
	}
}

// compareOutcome is what a comparison of a partition has come to.
type compareOutcome struct {
	gen     ring.Gen // of the replicas
	tally   CompareTally
	young   int64         // records that differ and were left alone by the last look
	missed  []ring.NodeID // replicas that are down or catching up
	settled bool          // a last look moved nothing
}

// whole reports whether every replica was compared, and a last look at all of them moved nothing.
func (o *compareOutcome) whole() bool { return o.settled && len(o.missed) == 0 }

// comparePartition compares this node's replica of p, of all services, with every
// other one that is up, until a look at all of them moves nothing.
func (m *Manager) comparePartition(p ring.Partition) (o compareOutcome, err error) {
	leave, err := m.enterCompare(p)
	if err != nil {
		return o, err
	}
	defer leave()
	r := m.ring()
	if o.gen = r.Gen(p); r.Place(p, m.node) < 0 {
		return o, nil
	}
	d := m.compareDriver(kindCompare, p)
	defer m.hide(d)
	if err := m.converge(d, r, p, false, &o); err != nil {
		m.compares.counts.failed.Add(1)
		return o, err
	}
	m.compared(p)
	o.settled = o.settled && m.ring().Gen(p) == o.gen
	return o, nil
}

// converge compares p with each other replica until none has anything to move, or
// something keeps moving. With full the first look is at every record.
func (m *Manager) converge(d *driver, r *ring.Ring, p ring.Partition, full bool, o *compareOutcome) error {
	for round := range mergeRounds {
		t, missed, err := m.compareOnce(d, r, p, full && round == 0)
		o.tally.add(t)
		o.young, o.missed = t.young, missed
		if err != nil {
			return err
		}
		if o.settled = t.Moved() == 0; o.settled {
			return nil
		}
		m.log.Info("replicas differed", "partition", p, "sent", t.Sent, "received", t.Received)
	}
	return nil
}

// compared notes that p was compared with all that are up.
func (m *Manager) compared(p ring.Partition) {
	m.compares.counts.done.Add(1)
	m.compares.mu.Lock()
	defer m.compares.mu.Unlock()
	m.compares.last[p] = m.now()
}

// enterCompare makes the caller the only one here that drives a comparison of p.
func (m *Manager) enterCompare(p ring.Partition) (leave func(), err error) {
	m.compares.mu.Lock()
	defer m.compares.mu.Unlock()
	if m.compares.busy[p] {
		return nil, fmt.Errorf("partition %d is being compared already", p)
	}
	m.compares.busy[p] = true
	return func() {
		m.compares.mu.Lock()
		defer m.compares.mu.Unlock()
		delete(m.compares.busy, p)
	}, nil
}

// compareOnce compares p with each other replica, once. missed are those that are
// down or catching up.
func (m *Manager) compareOnce(d *driver, r *ring.Ring, p ring.Partition, full bool) (all CompareTally, missed []ring.NodeID, err error) {
	for i, x := range r.Assignments[p].Replicas {
		if x.Node == m.node {
			continue
		}
		if x.CatchingUp || !m.cfg.Up(x.Node) {
			missed = append(missed, x.Node)
			continue
		}
		for _, svc := range m.services {
			if n := svc.replicas(r); i >= n || !within(r.Place(p, m.node), n) {
				continue
			}
			t, failed := m.compareWith(d, svc, p, x.Node, full)
			all.add(t)
			err = errors.Join(err, failed)
		}
	}
	return all, missed, err
}

// kindCompare is the kind of a comparison that moves records.
const kindCompare ring.StepKind = "exchange"

// compareDriver is what shows a comparison's progress.
func (m *Manager) compareDriver(kind ring.StepKind, p ring.Partition) *driver {
	d := &driver{session: Session{Step: ring.Step{Kind: kind, Partition: p, From: m.node}}, begun: m.now(), cancel: func() {}}
	d.enter("compare")
	return d
}

// show lists d among the transfers under way; hide ends that.
func (m *Manager) show(d *driver) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drivers[compareKey(d)] = d
}

func (m *Manager) hide(d *driver) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if key := compareKey(d); m.drivers[key] == d {
		delete(m.drivers, key)
	}
}

func compareKey(d *driver) string { return fmt.Sprintf("%s-%d", d.session.Kind, d.session.Partition) }
