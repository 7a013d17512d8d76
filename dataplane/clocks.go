package dataplane

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/metadata/ring"
)

const (
	clockEvery  = 500 * time.Millisecond // between two looks at a peer's clock
	clockFresh  = 4 * clockEvery         // how long a peer's word for the agreed time counts
	clockSlack  = 250 * time.Millisecond // how far apart members may be: half of what their stamps may be ahead
	clockSlew   = 8                      // the agreed time goes up to one part in so many faster or slower than time does
	clockDrift  = 1000                   // what is known of a clock gets worse by one part in so many
	clockWait   = time.Second            // how long a node that starts waits for the others' time
	clockLatest = 1 << 58                // microseconds: later is no time

	clockTold = 16 // bytes of what a node tells of its time
)

// Clocks is the time that the members of a cluster agree on. It follows the median of
// their wall clocks, so that one that is wrong, by an hour or by a century, moves
// nobody: neither the others nor its own node. Nodes tell each other with every ping:
//
//	wall u64 | agreed u64, 0 while unsure: microseconds since 1970
//
// The time runs by the monotonic clock, so setting the wall clock does not move it.
// Twenty times a second it is looked at anew:
//
//	unsure ─a sure peer was heard→ sure: takes the time of the sure ones
//	   └──more than half of all members were heard→ sure: takes the median of the wall clocks
//
// From then on it approaches that median by an eighth of the time that passes, as the
// others do, and what they issue stays within each other's bounds meanwhile. Only a
// node that most of the others find far off jumps to them: its machine has slept. It
// stays sure, since it remembers the clocks of those that it cannot reach any more.
//
// Of an even number the earlier of the two in the middle counts: a time that is behind
// is caught up with, one that is ahead may take a century. So two nodes that do not
// agree both follow the one that is behind; a node that is alone follows its own.
type Clocks struct {
	wall func() time.Time
	born time.Time
	base atomic.Int64  // the agreed time is base, in microseconds since 1970, and what has passed since born
	off  atomic.Int64  // how far this node's wall clock is from the members' median, in microseconds
	ok   chan struct{} // closed when sure

	mu       sync.Mutex // held for arithmetic only
	heard    map[ring.NodeID]sighting
	sure     bool
	adjusted time.Duration // when adjust was last called, since born
}

// sighting is what is known of a peer's clock. Times are in microseconds.
type sighting struct {
	wall   int64         // its wall clock less what has passed since born
	within int64         // how wrong that may be, half of what the exchange took
	at     time.Duration // when that was, since born

	agreed   int64         // its agreed time less this node's, at least; nearer to 0 than that may be
	agreedAt time.Duration // when that was; 0 if it is not sure
}

// NewClocks returns the time of a node that has heard nobody yet: its own. wall is
// the machine's clock, time.Now if nil.
func NewClocks(wall func() time.Time) *Clocks {
	if wall == nil {
		wall = time.Now
	}
	c := &Clocks{wall: wall, born: time.Now(), ok: make(chan struct{}), heard: make(map[ring.NodeID]sighting)}
	c.base.Store(c.own(0))
	return c
}

// Now is the agreed time.
func (c *Clocks) Now() time.Time {
	return time.UnixMicro(c.base.Load() + time.Since(c.born).Microseconds())
}

// Offset is how far this node's wall clock is ahead of the members' median.
func (c *Clocks) Offset() time.Duration { return time.Duration(c.off.Load()) * time.Microsecond }

func (c *Clocks) isSure() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sure
}

// own is this node's wall clock less what has passed since born.
func (c *Clocks) own(passed time.Duration) int64 { return c.wall().UnixMicro() - passed.Microseconds() }

// tell is what this node tells a peer.
func (c *Clocks) tell() []byte {
	agreed := uint64(0)
	if c.isSure() {
		agreed = uint64(max(c.Now().UnixMicro(), 1))
	}
	b := binary.BigEndian.AppendUint64(make([]byte, 0, clockTold), uint64(max(c.wall().UnixMicro(), 0)))
	return binary.BigEndian.AppendUint64(b, agreed)
}

// hear takes what node told when it was asked at sent. A node of an earlier version
// tells nothing.
func (c *Clocks) hear(node ring.NodeID, told []byte, sent time.Time) {
	if len(told) < clockTold {
		return
	}
	wall, agreed := int64(binary.BigEndian.Uint64(told)), int64(binary.BigEndian.Uint64(told[8:]))
	if wall < 0 || wall > clockLatest || agreed < 0 || agreed > clockLatest {
		return
	}
	took, asked := time.Since(sent), sent.Sub(c.born)
	half := (took / 2).Microseconds()
	middle := asked.Microseconds() + half
	seen := sighting{wall: wall - middle, within: half, at: asked + took}

	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.heard[node]; ok && old.better(&seen) {
		seen.wall, seen.within, seen.at = old.wall, old.within, old.at
	}
	if agreed > 0 {
		apart := agreed - middle - c.base.Load() // by so much at least, whichever way took long
		seen.agreed = max(apart-half, 0) + min(apart+half, 0)
		seen.agreedAt = asked + took
	}
	c.heard[node] = seen
}

// better reports whether s still says more of a wall clock than what was seen of it
// now. It does not if the two cannot both be right: then the clock was set.
func (s *sighting) better(now *sighting) bool {
	within := s.within + (now.at-s.at).Microseconds()/clockDrift
	return within < now.within && distance(s.wall, now.wall) <= within+now.within
}

// adjust looks at the time anew. members are the others.
func (c *Clocks) adjust(members []ring.NodeID) {
	passed := time.Since(c.born)
	c.mu.Lock()
	defer c.mu.Unlock()
	since := passed - c.adjusted
	c.adjusted = passed
	for node := range c.heard {
		if !slices.Contains(members, node) {
			delete(c.heard, node)
		}
	}
	own := c.own(passed)
	walls, group := []int64{own}, make([]int64, 0, len(c.heard)+1)
	for _, s := range c.heard {
		walls = append(walls, s.wall)
		if s.agreedAt > 0 && passed-s.agreedAt < clockFresh {
			group = append(group, s.agreed)
		}
	}
	slices.Sort(walls)
	median := walls[(len(walls)-1)/2]
	c.off.Store(own - median)

	base := c.base.Load()
	switch {
	case !c.sure && len(group) > 0:
		slices.Sort(group)
		c.jump(group[len(group)/2])
		c.becomeSure()
	case !c.sure && 2*len(walls) > len(members)+1:
		c.jump(median - base)
		c.becomeSure()
	default:
		group = append(group, 0) // this node's
		slices.Sort(group)
		if d := group[len(group)/2]; distance(d, 0) > clockSlack.Microseconds() {
			c.jump(d)
			return
		}
		most := since.Microseconds() / clockSlew
		c.base.Store(base + min(max(median-base, -most), most))
	}
}

// jump moves the agreed time. What the others said of it, compared with this node's,
// says nothing any more. mu is held.
func (c *Clocks) jump(by int64) {
	c.base.Add(by)
	for node, s := range c.heard {
		s.agreedAt = 0
		c.heard[node] = s
	}
}

func (c *Clocks) becomeSure() {
	c.sure = true
	close(c.ok)
}

// await returns when this node is sure of the time, when nobody is up who could tell it,
// or at the limit.
func (c *Clocks) await(ctx context.Context, anybodyUp func() bool) {
	limit := time.NewTimer(clockWait)
	defer limit.Stop()
	look := time.NewTicker(tendEvery)
	defer look.Stop()
	for anybodyUp() {
		select {
		case <-look.C:
		case <-c.ok:
			return
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func distance(a, b int64) int64 { return max(a-b, b-a) }
