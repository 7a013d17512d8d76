package vnodes

// LastCommands lets no command begin any more, also of those that wait already, and
// returns when those that run have ended: each is refused as ShuttingDown, so that its
// caller asks another node. It comes before the connections are closed: whoever sees his
// closed asks another node too, and what he wrote there, and others after him, would be
// replaced by a command that runs here later.
func (m *Manager) LastCommands() {
	m.last.Store(true)
	for _, v := range m.open() {
		v.do(func(*vnode) {})
	}
}
