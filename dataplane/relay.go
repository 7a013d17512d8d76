package dataplane

import (
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// relayHedge is how long a coordinator may take over a query before another one is asked
// too: longer than it takes the coordinator itself to ask another replica.
const relayHedge = 100 * time.Millisecond

// relay passes a query to a node that can coordinate it, and to one more if that is
// slow. The first answer that is final counts, or the last of all that are not.
type relay struct {
	o     *operation
	timer *time.Timer

	mu   sync.Mutex // held for arithmetic only, and to look for another node
	open int        // asked and not answered
	done bool       // the operation goes on without this relay
}

// relay asks the node in slot i first.
func (o *operation) relay(i int) {
	y := &relay{o: o, open: 1}
	y.timer = time.AfterFunc(relayHedge, y.hedge)
	y.ask(i)
}

func (y *relay) ask(i int) {
	y.o.send(y.o.slots[i].Node, 0, y.o.encoded, y.answered)
}

// hedge asks one more node, if there is one.
func (y *relay) hedge() {
	y.mu.Lock()
	i := -1
	if !y.done {
		i = y.o.candidate()
	}
	if i < 0 {
		y.mu.Unlock()
		return
	}
	y.o.tried |= 1 << i
	y.open++
	y.mu.Unlock()
	y.ask(i)
}

func (y *relay) answered(node ring.NodeID, code wire.Code, epoch uint64, body []byte) {
	y.mu.Lock()
	y.open--
	switch {
	case y.done:
		y.mu.Unlock()
		return
	case y.open > 0 && replicaFails(code):
		y.mu.Unlock()
		y.hedge()
		return
	}
	y.done = true
	y.mu.Unlock()
	y.timer.Stop()
	y.o.answered(node, code, epoch, body)
}
