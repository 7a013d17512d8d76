package dataplane

import (
	"sync"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Cork gathers what a node's connections have to write while batches of requests or
// answers are worked through: the goroutine that reads a connection holds the cork while
// it handles what one system call has brought, and when it lets go it writes what has
// gathered, one system call for each connection, without waking any other goroutine.
//
// Whoever queues a frame while nobody holds the cork wakes the connection's own writer.
// So does the cork's watch for what has waited for long: one slow request must not hold
// up what others have to say. All methods may be called from any goroutine.
type Cork struct {
	mu      sync.Mutex // held for a few instructions
	held    int        // by so many readers
	waiting []*outbox  // queues that were empty before, to be written by whoever lets go next
	others  []func()   // who else waits for that, see Keep
	spare   []*outbox
	rounds  uint32 // how often waiting was taken
	watch   *time.Timer
	watched uint32 // rounds, as the watch has seen it last
	armed   bool   // the watch will look again
}

// corkWatch is how often the watch looks while there is something to watch. What waits
// waits for two looks at most.
const corkWatch = 2 * time.Millisecond

// NewCork returns a cork for the connections of one node, see ServerConfig and PeersConfig.
func NewCork() *Cork { return &Cork{} }

// Hold and Release are for those who answer a batch of requests at a time: what they say
// in between is written together.
func (k *Cork) Hold() { k.hold() }

// Release undoes Hold.
func (k *Cork) Release() { k.release() }

// Keep has wake called when the batches under way have come to an end; false if nobody
// holds the cork. It must not block.
func (k *Cork) Keep(wake func()) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held == 0 {
		return false
	}
	k.others = append(k.others, wake)
	k.arm()
	return true
}

// hold begins a batch.
func (k *Cork) hold() {
	k.mu.Lock()
	k.held++
	k.mu.Unlock()
}

// release ends a batch and writes what has gathered: also what others have queued, who
// may be busy for longer. It does not block.
func (k *Cork) release() {
	k.mu.Lock()
	k.held--
	list, others := k.take()
	k.mu.Unlock()
	for _, wake := range others {
		wake()
	}
	if len(list) == 0 {
		return
	}
	for i, o := range list {
		o.flush()
		list[i] = nil
	}
	k.mu.Lock()
	if k.spare == nil {
		k.spare = list[:0]
	}
	k.mu.Unlock()
}

// take empties the lists of those that wait. mu is held.
func (k *Cork) take() (list []*outbox, others []func()) {
	list, others = k.waiting, k.others
	if len(list) > 0 {
		k.waiting, k.spare = k.spare, nil
	}
	if k.others = nil; len(list)+len(others) > 0 {
		k.rounds++
	}
	return list, others
}

// keep notes that o has something to write; false if nobody will.
func (k *Cork) keep(o *outbox) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held == 0 {
		return false
	}
	k.waiting = append(k.waiting, o)
	k.arm()
	return true
}

// arm has the watch look. mu is held.
func (k *Cork) arm() {
	if k.armed {
		return
	}
	k.armed, k.watched = true, k.rounds
	if k.watch == nil {
		k.watch = time.AfterFunc(corkWatch, k.look)
	} else {
		k.watch.Reset(corkWatch)
	}
}

// look has the writers write what has waited since the look before, if nobody has
// written since, and looks again as long as there is any traffic.
func (k *Cork) look() {
	k.mu.Lock()
	var late []*outbox
	var others []func()
	switch {
	case k.watched != k.rounds:
		k.watched = k.rounds
		k.watch.Reset(corkWatch)
	case len(k.waiting)+len(k.others) > 0:
		late, others = k.take()
		k.watched = k.rounds
		k.watch.Reset(corkWatch)
	default:
		k.armed = false
	}
	k.mu.Unlock()
	for _, o := range late {
		o.wake()
	}
	for _, wake := range others {
		wake()
	}
}

// batch reads a connection's frames and holds the cork over those that came together.
type batch struct {
	cork   *Cork
	frames *wire.Reader
	n      int // frames of the present batch; 0 if the cork is not held
}

// batchFrames is how many frames are handled before what they bring is written, at most.
const batchFrames = 128

// next returns the next frame. The one before has been handled.
func (b *batch) next() (wire.Frame, error) {
	if b.n == batchFrames || !b.frames.Ready() {
		b.end()
	}
	f, err := b.frames.Read()
	if err == nil {
		if b.n == 0 {
			b.cork.hold()
		}
		b.n++
	}
	return f, err
}

// end lets go of the cork, if it is held.
func (b *batch) end() {
	if b.n > 0 {
		b.n = 0
		b.cork.release()
	}
}
