package vnodes

import (
	"sync/atomic"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Damage that the scrub has found is told as soon as its pass has ended, also while
// what was found before is being seen to.
func TestFaultIsToldBeforeItIsSeenTo(t *testing.T) {
	w := newWorld(t, 1, 1)
	n := w.node(1)
	n.fill(repairP, 20)
	places := boltPlaces(t, n.checkpointed())
	m := n.m.Load()
	seeing, goOn := make(chan struct{}), make(chan struct{})
	var asked atomic.Bool
	m.faults.report(report{name: "kv/p0002.bolt", err: ErrCorrupt, still: func() bool {
		if !asked.Swap(true) {
			close(seeing)
			<-goOn
		}
		return false
	}})
	<-seeing
	flip(t, n.slotPath(repairP), places["value"])
	m.disk.scrubNow(t)
	if all := m.Faults(); len(all) != 1 || all[0].File != slotFile(m.services[wire.ServiceID("kv")], repairP) || all[0].State != FaultCorrupt {
		t.Errorf("the scrub has been there, and the faults are %+v", all)
	}
	close(goOn)
	w.until("it has been seen to", func() bool { return m.FaultCounts().Found == 1 })
	if all := m.Faults(); len(all) != 1 {
		t.Errorf("then the faults are %+v", all)
	}
}
