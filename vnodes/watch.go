package vnodes

import "time"

// A worker that is still with the same message after stuckAfter, while others wait, is
// stuck: in the service's code, or because the disk does not keep up. Until it goes on,
// what comes is refused at once. Looked at every watchTick, so that the workers
// themselves need no clock.
const (
	watchTick  = 100 * time.Millisecond
	stuckAfter = time.Second
)

// stillness is how many ticks a worker has not moved. The watch alone uses it.
type stillness struct {
	turns uint32
	ticks int
}

// watchWorkers looks after stuck workers, until Close.
func (m *Manager) watchWorkers() {
	for pause(m.ctx, watchTick) {
		for _, v := range m.open() {
			v.watch()
		}
	}
}

// watch looks once at the worker.
func (v *vnode) watch() {
	turns := v.turns.Load()
	if turns != v.still.turns || len(v.inbox) == 0 {
		v.still = stillness{turns: turns}
		return
	}
	if v.still.ticks++; v.still.ticks < int(stuckAfter/watchTick) || v.stuck.Load() {
		return
	}
	v.m.log.Warn("vnode is stuck", "service", v.svc.Name, "partition", v.id.partition, "items", len(v.inbox))
	v.stuck.Store(true)
	if v.turns.Load() != turns {
		v.stuck.Store(false) // it has moved meanwhile
	}
}
