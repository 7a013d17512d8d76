package dataplane

import (
	"slices"
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
	waiting []*outbox  // to be written by whoever lets go next
	others  []func()   // who else waits for that, see Keep
	spare   []*outbox
	rounds  uint32 // how often waiting was taken
	watch   *time.Timer
	watched uint32    // rounds, as the watch has seen it last
	armed   bool      // the watch will look again
	slow    []*outbox // what is in them lingers, since before the watch has looked last
	fresh   []*outbox // the same, since then
}

// corkWatch is how often the watch looks while there is something to watch. What waits
// waits for two looks at most.
const corkWatch = 2 * time.Millisecond

// NewCork returns a cork for the connections of one node, see ServerConfig and PeersConfig.
func NewCork() *Cork { return &Cork{} }

// Hold begins a batch: what is queued until Release is written together.
func (k *Cork) Hold() {
	k.mu.Lock()
	k.held++
	k.mu.Unlock()
}

// Release ends a batch and writes what has gathered: also what others have queued, who
// may be busy for longer. It does not block.
func (k *Cork) Release() {
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

// Keep has wake called when the batches under way have come to an end; false if nobody
// holds the cork. It must not block.
func (k *Cork) Keep(wake func()) bool {
	return k.whileHeld(func() { k.others = append(k.others, wake) })
}

// keep notes that o has something to write; false if nobody will.
func (k *Cork) keep(o *outbox) bool {
	return k.whileHeld(func() { k.waiting = append(k.waiting, o) })
}

// whileHeld has f note what is to be done at the next Release; false if nobody holds the cork.
func (k *Cork) whileHeld(f func()) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held == 0 {
		return false
	}
	f()
	k.arm()
	return true
}

// linger notes that o has something to write that may wait for the watch.
func (k *Cork) linger(o *outbox) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Contains(k.fresh, o) {
		k.fresh = append(k.fresh, o)
		k.arm()
	}
}

// arm has the watch look soon. mu is held.
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
	late := k.slow
	var others []func()
	k.slow, k.fresh = k.fresh, nil
	if k.armed = k.watched != k.rounds || len(k.waiting)+len(k.others)+len(k.slow) > 0; k.armed {
		k.watch.Reset(corkWatch)
	}
	if k.watched == k.rounds {
		var list []*outbox
		list, others = k.take()
		late = append(late, list...)
	}
	k.watched = k.rounds
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
	also   *outbox // written too when a batch ends, if not nil
	n      int     // frames of the present batch; 0 if the cork is not held
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
			b.cork.Hold()
		}
		b.n++
	}
	return f, err
}

// end lets go of the cork, if it is held.
func (b *batch) end() {
	if b.n > 0 {
		b.n = 0
		b.cork.Release()
		if b.also != nil {
			b.also.flush()
		}
	}
}
