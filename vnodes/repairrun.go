package vnodes

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ringcore/ringcore/metadata/ring"
)

const (
	runsKept      = 64 // of the history
	runErrorsKept = 16 // of one run
)

// RepairRun is one comparison, on request, of every record of some partitions with
// those of their other replicas, as far as it has come.
type RepairRun struct {
	ID         string           `json:"id"` // the same on all nodes that took a part of one request
	Node       ring.NodeID      `json:"node"`
	Partitions []ring.Partition `json:"partitions"` // to be compared
	Done       int              `json:"done"`       // of those, also the ones that came to nothing
	Started    time.Time        `json:"started"`
	Ended      time.Time        `json:"ended,omitzero"`
	CompareTally
	Unreached []ring.NodeID `json:"unreached,omitempty"` // replicas that were down or catching up
	Errors    []string      `json:"errors,omitempty"`    // the first few; empty if all others were compared
	Failed    int           `json:"failed"`              // partitions that were not compared with all others that are up
}

// Repair begins to compare every record of partitions that this node has a replica
// of, in the background. The trees are not asked: what they say of a record may be
// wrong, if it was damaged in memory or counted wrongly.
func (m *Manager) Repair(id string, partitions []ring.Partition) {
	run := &RepairRun{ID: id, Node: m.node, Partitions: partitions, Started: m.now()}
	c := m.compares
	c.mu.Lock()
	c.runs = append(c.runs, run)
	c.runs = c.runs[max(0, len(c.runs)-runsKept):]
	c.mu.Unlock()
	m.spawn(func() {
		for _, p := range partitions {
			missed, tally, err := m.repairPartition(p)
			c.mu.Lock()
			run.note(p, missed, tally, err)
			c.mu.Unlock()
		}
		c.mu.Lock()
		run.Ended = m.now()
		c.mu.Unlock()
	})
}

// note takes down what became of partition p.
func (r *RepairRun) note(p ring.Partition, missed []ring.NodeID, t CompareTally, err error) {
	r.Done++
	r.CompareTally.add(t)
	for _, node := range missed {
		if !slices.Contains(r.Unreached, node) {
			r.Unreached = append(r.Unreached, node)
		}
	}
	if err == nil {
		return
	}
	if r.Failed++; len(r.Errors) < runErrorsKept {
		r.Errors = append(r.Errors, fmt.Sprintf("partition %d: %v", p, err))
	}
}

// repairPartition compares every record of p, then looks again for what has moved
// from one of the others. While the partition moves, or a replica catches up, it
// waits, for RepairPatience at most.
func (m *Manager) repairPartition(p ring.Partition) (missed []ring.NodeID, all CompareTally, err error) {
	ctx, cancel := context.WithTimeout(m.ctx, m.cfg.RepairPatience)
	defer cancel()
	for wait := newBackoff(100*time.Millisecond, 2*time.Second); ; {
		var o compareOutcome
		err = m.tryRepair(p, &o)
		all.add(o.tally) // also what a try has moved that came to nothing in the end
		if err == nil || !wait.sleep(ctx) {
			return o.missed, all, err
		}
	}
}

func (m *Manager) tryRepair(p ring.Partition, o *compareOutcome) error {
	r := m.ring()
	if r.Place(p, m.node) < 0 {
		return fmt.Errorf("it has left this node")
	}
	leave, err := m.enterCompare(p)
	if err != nil {
		return err
	}
	defer leave()
	d := m.compareDriver(kindRepair, p)
	d.total.Store(m.records(r, p))
	m.show(d)
	defer m.hide(d)
	if err := m.converge(d, r, p, true, o); err != nil {
		return err
	}
	if len(o.missed) == len(r.Assignments[p].Replicas)-1 && len(o.missed) > 0 {
		return fmt.Errorf("none of its other replicas can be reached")
	}
	m.compared(p)
	return nil
}

// records is how many records this node has of p.
func (m *Manager) records(r *ring.Ring, p ring.Partition) (n int64) {
	for _, svc := range m.services {
		if !within(r.Place(p, m.node), svc.replicas(r)) {
			continue
		}
		if v, werr := m.openSlot(svc, p, 0); werr == nil {
			n += v.store.Digest().Records
		}
	}
	return n
}

// RepairReport is what a node tells of its comparisons.
type RepairReport struct {
	Runs     []RepairRun     `json:"runs"`     // the newest first
	Compared []ComparedPlace `json:"compared"` // by partition
}

// ComparedPlace says when a node last compared its replica with all others that were up.
type ComparedPlace struct {
	Partition ring.Partition `json:"partition"`
	Node      ring.NodeID    `json:"node"`
	At        time.Time      `json:"at"`
	Floor     time.Time      `json:"floor,omitzero"` // up to which all replicas are known to have had the same
}

// Repairs reports what this node has compared.
func (m *Manager) Repairs() RepairReport {
	report := RepairReport{Runs: []RepairRun{}, Compared: []ComparedPlace{}}
	for p, at := range m.lastCompared() {
		place := ComparedPlace{Partition: p, Node: m.node, At: at}
		if floor, _ := m.floors.Floor(p); floor > 0 {
			place.Floor = time.UnixMilli(int64(floor >> 16))
		}
		report.Compared = append(report.Compared, place)
	}
	slices.SortFunc(report.Compared, func(a, b ComparedPlace) int { return cmp.Compare(a.Partition, b.Partition) })
	m.compares.mu.Lock()
	defer m.compares.mu.Unlock()
	for _, run := range slices.Backward(m.compares.runs) {
		r := *run
		r.Unreached, r.Errors = slices.Clone(r.Unreached), slices.Clone(r.Errors)
		report.Runs = append(report.Runs, r)
	}
	return report
}
