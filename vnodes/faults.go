package vnodes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// FaultState says what is done about a fault.
type FaultState string

// A corrupt file stays where it is: there is nobody to rebuild it from, or not
// yet. A rebuilding one has been put out of the way, and the slot answers nothing
// until its new file has the records of the other replicas.
const (
	FaultCorrupt    FaultState = "corrupt"
	FaultRebuilding FaultState = "rebuilding"
)

// Fault is a file of this node that is not as it was written.
type Fault struct {
	Service   string         `json:"service"`
	Partition ring.Partition `json:"partition"`
	For       ring.NodeID    `json:"for,omitempty"` // a hint store's: the node whose slot it stands in for
	File      string         `json:"file"`
	State     FaultState     `json:"state"`
	Reason    string         `json:"reason"` // says where: key or page
	Since     time.Time      `json:"since"`
}

// FaultCounts are what has been done about damage since the manager was opened.
type FaultCounts struct {
	Scrubbed      int64 // records read by the scrub
	ScrubbedBytes int64 // of files and log
	Passes        int64 // of the scrub
	Found         int64 // files found damaged
	Rebuilding    int64 // slots that are being rebuilt now
	Quarantined   int64 // damaged files that lie out of the way now
	Rebuilt       int64 // slots that were rebuilt
	Failed        int64 // attempts to rebuild a slot that came to nothing
}

// faults is the list of a manager's damaged files, and the queue of what is new.
type faults struct {
	found, rebuilt, failed atomic.Int64

	wake chan struct{} // one slot: there is something in queue

	mu    sync.Mutex // held for map operations only; those who report may hold any other lock
	known map[string]*knownFault
	queue []report
	met   []report // taken from queue: something is being done about them
}

// knownFault is a fault, and whether its file is still there.
type knownFault struct {
	Fault
	still func() bool // may lock what it likes: not to be called with faults.mu held
}

// report is damage that somebody has met.
type report struct {
	name  string      // of the file
	still func() bool // whether the file is still the one meant
	err   error
}

func newFaults() *faults {
	return &faults{wake: make(chan struct{}, 1), known: make(map[string]*knownFault)}
}

// report queues what was met. It does not block. Of each file one report waits.
func (f *faults) report(r report) {
	f.mu.Lock()
	if !slices.ContainsFunc(f.queue, func(q report) bool { return q.name == r.name }) {
		f.queue = append(f.queue, r)
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// take is what is in queue; what was taken before has been seen to.
func (f *faults) take() []report {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.met, f.queue = f.queue, nil
	return f.met
}

// pending is what was reported and has not been seen to yet.
func (f *faults) pending() []report {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Concat(f.met, f.queue)
}

// add notes a fault, and reports whether it was unknown.
func (f *faults) add(x Fault, still func() bool) (isNew bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if have := f.known[x.File]; have != nil {
		return false
	}
	f.known[x.File] = &knownFault{x, still}
	f.found.Add(1)
	return true
}

func (f *faults) set(name string, s FaultState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if x := f.known[name]; x != nil {
		x.State = s
	}
}

// has reports whether the file name is known to be damaged.
func (f *faults) has(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known[name] != nil
}

func (f *faults) clear(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.known, name)
}

// Faults lists the files of this node that are damaged or being rebuilt, by name: what
// was found by a pass of the scrub that has ended is among them.
func (m *Manager) Faults() []Fault {
	pending := m.faults.pending() // first: what is seen to meanwhile is known
	m.faults.mu.Lock()
	known := make([]knownFault, 0, len(m.faults.known))
	for _, x := range m.faults.known {
		known = append(known, *x)
	}
	m.faults.mu.Unlock()
	all := make([]Fault, 0, len(known))
	for _, x := range known {
		if x.State == FaultCorrupt && !x.still() { // dropped since, with its partition or when its hints went
			m.faults.clear(x.File)
			continue
		}
		all = append(all, x.Fault)
	}
	for _, r := range pending {
		svc, id, ok := m.named(r.name)
		if !ok || slices.ContainsFunc(all, func(x Fault) bool { return x.File == r.name }) || !r.still() {
			continue
		}
		all = append(all, Fault{
			Service: svc.Name, Partition: id.partition, For: id.fallback, File: r.name, State: FaultCorrupt,
			Reason: r.err.Error(), Since: m.now(),
		})
	}
	slices.SortFunc(all, func(a, b Fault) int { return cmp.Compare(a.File, b.File) })
	return all
}

// FaultCounts counts damage and what was done about it.
func (m *Manager) FaultCounts() FaultCounts {
	c := FaultCounts{Found: m.faults.found.Load(), Rebuilt: m.faults.rebuilt.Load(), Failed: m.faults.failed.Load()}
	if m.disk != nil {
		s := &m.disk.scrubs
		c.Scrubbed, c.ScrubbedBytes, c.Passes = s.records.Load(), s.bytes.Load(), s.passes.Load()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.repairs {
		if r.stage != repairFound {
			c.Rebuilding++
		}
		if r.quarantined {
			c.Quarantined++
		}
	}
	return c
}

// sawFault takes note of damage that the store of a vnode has met.
func (m *Manager) sawFault(id vnodeID) func(*slotStore, error) {
	return func(st *slotStore, err error) {
		m.faults.report(report{name: st.name, err: err, still: func() bool { return m.storeIs(id, st) }})
	}
}

// storeIs reports whether st is the store of the vnode id.
func (m *Manager) storeIs(id vnodeID, st *slotStore) bool {
	var v *vnode
	if id.fallback == "" {
		v = m.services[id.service].vnodes[id.partition].Load()
	} else {
		m.mu.Lock()
		v = m.hints[id]
		m.mu.Unlock()
	}
	return v != nil && v.store == Store(st)
}

// tendFaults does something about each fault that is reported, until Close.
func (m *Manager) tendFaults() {
	for {
		for met := m.faults.take(); len(met) > 0; met = m.faults.take() {
			for _, r := range met {
				m.meet(r)
			}
		}
		select {
		case <-m.faults.wake:
		case <-m.ctx.Done():
			return
		}
	}
}

// meet begins to rebuild a slot whose file is damaged; another file it notes.
func (m *Manager) meet(r report) {
	if !r.still() {
		return // it has been replaced meanwhile
	}
	svc, id, ok := m.named(r.name)
	if !ok {
		m.log.Error("stored data is corrupt", "file", r.name, "err", r.err)
		return
	}
	isNew := m.faults.add(Fault{
		Service: svc.Name, Partition: id.partition, For: id.fallback, File: r.name, State: FaultCorrupt,
		Reason: r.err.Error(), Since: m.now(),
	}, r.still)
	if isNew {
		m.log.Error("stored data is corrupt", "service", svc.Name, "partition", id.partition, "file", r.name, "err", r.err)
	}
	if isNew && id.fallback != "" {
		m.Suspect(id.partition) // its owner has missed what was kept here
	}
	if id.fallback == "" && svc.replicas(m.rings.Ring()) > 1 {
		m.beginRepair(svc, id, r)
	}
}

// named is the slot, or the fallback, whose file has that name.
func (m *Manager) named(name string) (*service, vnodeID, bool) {
	dir, file, _ := strings.Cut(name, "/")
	svc := m.services[wire.ServiceID(dir)]
	stem, isBolt := strings.CutSuffix(file, ".bolt")
	if svc == nil || svc.Name != dir || !isBolt {
		return nil, vnodeID{}, false
	}
	id := vnodeID{service: svc.id}
	hint, isHint := strings.CutPrefix(stem, "hints/")
	if isHint {
		part, node, _ := strings.Cut(hint, ".")
		stem, id.fallback = part, ring.NodeID(node)
	}
	p, ok := partitionNamed(svc, stem)
	id.partition = p
	return svc, id, ok
}

// findFaults reports what is known to be damaged when the manager opens: stores
// whose entries in the log are, and slots' files that are not there.
func (m *Manager) findFaults() {
	for name, err := range m.disk.refused() {
		m.faults.report(report{name: name, err: err, still: func() bool { return m.disk.refused()[name] != nil }})
	}
	for _, name := range m.journal.Files() {
		if m.disk.has(name) {
			continue
		}
		m.faults.report(report{
			name: name, err: fmt.Errorf("%w: %s: its file is gone", ErrCorrupt, name),
			still: func() bool { return m.journal.HasFile(name) && !m.disk.has(name) },
		})
	}
}

// damagedHere reports whether the slot id is known to be damaged, or being rebuilt.
func (m *Manager) damagedHere(id vnodeID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.repairs[id] != nil
}

// salvaging reports whether slot id does not have yet what can be read of its
// damaged file.
func (m *Manager) salvaging(id vnodeID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.repairs[id]
	return r != nil && r.stage == repairFilled && !r.salvaged
}

// diskOptions are those of the manager's own disk.
func (m *Manager) diskOptions() DiskOptions {
	return DiskOptions{
		Logger: m.log, ScrubBytes: m.cfg.ScrubBytes, Floor: m.reapBelow,
		Low: m.cfg.DiskLow, Critical: m.cfg.DiskCritical, files: m.cfg.files, Cork: m.cfg.Cork,
		Damaged: func(name string, still func() bool, err error) {
			m.faults.report(report{name: name, err: err, still: still})
		},
	}
}
