package vnodes

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// bulk keeps the records that move from the way of requests. Whatever reads or writes
// many of them does that in turns, one at a time on a node. While requests come it rests
// for as long as it has worked, and while writers wait for a slot to change hands it
// rests until they need not.
type bulk struct {
	turn   chan struct{} // one slot: who holds it works
	debt   time.Duration // to rest; of who holds the turn
	asked  atomic.Bool   // a request has come since the last look
	sealed atomic.Int32  // slots for which writers wait here
}

const (
	bulkLeast = time.Millisecond       // of a rest: for less it is not worth to wake
	bulkMost  = 20 * time.Millisecond  // of a rest: who works may be preempted in between
	bulkBytes = 4 << 10                // below that it is not many
	bulkSeal  = 100 * time.Millisecond // for how long at most a turn waits for seals
)

func newBulk() *bulk { return &bulk{turn: make(chan struct{}, 1)} }

// note takes note of a request. Nearly always that is a read of what all processors share.
func (b *bulk) note() {
	if !b.asked.Load() {
		b.asked.Store(true)
	}
}

// begin waits for the turn; false if ctx has ended. The caller waits for nobody
// while it has it, and must call end with the time that it got.
func (b *bulk) begin(ctx context.Context) (began time.Time, ok bool) {
	select {
	case b.turn <- struct{}{}:
		return time.Now(), true
	case <-ctx.Done():
		return time.Time{}, false
	}
}

// end rests if requests come, and gives up the turn.
func (b *bulk) end(ctx context.Context, began time.Time) {
	defer func() { <-b.turn }()
	b.debt += time.Since(began)
	if b.debt < bulkLeast {
		return
	}
	rest := min(b.debt, bulkMost)
	b.debt = 0
	if !b.asked.Swap(false) || !pause(ctx, rest) {
		return
	}
	for rested := time.Duration(0); b.sealed.Load() > 0 && rested < bulkSeal && pause(ctx, bulkLeast); rested += bulkLeast {
	}
}

// seal says that writers wait until unseal is called, which may be done twice, or that
// they have waited for most.
func (b *bulk) seal(most time.Duration) (unseal func()) {
	b.sealed.Add(1)
	unseal = sync.OnceFunc(func() { b.sealed.Add(-1) })
	time.AfterFunc(most, unseal)
	return unseal
}

// inTurn is take, in a turn of bulk work if the frame brings records for which nobody waits.
func (rc *receiver) inTurn(ctx context.Context, f *wire.Frame, many bool) (done <-chan error) {
	if !many || len(f.Body) < bulkBytes || rc.open.Mode != modeStage { // merging waits for the disk
		return rc.take(f)
	}
	began, ok := rc.m.bulk.begin(ctx)
	if !ok {
		return settled(ctx.Err())
	}
	defer rc.m.bulk.end(ctx, began)
	return rc.take(f)
}
