package dataplane

import (
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// A node that is not up may be back without this node having noticed, so who needs it is
// kept waiting for a moment. Not so when it is known to be away. Its system answers the
// dials, which go on all the time, and it does not: they are refused, since no process is
// there, or taken and left without an answer, since the process hangs. Either way this node
// will hear from it at once when that ends: a process that starts makes itself known to the
// others before it serves, one that goes on answers what it finds.

// awayAfter is for how long a node must not have answered: those that need it at first are
// kept waiting while others get ready to stand in for it.
const awayAfter = time.Second

// Away reports whether node is known to be away. It may be called from any goroutine and
// does not block.
func (p *Peers) Away(node ring.NodeID) bool {
	p.mu.RLock()
	x := p.peers[node]
	p.mu.RUnlock()
	return x != nil && x.away()
}

func (p *peer) away() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.link == nil && p.absent != 0 && p.own.now()-p.absent >= awayAfter
}

// dial connects, and notes whether the node is absent. A dial that nobody has taken, as
// behind a cut link, says nothing of the node; what a node says itself shows that it is there.
func (p *peer) dial() (net.Conn, wire.Hello, error) {
	taken := 0
	c, theirs, err := p.own.dial(p.own.ctx, p.node, wire.ConnPeer, func() {
		taken = 1
		p.mu.Lock()
		defer p.mu.Unlock()
		p.taken++
		p.notAnswered()
	})
	_, answered := errors.AsType[*wire.Error](err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken -= taken
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		p.notAnswered()
	case err == nil, answered, taken == 0:
		p.absent = 0
	}
	return c, theirs, err
}

// notAnswered notes that a dial was refused, or taken and not answered yet. mu is held.
func (p *peer) notAnswered() {
	if p.absent == 0 {
		p.absent = max(p.own.now(), 1)
	}
}

// hopeless reports whether every node that has a slot is away.
func (o *operation) hopeless() bool {
	for i := range o.slots {
		if node := o.slots[i].Node; node == o.r.self || o.r.up(node) || !o.r.away(node) {
			return false
		}
	}
	return true
}

// vain reports whether there is no use in asking a fallback: the owner has been away for
// long enough that who holds something for it has told everybody, and nobody does. A
// thousand callers that want what is not there need not trouble two nodes each.
func (o *operation) vain() bool {
	return o.op == wire.OpQuery && o.info.N == 1 && !o.noHop() && o.hopeless() && !o.r.held(o.slots[0].Node, o.service, o.part)
}
