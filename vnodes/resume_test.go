package vnodes

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// After a broken stream, after a restart of the target, and after a kill,
// or a stop, of the source, whose log has what changed, a transfer goes on behind what was acknowledged. When
// both have forgotten, it begins anew. What was written meanwhile comes along.
func TestResumedHandoff(t *testing.T) {
	const p, records, cut = 4, 400, 40
	for name, c := range map[string]struct {
		again  func(a, b *simNode)
		resume bool
	}{
		"broken stream":   {func(_, _ *simNode) {}, true},
		"target restarts": {func(_, b *simNode) { b.restart() }, true},
		"target killed":   {func(_, b *simNode) { b.crash(); b.start() }, true},
		"source killed":   {func(a, _ *simNode) { a.crash(); a.start() }, true},
		"source stops":    {func(a, _ *simNode) { a.restart() }, true},
		"both killed":     {func(a, b *simNode) { a.crash(); b.crash(); a.start(); b.start() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2, 1, func(n *simNode) { n.tune = func(c *Config) { c.ChunkBytes = 256 } })
			a, b := w.node(1), w.node(2)
			a.fill(p, records)
			var acked, later, streams atomic.Int64
			var broken, onward atomic.Bool
			w.net.setHook(func(f *passing) treatment {
				switch {
				case f.opened != wire.OpHandoff:
				case f.n == 0:
					streams.Add(1)
					if broken.Load() && !onward.Load() {
						return sever
					}
				case f.Kind == wire.KindChunk && broken.Load():
					later.Add(1)
				case f.answer && !broken.Load() && acked.Add(1) == cut:
					broken.Store(true)
					return sever
				}
				return deliver
			})
			s := w.begin(move(p, 0, 1, 2))
			w.until("the stream is broken", broken.Load)
			a.mustPut(keyIn(p, 0), "newer")
			c.again(a, b)
			a.mustPut(keyIn(p, 1), "newer too")
			later.Store(0)
			onward.Store(true)
			w.committed(s)
			w.settled()
			b.mustGet(keyIn(p, 0), "newer")
			b.mustGet(keyIn(p, 1), "newer too")
			for i := 2; i < records; i++ {
				b.mustGet(keyIn(p, i), fmt.Sprint("value", i))
			}
			whole := int64(records / 4) // chunks of the whole
			if resumed := later.Load() < whole-cut/2; resumed != c.resume {
				t.Errorf("%d chunks after the break, %d streams; resumed %t, want %t", later.Load(), streams.Load(), resumed, c.resume)
			}
		})
	}
}

// A session that gets nowhere ends, with the reason, and its places are free for others.
func TestStalledSessionEnds(t *testing.T) {
	w := newWorld(t, 2, 1, func(n *simNode) { n.tune = func(c *Config) { c.StallTime = 200 * time.Millisecond } })
	const p = 4
	a := w.node(1)
	a.fill(p, 20)
	w.net.setHook(func(f *passing) treatment {
		if f.opened == wire.OpHandoff && f.answer {
			return sever
		}
		return deliver
	})
	s := w.begin(move(p, 0, 1, 2))
	w.until("the session is aborted", func() bool {
		committed, known := w.state().ended[s.ID]
		return known && !committed
	})
	if !strings.Contains(a.log.String(), "transfer stalled") {
		t.Error("nothing is said")
	}
	w.net.setHook(nil)
	w.do(move(p, 0, 1, 2))
	w.node(2).filled(p, 20)
}

// A limit that changes holds for those who wait already.
func TestThrottle(t *testing.T) {
	var limit atomic.Int64
	limit.Store(1000)
	x := &throttle{limit: limit.Load}
	now := time.Now()
	if wait := x.try(500, now); wait != 0 {
		t.Errorf("the first waits %s", wait)
	}
	if wait := x.try(1, now); wait != 500*time.Millisecond {
		t.Errorf("the next waits %s", wait)
	}
	if wait := x.try(1, now.Add(250*time.Millisecond)); wait != 250*time.Millisecond {
		t.Errorf("half later it waits %s", wait)
	}
	limit.Store(10_000)
	if wait := x.try(1, now.Add(250*time.Millisecond)); wait != 25*time.Millisecond {
		t.Errorf("with ten times as much it waits %s", wait)
	}
	limit.Store(-1)
	if wait := x.try(1<<30, now); wait != 0 {
		t.Errorf("without a limit it waits %s", wait)
	}
}
