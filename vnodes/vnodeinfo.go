package vnodes

import (
	"cmp"
	"slices"
	"time"

	"github.com/ringcore/ringcore/metadata/ring"
)

// VnodeInfo is how one vnode of this node does.
type VnodeInfo struct {
	Service   string         `json:"service"`
	Partition ring.Partition `json:"partition"`
	Slot      int            `json:"slot"`             // in the partition's list; -1 for a fallback, or one that is to go
	For       ring.NodeID    `json:"for,omitempty"`    // a fallback's: the node that it stands in for
	State     string         `json:"state"`            // serving, switching, catching up, waiting, lost, gone, or idle: not used since the start
	Reason    string         `json:"reason,omitempty"` // of waiting and lost
	Queue     int            `json:"queue"`            // requests and tasks that wait for the worker
	Busy      bool           `json:"busy,omitempty"`   // the worker has been with one of them for too long
	Requests  uint64         `json:"requests"`         // that came, since the vnode was opened
	Latency   time.Duration  `json:"latency_ns"`       // from a request's arrival to its reply, smoothed; 0 if none was timed
	Digest    *Digest        `json:"digest,omitempty"` // nil while its file is not open, or cannot be read
}

// Load adds up a node's vnodes.
type Load struct {
	Open     int   `json:"open"`     // vnodes that have been used since the start
	Queue    int   `json:"queue"`    // as in VnodeInfo, of all
	Deepest  int   `json:"deepest"`  // of one
	Busy     int   `json:"busy"`     //
	Records  int64 `json:"records"`  // of the slots whose files are open
	Bytes    int64 `json:"bytes"`    //
	Unopened int   `json:"unopened"` // slots whose files are not open: they are not in the sums
}

// Vnodes lists this node's vnodes: the slots of the ring, and what else is open. It opens
// no file for that.
func (m *Manager) Vnodes() []VnodeInfo {
	r := m.ring()
	var all []VnodeInfo
	for _, v := range m.open() {
		all = append(all, v.info(r))
	}
	for _, svc := range m.services {
		for p := range r.Assignments {
			p := ring.Partition(p)
			if place := r.Place(p, m.node); within(place, svc.replicas(r)) && svc.vnodes[p].Load() == nil {
				all = append(all, VnodeInfo{Service: svc.Name, Partition: p, Slot: place, State: "idle", Digest: m.unused(svc, p)})
			}
		}
	}
	slices.SortFunc(all, func(a, b VnodeInfo) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.For, b.For))
	})
	return all
}

// unused is the digest of a slot that was never written to; nil if it was.
func (m *Manager) unused(svc *service, p ring.Partition) *Digest {
	if m.journal.HasFile(slotFile(svc, p)) {
		return nil
	}
	return &Digest{}
}

// Load is how this node's vnodes do, in sum.
func (m *Manager) Load() Load {
	var sum Load
	for _, v := range m.Vnodes() {
		sum.Queue += v.Queue
		sum.Deepest = max(sum.Deepest, v.Queue)
		if v.State != "idle" {
			sum.Open++
		}
		if v.Busy {
			sum.Busy++
		}
		switch {
		case v.Slot < 0:
		case v.Digest == nil:
			sum.Unopened++
		default:
			sum.Records += v.Digest.Records
			sum.Bytes += v.Digest.Bytes
		}
	}
	return sum
}

// info looks at v from outside its worker.
func (v *vnode) info(r *ring.Ring) VnodeInfo {
	g := v.gate.Load()
	i := VnodeInfo{
		Service: v.svc.Name, Partition: v.id.partition, Slot: -1, For: v.id.fallback, State: g.phase.word(), Reason: g.reason,
		Queue: len(v.inbox), Busy: v.stuck.Load(), Requests: v.meter.requests.Load(), Latency: time.Duration(v.meter.smoothed.Load()),
	}
	if place := r.Place(v.id.partition, v.m.node); v.id.fallback == "" && within(place, v.svc.replicas(r)) {
		i.Slot = place
	}
	if s, ok := v.store.(*slotStore); !ok || s.opened() {
		if v.check() == nil {
			i.Digest = new(v.store.Digest())
		}
	}
	return i
}

// word is p for people.
func (p phase) word() string {
	switch p {
	case serving:
		return "serving"
	case sealed, proposed:
		return "switching"
	case gone:
		return "gone"
	}
	return p.silence()
}
