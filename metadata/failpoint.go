package metadata

import "github.com/ringcore/ringcore/dataplane/wire"

// failpoints tells a test what the leader and the FSM are about to do with transfers,
// and have done.
type failpoints struct {
	hook func(wire.Failpoint) error // nil outside of tests
}

func (f failpoints) passed(p wire.Failpoint) error {
	if f.hook == nil {
		return nil
	}
	return f.hook(p)
}

// proposing is called by the leader before it proposes c; after an error it does not.
func (f failpoints) proposing(c *Command) error {
	switch c.Op {
	case opBegin:
		return f.passed(wire.LeaderBegin)
	case opAbort:
		return f.passed(wire.LeaderAbort)
	}
	return nil
}

// applying is called by the FSM before it applies c.
func (f failpoints) applying(c *Command) {
	f.tell(c, wire.FSMBegin, wire.FSMCommit, wire.FSMAbort)
}

// applied is called by the FSM when c is in force.
func (f failpoints) applied(c *Command) {
	f.tell(c, wire.FSMBegun, wire.FSMCommitted, wire.FSMAborted)
}

func (f failpoints) tell(c *Command, begin, commit, abort wire.Failpoint) {
	switch c.Op { // an FSM cannot fail
	case opBegin:
		_ = f.passed(begin)
	case opCommit:
		_ = f.passed(commit)
	case opAbort:
		_ = f.passed(abort)
	}
}
