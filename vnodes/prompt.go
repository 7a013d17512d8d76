package vnodes

import (
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// A request that is prompt runs on the goroutine that brings it, which is a connection's
// reader: the next request of that connection waits meanwhile, and nobody has to be woken.
// It takes the vnode's turn only if nobody has it and nobody waits for it, so requests run
// in the order in which they come, and it runs only where it meets no wait: not for a file
// that is opened or made, not for room in memory, not for the clock. Else the worker runs it.

// promptSize is the most bytes that a prompt request brings: copying more takes long.
const promptSize = 32 << 10

// runNow runs r here and now if it is prompt and nothing stands in its way.
func (v *vnode) runNow(r *wire.Request) bool {
	if v.queued.Load() != 0 || !v.promptly(r) || !v.turn.TryLock() {
		return false
	}
	defer v.turn.Unlock()
	if v.queued.Load() != 0 || v.ended {
		return false
	}
	v.begin()
	v.handle(r)
	return true
}

// promptly reports whether r is prompt, and the vnode in a state to make short work of it.
func (v *vnode) promptly(r *wire.Request) bool {
	if v.svc.prompt == nil || v.id.fallback != "" || len(r.Effect)+len(r.Call.Body) > promptSize {
		return false
	}
	s, ok := v.store.(*slotStore)
	if !ok || s.inner.Load() == nil || !v.begun.Load() || v.m.disk != nil && !v.m.disk.roomy() {
		return false
	}
	switch r.Op {
	case wire.OpEffect:
		return true
	case wire.OpCommand:
		return r.Call.Flags&wire.CallRestore == 0 && v.svc.promptly(r.Call.Body) && v.m.clock.prompt()
	}
	return false
}

// promptly reports whether cmd is prompt. One that makes Prompt panic is not.
func (s *service) promptly(cmd []byte) (prompt bool) {
	defer func() {
		if recover() != nil {
			prompt = false
		}
	}()
	return s.prompt.Prompt(cmd)
}

// roomy reports whether an Append would not wait for room in the tables, nor soon.
func (d *Disk) roomy() bool { return d.tables.Load() <= d.opts.TableBytes*5/4 }

// prompt reports whether the clock has times left that it need not wait for.
func (c *Clock) prompt() bool {
	return clockTime(c.now())+clockSpan(time.Millisecond) < c.reserved.Load()
}
