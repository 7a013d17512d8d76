package metadata

import (
	"fmt"
	"math/bits"
)

// model makes the transitions of a modelState.
type model struct {
	raft     *modelRaft
	mutant   mutant
	sessions uint8
	wrong    string // the promise that the last transition has broken
}

func (m *model) fail(format string, args ...any) {
	if m.wrong == "" {
		m.wrong = fmt.Sprintf(format, args...)
	}
}

// trier offers a transition: change makes it, and reports whether it is possible.
type trier func(what string, change func(n *modelState) bool)

// successors calls yield with every state that s may turn into, and what happens then.
func (m *model) successors(s *modelState, yield func(what string, next *modelState)) {
	try := func(what string, change func(n *modelState) bool) {
		next := *s
		if change(&next) && next != *s {
			yield(what, &next)
		}
	}
	m.leader(s, try)
	for i := range s.n {
		name := modelName(i)
		m.life(s, i, name, try)
		if s.n[i].up {
			m.clients(i, name, try)
			m.source(s, i, name, try)
		}
	}
}

func modelName(i int) string { return string(rune('A' + i)) }

// leader are the choices of the raft leader, and what arrives at it.
func (m *model) leader(s *modelState, try trier) {
	open := m.raft.open(s.raft, -1)
	if open == 0 && s.begun < m.sessions {
		try("the leader begins a session", func(n *modelState) bool {
			n.begun++
			n.raft = m.raft.apply(n.raft, opBegin, n.begun)
			return n.raft != s.raft
		})
		if m.raft.owns(s.raft, 1) && !s.turned {
			try("the target is to leave", func(n *modelState) bool {
				n.turned = true
				n.raft = m.raft.apply(n.raft, opTurn, 0)
				return true
			})
		}
	}
	if open != 0 && s.aborts > 0 {
		try("the leader aborts the session", func(n *modelState) bool {
			n.aborts--
			n.raft = m.raft.apply(n.raft, opAbort, open)
			return true
		})
	}
	if open != 0 && s.sent>>open&1 == 1 { // of any other it changes nothing
		try(fmt.Sprintf("the commit of session %d arrives", open), func(n *modelState) bool {
			n.raft = m.raft.apply(n.raft, opCommit, open)
			return true
		})
	}
}

// life is what happens to a node whatever it does.
func (m *model) life(s *modelState, i int, name string, try trier) {
	x := &s.n[i]
	if !x.up {
		for view := x.view; ; view = m.raft.parent[view] {
			try(fmt.Sprintf("%s starts with the metadata of epoch %d", name, m.raft.epoch(view)), func(n *modelState) bool {
				m.start(n, i, view)
				return true
			})
			if view == 0 {
				return
			}
		}
	}
	if x.view != s.raft {
		try(name+" learns the next metadata", func(n *modelState) bool { m.learn(n, i, m.raft.after(n.n[i].view, n.raft)); return true })
		try(name+" learns the newest metadata", func(n *modelState) bool { m.learn(n, i, n.raft); return true })
	}
	if s.crashes > 0 {
		try(name+" crashes", func(n *modelState) bool { n.crashes--; m.crash(n, i); return true })
	}
	if x.mem > x.file {
		try(name+" syncs", func(n *modelState) bool { m.sync(n, i); return true })
	}
	if s.rots > 0 && x.ready != 0 && !x.rotten {
		try("what is staged at "+name+" rots", func(n *modelState) bool { n.rots--; n.n[i].rotten = true; return true })
	}
}

// sync makes what node i has appended durable.
func (m *model) sync(s *modelState, i int) {
	x := &s.n[i]
	x.file = max(x.file, x.mem)
	for c := range s.clients {
		if s.clients[c].stamp != 0 && int(s.clients[c].at) == i {
			s.clients[c].synced = true
		}
	}
}

// crash takes what is not durable. Writes under way end as maybe.
func (m *model) crash(s *modelState, i int) {
	x := s.n[i]
	s.n[i] = modelNode{
		view: x.view, acted: x.acted, file: x.file, staged: x.staged, ready: x.ready, notes: x.notes, wanted: x.wanted, rotten: x.rotten,
	}
	switch m.mutant {
	case forgetReady:
		s.n[i].ready = 0
	case forgetEpoch:
		s.n[i].acted = 0
	}
	for c := range s.clients {
		if s.clients[c].stamp != 0 && int(s.clients[c].at) == i {
			s.clients[c] = modelClient{}
		}
	}
	m.hangUp(s)
	s.broken = s.streaming()
}

// streaming reports whether an attempt is under way.
func (s *modelState) streaming() bool {
	for i := range s.n {
		if st := s.n[i].stage; st > mIdle && st < mAsking {
			return true
		}
	}
	return false
}

// hangUp breaks the stream: the target forgets what is staged and not ready.
func (m *model) hangUp(s *modelState) {
	s.pipe, s.ready, s.broken = [3]modelFrame{}, false, false
	for i := range s.n {
		if x := &s.n[i]; x.ready == 0 {
			x.staged, x.rotten = 0, false
		}
	}
}

// start is Manager.resume, with metadata that may be old.
func (m *model) start(s *modelState, i int, view uint8) {
	x := &s.n[i]
	x.up, x.view, x.mem, x.gate = true, view, x.file, mGone
	if x.notes != 0 && m.mutant != forgetProposal {
		x.proposal = uint8(bits.Len8(x.notes)) - 1 // all but the last are decided
		x.stage = mAsking
	}
	if m.raft.epoch(view) >= x.acted {
		m.install(s, i, false, false)
	}
}

// learn takes newer metadata and puts its ring in force.
func (m *model) learn(s *modelState, i int, view uint8) {
	x := &s.n[i]
	owned, ran := x.in && m.raft.owns(x.view, i), x.in
	x.view = view
	if m.raft.epoch(view) >= x.acted {
		m.install(s, i, owned, ran)
	}
}

// install is Manager.install, and the look for ended sessions that follows it.
func (m *model) install(s *modelState, i int, owned, ran bool) {
	x := &s.n[i]
	x.in = true
	if m.raft.owns(x.view, i) && !owned {
		m.activate(x, ran)
	}
	if x.ready != 0 && !x.lost && m.mutant != keepOldArrival {
		committed, over := m.raft.over(x.view, x.ready, 1-i)
		if over && (!committed || m.raft.states[x.view].Ring.Gen(0) > m.raft.gen(x.view, x.ready)) {
			x.staged, x.ready, x.rotten = 0, 0, false
		}
	}
	x.gate = m.gateOf(x, i)
}

// gateOf is Manager.slotGate, and vnode.regate for one that is sealed.
func (m *model) gateOf(x *modelNode, i int) modelPhase {
	switch {
	case !m.raft.owns(x.view, i) && m.mutant == serveWhenReady && x.ready != 0:
		return mServing
	case !m.raft.owns(x.view, i):
		return mGone
	case x.lost || x.wanted && x.file == 0:
		return mLost
	case x.proposal != 0:
		return mProposed
	case x.gate == mSealed:
		return mSealed
	}
	return mServing
}

// activate gives a node its new slot: what a ready session has staged, or nothing.
func (m *model) activate(x *modelNode, ran bool) {
	arrived := x.ready != 0
	if arrived && m.mutant != keepOldArrival {
		committed, known := m.raft.states[x.view].Outcome(modelSession(x.ready))
		arrived = committed || !known
	}
	if !arrived && !ran {
		return
	}
	x.acted = m.raft.epoch(x.view)
	switch {
	case !arrived:
		x.lost, x.wanted = true, true
	case x.rotten:
		x.lost = true // the note stays: the next start tries again
	default:
		x.file, x.mem, x.wanted, x.lost = x.staged, x.staged, true, false
		x.staged, x.ready = 0, 0
	}
}

// clients are the operations that node i may take part in.
func (m *model) clients(i int, name string, try trier) {
	try(name+" answers a read", func(n *modelState) bool {
		x := &n.n[i]
		if !x.serves() {
			return false
		}
		got := max(x.file, 1) - 1
		if got < n.shown {
			m.fail("%s answers a read with stamp %d, and %d has been shown", name, got, n.shown)
		}
		n.shown = max(n.shown, got)
		return true
	})
	for c := range 2 {
		try(fmt.Sprintf("%s runs a write of client %d", name, c+1), func(n *modelState) bool {
			x, cl := &n.n[i], &n.clients[c]
			if !x.in || x.gate != mServing || cl.stamp != 0 {
				return false
			}
			newest := n.newest()
			x.mem = max(x.mem, 1) + 1
			cl.stamp, cl.at = x.mem-1, uint8(i)
			if cl.stamp <= n.shown {
				m.fail("%s stamps a write with %d, and %d has been shown", name, cl.stamp, n.shown)
			}
			if x.mem <= newest {
				m.fail("%s stamps a write with %d, and there is one of %d", name, cl.stamp, newest-1)
			}
			x.tail = x.tail || x.stage >= mOpened && x.stage < mAsking && m.mutant != noTailNoDigest
			return true
		})
		try(fmt.Sprintf("%s acknowledges the write of client %d", name, c+1), func(n *modelState) bool {
			cl := &n.clients[c]
			if cl.stamp == 0 || int(cl.at) != i || !cl.synced && m.mutant != ackBeforeSync {
				return false
			}
			n.shown = max(n.shown, cl.stamp)
			*cl = modelClient{}
			return true
		})
	}
}

// serves reports whether x answers reads.
func (x *modelNode) serves() bool {
	return x.up && x.in && (x.gate == mServing || x.gate == mSealed)
}
