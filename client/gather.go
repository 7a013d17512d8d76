package client

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// gatherer decides when what callers have queued is written. A system call for each
// request, and each wakes a node: that is most of what a small request costs. So
//
//   - a caller writes its request itself, with what others have queued;
//   - while answers are handed out, nobody writes: the reader that does so writes, when
//     the callers that it has woken have queued their next requests;
//   - a query waits for the next answer of its node if a few are under way to it already.
//
// A watch writes what has waited for long: a node that is slow over some requests must
// not hold up the others.
type gatherer struct {
	mu      sync.Mutex // held for a few instructions
	held    int        // readers that hand out answers
	waiting []*link    // to be written by whoever of them is ready next
	spare   []*link
	lingers []*link // that have something to write, since the watch has looked
	slow    []*link // the same, since before
	watch   *time.Timer
	armed   bool
}

const (
	gatherFrom  = 4 // queries under way to a node: the next one waits for an answer
	gatherBytes = 64 << 10
	gatherWatch = 2 * time.Millisecond // what waits waits twice as long, at most
	gatherMost  = 128                  // answers that are handed out at once
)

// hold begins to hand out answers.
func (g *gatherer) hold() {
	g.mu.Lock()
	g.held++
	g.mu.Unlock()
}

// release writes what those who were woken have queued, and what waits for l's answers.
func (g *gatherer) release(l *link) {
	runtime.Gosched() // they run first
	g.mu.Lock()
	g.held--
	list := g.waiting
	g.waiting, g.spare = g.spare, nil
	g.mu.Unlock()
	for i, x := range list {
		x.flush()
		list[i] = nil
	}
	l.flush()
	g.mu.Lock()
	if g.spare == nil {
		g.spare = list[:0]
	}
	g.mu.Unlock()
}

// keep leaves it to a reader to write l; false if none is about to.
func (g *gatherer) keep(l *link) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held == 0 {
		return false
	}
	g.waiting = append(g.waiting, l)
	g.late(l)
	return true
}

// linger leaves it to the reader of l, or the watch.
func (g *gatherer) linger(l *link) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.late(l)
}

// late has the watch see to l. mu is held.
func (g *gatherer) late(l *link) {
	if slices.Contains(g.lingers, l) {
		return
	}
	g.lingers = append(g.lingers, l)
	switch {
	case g.armed:
	case g.watch == nil:
		g.watch = time.AfterFunc(gatherWatch, g.look)
	default:
		g.watch.Reset(gatherWatch)
	}
	g.armed = true
}

// look is the watch's.
func (g *gatherer) look() {
	g.mu.Lock()
	late := g.slow
	g.slow, g.lingers = g.lingers, nil
	if g.armed = len(g.slow) > 0; g.armed {
		g.watch.Reset(gatherWatch)
	}
	g.mu.Unlock()
	for _, l := range late {
		l.wakeWriter()
	}
}

// flush writes what is queued as far as the kernel takes it at once; the writer's
// goroutine does the rest, and all of it where the connection is none of the system's.
func (l *link) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil || len(l.queue) == 0:
	case l.socket == nil || l.writing || l.rest != nil:
		l.dueLocked()
	default:
		batch := l.takeLocked()
		l.mu.Unlock()
		n := l.try(batch)
		l.mu.Lock()
		l.wroteLocked(batch, n)
	}
}

// takeLocked takes the queue, to write it; wroteLocked must follow. l.mu is held.
func (l *link) takeLocked() []byte {
	batch := l.queue
	l.queue, l.spare = l.spare, nil
	l.writing, l.kept, l.due = true, false, false
	return batch
}

// wroteLocked notes that n bytes of batch were written. l.mu is held.
func (l *link) wroteLocked(batch []byte, n int) {
	l.writing = false
	switch {
	case l.err != nil:
	case n < len(batch):
		l.rest, l.kept, l.due = batch[n:], true, true
	case cap(batch) <= linkKeepBuffer:
		l.spare = batch[:0]
	}
	if l.due {
		l.more.Signal()
	}
}

// try writes what the kernel takes at once, and returns how much that was: nothing also
// if it fails, which the writer will find out.
func (l *link) try(batch []byte) int {
	if l.socket == nil {
		return 0
	}
	return l.socket.TryWrite(batch)
}

// dueLocked has the writer write. l.mu is held.
func (l *link) dueLocked() {
	l.due, l.kept = true, true
	l.more.Signal()
}

func (l *link) wakeWriter() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) > 0 {
		l.dueLocked()
	}
}
