package ringcore

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
)

// stuckAfter is for how long nothing may happen with a transfer whose driving node is up and
// answers. A driver whose attempts fail gives up by itself, and sooner; this is for one that
// hangs: in a vnode that does not come back, or in a disk.
const stuckAfter = 2 * time.Minute

// watchTransfers gives up transfers that are stuck, while this node leads. What they were
// for is begun anew, which brings nothing as long as the same node hangs; it frees a gate
// that waits for an outcome, and the history says what happened. It ends with the core.
func (c *core) watchTransfers() {
	patience := cmp.Or(c.n.cfg.stuckAfter, stuckAfter)
	tick := time.NewTicker(patience / 16)
	defer tick.Stop()
	watch := stuckWatch{patience: patience}
	for {
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			return
		}
		open := c.meta.State().Transfers
		if !c.meta.Leading() || len(open) == 0 {
			watch.idle = nil
			continue
		}
		for _, x := range watch.look(time.Now(), open, c.progressOf(c.ctx)) {
			c.n.log.Warn("transfer is stuck and given up", "transfer", x.ID, "partition", x.Partition, "node", x.Driver(), "err", x.reason)
			ctx, cancel := context.WithTimeout(c.ctx, 5*time.Second)
			if err := c.abort(ctx, x.ID, x.reason); err != nil && c.ctx.Err() == nil {
				c.n.log.Info("stuck transfer not given up", "transfer", x.ID, "err", err)
			}
			cancel()
		}
	}
}

// progressOf is what each member that answers says of the transfers that it drives.
func (c *core) progressOf(ctx context.Context) map[ring.NodeID][]vnodes.Progress {
	lists := askOthers[[]vnodes.Progress](ctx, c, wire.OpProgress)
	lists[c.self.ID] = c.vnodes.Progress()
	return lists
}

// stuckWatch finds transfers that are stuck.
type stuckWatch struct {
	patience time.Duration
	idle     map[string]time.Time // by session: since when its driver has said that it does not work on it
}

// stuck is a transfer with which nothing happens.
type stuck struct {
	metadata.Transfer
	reason string
}

// look compares the open transfers with what their drivers say at now. One that does not
// answer is not up, or soon will not be: that is for others to see to.
func (w *stuckWatch) look(now time.Time, open []metadata.Transfer, said map[ring.NodeID][]vnodes.Progress) (all []stuck) {
	idle := make(map[string]time.Time)
	for _, t := range open {
		list, answers := said[t.Driver()]
		if !answers {
			continue
		}
		still, phase := time.Duration(0), ""
		for i := range list {
			if list[i].Session.ID == t.ID {
				still, phase = list[i].Still, list[i].Phase
			}
		}
		if phase == "" {
			since, known := w.idle[t.ID]
			if !known {
				since = now
			}
			idle[t.ID], still, phase = since, now.Sub(since), "not begun"
		}
		if still > w.patience {
			all = append(all, stuck{t, fmt.Sprintf("stuck: its driving node is up, and nothing has happened for %s (%s)", still.Round(time.Second), phase)})
		}
	}
	w.idle = idle
	return all
}
