package vnodes

import (
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// A slot that is proposed, while the note of that is on its way to the disk, stays so when
// its gate is made anew: because hints were waited for after a pause of the node, say.
// It would take writes that the target never sees.
func TestProposedStaysProposed(t *testing.T) {
	const p = 4
	var w *world
	looked := make(chan phase, 1)
	w = newWorld(t, 2, 1, func(n *simNode) {
		n.tune = func(c *Config) {
			c.Failpoint = func(x wire.Failpoint) error {
				if x == wire.SourceProposing {
					for _, svc := range n.m.Load().services {
						v := svc.vnodes[p].Load()
						v.do((*vnode).regate)
						looked <- v.gate.Load().phase
					}
				}
				return nil
			}
		}
	})
	w.node(1).fill(p, 10)
	w.do(move(p, 0, 1, 2))
	if got := <-looked; got != proposed {
		t.Errorf("the gate is in phase %d, want proposed", got)
	}
	w.node(2).filled(p, 10)
}
