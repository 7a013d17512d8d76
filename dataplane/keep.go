package dataplane

import (
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// keep stores the effect for node in slot i on this node. It never counts: this node is
// one acknowledgement already.
func (w *write) keep(i int, node ring.NodeID) {
	w.r.local.Dispatch(&wire.Request{
		Op: wire.OpEffect, Service: w.fresh.Service, Partition: w.fresh.Partition, Flags: wire.FlagFallback,
		Gen: w.fresh.Gen, Epoch: w.fresh.Epoch, Effect: w.effect, For: string(node), Deadline: w.hintDeadline(),
		Done: func(code wire.Code, _ uint64, body []byte) {
			if code != wire.OK {
				w.r.log.Warn("hint not kept", "node", node, "partition", w.part, "err", string(body))
				w.hintEnds(i, failed, "")
				w.r.local.Suspect(w.part)
				return
			}
			w.hintEnds(i, hinted, "")
		},
	})
}

// hintEnds notes what has come of a hint, unless the slot itself has been asked again.
func (w *write) hintEnds(i int, s slotState, keeper ring.NodeID) {
	w.mu.Lock()
	if w.state[i] == hinting {
		w.state[i], w.keeper[i] = s, keeper
	}
	w.weigh()
}

// hintDeadline outlasts the caller's: a hint is for the slot, not for the caller.
func (w *write) hintDeadline() time.Time { return time.Now().Add(w.r.timeout) }
