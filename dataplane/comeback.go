package dataplane

import "time"

// noticeWithin is within what time of its return a node is known to be back.
const noticeWithin = redialWait + 2*tendEvery

// A write that too few slots have taken has missed some because their nodes were down when
// it was spread. They may be up by the time that this is known: one node is started anew,
// and another, which would have done in its place, hangs and is given up after a second only.
// So before its caller hears of it the effect goes to those that are up, and for a while to
// those that are noticed to be. It is the same effect: what has been written since is newer.

// await keeps the caller waiting if slots that could not be reached may yet make up what
// got slots and spare fallbacks fall short by. It is called with mu held.
func (w *write) await(got, spare int) bool {
	if w.waits {
		return true
	}
	if w.waited {
		return false
	}
	maybe := 0
	hopeful := time.Now().Before(w.o.began.Add(noticeWithin)) && w.r.inTouch()
	for i := range w.k {
		if w.away[i] && (w.r.up(w.nodes[i]) || hopeful && !w.r.away(w.nodes[i])) {
			maybe++
		}
	}
	w.waited = true
	w.waits = got+maybe >= w.needPW && got+spare+maybe >= w.need && w.r.spawn(w.retry)
	return w.waits
}

// inTouch reports whether this node reaches most of the others. One that does not is cut
// off itself: who asks it had better ask another node, soon.
func (r *Router) inTouch() bool {
	members := r.members()
	up := 0
	for _, node := range members {
		if node == r.self || r.up(node) {
			up++
		}
	}
	return up > len(members)/2
}

// retry brings the effect to the slots that are away as their nodes come up, until the
// write is concluded or one that is back would be known to be.
func (w *write) retry() {
	until := w.o.began.Add(min(noticeWithin, w.until.Sub(w.o.began)/2))
	for tries := 0; w.sendAgain(); tries++ {
		if !time.Now().Before(until) || !w.r.sleep(wait(tries), until) {
			break
		}
	}
	w.mu.Lock()
	w.waits = false
	w.weigh()
}

// sendAgain sends the effect to the slots that are away and whose nodes are up; false if
// there is no use in trying once more.
func (w *write) sendAgain() bool {
	for i := range w.k {
		w.mu.Lock()
		if w.closed || w.o.Forsaken() {
			w.mu.Unlock()
			return false
		}
		node := w.nodes[i]
		again := w.away[i] && w.r.up(node)
		if again {
			w.away[i], w.state[i] = false, waiting
		}
		w.mu.Unlock()
		if again {
			h := w.fresh
			h.Slot = uint8(i)
			w.send(i, node, h, w.until)
		}
	}
	return true
}
