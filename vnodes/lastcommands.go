package vnodes

import "time"

// lastCommandsWait is for how long a node that stops waits for the commands that run.
const lastCommandsWait = 2 * time.Second

// LastCommands lets no command begin any more, also of those that wait already, and
// returns when those that run have ended, or do not end: each that waits is refused as
// ShuttingDown, so that its caller asks another node. It comes before the connections
// are closed: whoever sees his closed asks another node too, and what he wrote there, and
// others after him, would be replaced by a command that runs here later.
func (m *Manager) LastCommands() {
	m.last.Store(true)
	limit := time.NewTimer(lastCommandsWait)
	defer limit.Stop()
	for _, v := range m.open() {
		idle := make(chan struct{})
		if !v.post(func(*vnode) { close(idle) }) {
			continue // it has stopped
		}
		select {
		case <-idle:
		case <-limit.C:
			return
		}
	}
}
