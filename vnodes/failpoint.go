package vnodes

import "github.com/ringcore/ringcore/dataplane/wire"

// passed tells a test that a step has come to p. An error is to end the step there.
func (m *Manager) passed(p wire.Failpoint) error {
	if m.cfg.Failpoint == nil {
		return nil
	}
	return m.cfg.Failpoint(p)
}
