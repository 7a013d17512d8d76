package metadata

// source are the steps of the driver at node i, and of the target of its stream.
func (m *model) source(s *modelState, i int, name string, try trier) {
	x, to := &s.n[i], 1-i
	if x.stage == mIdle && x.proposal == 0 && x.in && s.n[to].up {
		try(name+" opens a stream", func(n *modelState) bool { return m.open(n, i, to) })
	}
	if x.stage > mIdle && x.stage < mAsking {
		try(name+" gives the attempt up", func(n *modelState) bool { return m.giveUp(n, i) })
		m.attempt(s, i, name, try)
		if s.pipe[0] != 0 {
			try(modelName(to)+" takes a frame", func(n *modelState) bool { m.take(n, i, to); return true })
		}
	}
	if x.stage == mAsking {
		m.settle(i, name, try)
	}
	if !x.in || x.proposal != 0 {
		return
	}
	if x.file != 0 && !m.raft.owns(x.view, i) {
		try(name+" drops its copy", func(n *modelState) bool { return m.clean(n, i, to) })
	}
	if x.notes != 0 && (x.file == 0 || m.raft.owns(x.view, i)) && m.allOver(x, i) {
		try(name+" forgets its notes", func(n *modelState) bool {
			n.n[i].notes = 0
			n.n[i].acted = m.raft.epoch(n.n[i].view)
			return true
		})
	}
}

// allOver reports whether all sessions are decided of which node i has notes.
func (m *model) allOver(x *modelNode, i int) bool {
	for session := range m.sessions {
		if x.notes>>(session+1)&1 == 1 {
			if _, over := m.raft.over(x.view, session+1, i); !over {
				return false
			}
		}
	}
	return true
}

// open is the sender's open and the receiver's begin.
func (m *model) open(n *modelState, i, to int) bool {
	x, y := &n.n[i], &n.n[to]
	session := m.raft.open(x.view, i)
	if session == 0 || x.gate == mLost {
		return false
	}
	if !y.in || m.raft.epoch(y.view) < m.raft.epoch(x.view) {
		m.learn(n, to, n.raft)
	}
	if m.raft.open(y.view, -1) != session || !y.in {
		return false
	}
	m.hangUp(n)
	x.acted, y.acted = m.raft.epoch(x.view), m.raft.epoch(y.view)
	x.stage, x.session, x.tail = mOpened, session, false
	if m.mutant != keepOldArrival || y.ready == 0 {
		y.staged, y.ready, y.rotten = 1, 0, false // an empty file
	}
	return true
}

// giveUp ends an attempt: the stream has broken, the seal's time is over, or the
// session has ended.
func (m *model) giveUp(n *modelState, i int) bool {
	m.hangUp(n)
	x := &n.n[i]
	x.stage, x.session, x.tail = mIdle, 0, false
	if x.gate == mSealed {
		x.gate = mServing
	}
	return true
}

// attempt are the steps of a stream, as long as it is whole.
func (m *model) attempt(s *modelState, i int, name string, try trier) {
	if s.broken {
		return
	}
	switch x := &s.n[i]; x.stage {
	case mOpened:
		try(name+" folds", func(n *modelState) bool { m.send(n, i, mChunk); n.n[i].stage = mFolded; return true })
	case mFolded:
		if x.tail && s.pipe[0] == 0 {
			try(name+" sends its tail", func(n *modelState) bool { m.send(n, i, mChunk); return true })
		}
		if x.gate == mServing {
			try(name+" seals", func(n *modelState) bool {
				if m.mutant != noSeal {
					n.n[i].gate = mSealed
				}
				n.n[i].stage = mHeld
				return true
			})
		}
	case mHeld:
		try(name+" sends the last tail and the end", func(n *modelState) bool {
			if n.n[i].tail {
				m.send(n, i, mChunk)
			}
			m.send(n, i, mEnd)
			n.n[i].stage = mEnded
			return true
		})
	case mEnded:
		if s.ready || m.mutant == proposeBeforeReady {
			try(name+" proposes", func(n *modelState) bool {
				x := &n.n[i]
				x.gate, x.stage, x.tail = mProposed, mAsking, false
				x.proposal, x.session = x.session, 0
				x.notes |= 1 << x.proposal
				m.hangUp(n)
				return true
			})
		}
	}
}

// send sends what is durable by then.
func (m *model) send(n *modelState, i int, kind modelFrame) {
	n.n[i].tail = false
	m.sync(n, i)
	for k := range n.pipe {
		if n.pipe[k] == 0 {
			n.pipe[k] = kind + modelFrame(n.n[i].file)
			return
		}
	}
	panic("the model's stream is too short")
}

// take is what the target does with a frame.
func (m *model) take(n *modelState, i, to int) {
	x, y := &n.n[i], &n.n[to]
	f := n.pipe[0]
	n.pipe = [3]modelFrame{n.pipe[1], n.pipe[2]}
	record := uint8(f & 0xf)
	old := m.mutant == keepOldArrival && y.ready != 0
	switch {
	case old:
	case f < mEnd:
		y.staged = record
		return
	case y.staged != record && m.mutant != noTailNoDigest:
		return // refused: the source gives the attempt up
	default:
		y.ready = x.session
	}
	if f < mEnd {
		return
	}
	if committed, over := m.raft.over(y.view, x.session, i); over && !committed && m.mutant != keepOldArrival {
		y.staged, y.ready = 0, 0
		return
	}
	n.ready = true
	y.gate = m.gateOf(y, to)
}

// settle asks the leader until it is known how the session has ended.
func (m *model) settle(i int, name string, try trier) {
	try(name+" asks the leader", func(n *modelState) bool {
		n.sent |= 1 << n.n[i].proposal
		return true
	})
	try(name+" concludes", func(n *modelState) bool {
		x := &n.n[i]
		if !x.in {
			return false
		}
		committed, over := m.raft.over(x.view, x.proposal, i)
		if !over {
			return false
		}
		if !committed {
			x.notes &^= 1 << x.proposal
		}
		x.proposal, x.stage = 0, mIdle
		x.gate = m.gateOf(x, i)
		return true
	})
	if m.mutant == unsealAfterProposed {
		try(name+" unseals", func(n *modelState) bool {
			x := &n.n[i]
			x.notes &^= 1 << x.proposal
			x.proposal, x.stage, x.gate = 0, mIdle, mServing
			return true
		})
	}
}

// clean drops the file of a slot that has left node i, when the other confirms.
func (m *model) clean(n *modelState, i, to int) bool {
	x, y := &n.n[i], &n.n[to]
	if m.mutant != dropBeforeConfirmed {
		if !y.up {
			return false
		}
		if !y.in || m.raft.epoch(y.view) < m.raft.epoch(x.view) {
			m.learn(n, to, n.raft)
		}
		if !y.serves() || m.raft.states[y.view].Ring.Gen(0) != m.raft.states[x.view].Ring.Gen(0) {
			return false
		}
	}
	if y.file == 0 || y.file-1 < n.shown {
		m.fail("%s drops its copy, and the other has none in its place", modelName(i))
	}
	x.file, x.mem, x.wanted, x.acted = 0, 0, false, m.raft.epoch(x.view)
	return true
}

// check asserts the invariants of a state.
func (m *model) check(s *modelState) {
	serving, copies := 0, 0
	open := m.raft.open(s.raft, -1)
	for i := range s.n {
		x := &s.n[i]
		have := max(x.file, 1) - 1
		staged := x.ready != 0 && !x.rotten && x.staged > s.shown
		if x.file > s.shown || staged {
			copies++
		}
		if x.serves() {
			serving++
			switch {
			case !m.raft.owns(s.raft, i):
				m.fail("%s serves and does not own the slot", modelName(i))
			case have < s.shown:
				m.fail("%s serves with stamp %d, and %d has been shown", modelName(i), have, s.shown)
			}
		}
		if m.raft.owns(s.raft, i) && x.file <= s.shown && !staged && !x.rotten {
			m.fail("%s owns the slot and has nothing as new as %d, which has been shown", modelName(i), s.shown)
		}
		if x.ready != 0 && x.ready == open && s.sent>>open&1 == 1 && x.staged <= s.shown {
			m.fail("%d has been shown, which the copy that may be committed lacks", s.shown)
		}
	}
	if serving > 1 {
		m.fail("two nodes serve the slot")
	}
	if copies == 0 {
		m.fail("no node has what has been shown")
	}
}

// done reports whether nothing is left to do: the owner serves, and nobody has anything else.
func (m *model) done(s *modelState) bool {
	if m.raft.open(s.raft, -1) != 0 || s.begun == 0 {
		return false
	}
	for i := range s.n {
		x := &s.n[i]
		owner := m.raft.owns(s.raft, i)
		if !x.up || !x.in || x.view != s.raft || x.stage != mIdle || x.notes != 0 || x.ready != 0 || x.staged != 0 ||
			owner != (x.file != 0) || owner != x.serves() || s.clients[i].stamp != 0 {
			return false
		}
	}
	return true
}
