package vnodes

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/metadata/ring"
)

const (
	reserveAhead  = 300 * time.Millisecond // how far ahead of what is issued the ceiling is set
	reserveEarly  = 150 * time.Millisecond // the next ceiling is fetched when less than this is left
	maxClockAhead = 500 * time.Millisecond // how far ahead of this clock another node's may be

	// farAhead is how far ahead of its time a clock is ever moved: as a fallback's stamps
	// are, and some room. A time further ahead comes from a clock that was wrong.
	farAhead = 2 * standInLead
)

// ErrClockAhead reports a stamp too far ahead of this node's clock.
var ErrClockAhead = errors.New("stamp is too far ahead of this node's clock")

// errClockEnd reports that no later time can be written down.
var errClockEnd = errors.New("the clock has no time left")

// Reserver keeps a clock's ceiling: a Journal.
type Reserver interface {
	// Ceiling is the highest ceiling ever set, 0 if none.
	Ceiling() uint64
	// SetCeiling returns when the ceiling is durably at least c.
	SetCeiling(c uint64) error
	// Rewind makes c the ceiling, durably, though it was higher.
	Rewind(c uint64) error
	// Passed is the highest time that Pass was called with, 0 if it was not.
	Passed() uint64
	// Pass returns when Passed is durably at least t.
	Pass(t uint64) error
}

// Clock is a node's hybrid logical clock. It never issues a time twice nor one
// below an earlier one, over restarts, crashes and a wall clock set back: it
// issues only up to a ceiling that it has made durable before, and begins above
// the ceiling that it finds. A ceiling far ahead of the time is that of a node whose
// wall clock was wrong: it is given up, because else this node would be ahead, and what
// it writes would hide what others write, until that time has come. Then times may come
// twice, so whoever needs them to be unique also needs to know in which life of the
// clock they were issued; none up to what was passed comes again. All methods may be called from any goroutine.
//
// A time is milliseconds since 1970 in 1/65,536ths: what is issued within one such
// step counts on. Nodes whose clocks agree therefore order what one after the other
// has written, also within a millisecond.
type Clock struct {
	node    uint64
	now     func() time.Time
	reserve Reserver

	reserved atomic.Uint64 // as ceiling, for those who only look

	mu       sync.Mutex // never held while a ceiling is made durable
	last     uint64     // the highest time issued or observed
	ceiling  uint64     // durable: no time above it is issued
	underway *reservation
	closed   bool
	wg       sync.WaitGroup // reservations
}

// reservation is a ceiling on its way to the disk.
type reservation struct {
	done chan struct{} // closed when err is set
	err  error
}

// NewClock makes the clock of node, 16 hexadecimal digits. now is the wall
// clock, time.Now if nil.
func NewClock(node ring.NodeID, now func() time.Time, reserve Reserver) (*Clock, error) {
	n, err := strconv.ParseUint(string(node), 16, 64)
	if err != nil {
		return nil, fmt.Errorf("node id %q: %w", node, err)
	}
	if now == nil {
		now = time.Now
	}
	c := reserve.Ceiling()
	if wall := max(clockTime(now()), reserve.Passed()); c > wall && c-wall > clockSpan(farAhead) {
		c = wall
		if err := reserve.Rewind(c); err != nil {
			return nil, fmt.Errorf("set the clock back by %d ms: %w", (reserve.Ceiling()-c)>>16, err)
		}
	}
	return &Clock{node: n, now: now, reserve: reserve, last: c, ceiling: c}, nil
}

// lead is how far c is ahead of the wall clock, rounded up; 0 if it is not.
func (c *Clock) lead() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wall := clockTime(c.now()); c.last > wall {
		return time.Duration((c.last-wall)>>16+1) * time.Millisecond
	}
	return 0
}

// Stamp is a new stamp for the write id.
func (c *Clock) Stamp(id uint64) (Stamp, error) {
	t, err := c.Now()
	return Stamp{Time: t, Node: c.node, ID: id}, err
}

// Now issues a time. It waits for the disk only if the ceiling is reached: on
// the first call after an idle while, or when the disk takes long.
func (c *Clock) Now() (uint64, error) {
	for {
		t, wait, err := c.issue()
		if wait == nil {
			return t, err
		}
		<-wait.done
		if wait.err != nil {
			return 0, wait.err
		}
	}
}

// issue is a time, or what to wait for before trying again.
func (c *Clock) issue() (uint64, *reservation, error) {
	wall := clockTime(c.now())
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, nil, ErrClosed
	case c.last == math.MaxUint64:
		return 0, nil, errClockEnd
	}
	t := max(wall, c.last+1)
	if c.underway == nil && (t > c.ceiling || c.ceiling-t < clockSpan(reserveEarly)) {
		c.startReserving(t)
	}
	if t > c.ceiling {
		return 0, c.underway, nil
	}
	c.last = t
	return t, nil, nil
}

// startReserving sets the ceiling ahead of t in a goroutine. The caller holds mu.
func (c *Clock) startReserving(t uint64) {
	r := &reservation{done: make(chan struct{})}
	c.underway = r
	ceiling := t + min(clockSpan(reserveAhead), math.MaxUint64-t)
	c.wg.Go(func() {
		err := c.reserve.SetCeiling(ceiling)
		c.mu.Lock()
		defer c.mu.Unlock()
		if err == nil {
			c.ceiling = max(c.ceiling, ceiling)
			c.reserved.Store(c.ceiling)
		} else {
			r.err = fmt.Errorf("reserve time: %w", err)
		}
		c.underway = nil
		close(r.done)
	})
}

// Observe moves the clock past t, which came with another node's write. It
// refuses with ErrClockAhead if t is more than 500 ms ahead of the wall clock.
func (c *Clock) Observe(t uint64) error {
	wall := clockTime(c.now())
	if t > wall && t-wall > clockSpan(maxClockAhead) {
		return fmt.Errorf("%w: by %d ms", ErrClockAhead, (t-wall)>>16)
	}
	c.observe(t, wall)
	return nil
}

// ObserveTrusted moves the clock past t, unless that is far ahead: for times that the
// cluster has accepted before, in a transfer or in this node's own stores.
func (c *Clock) ObserveTrusted(t uint64) { c.observe(t, clockTime(c.now())) }

func (c *Clock) observe(t, wall uint64) {
	if t > wall && t-wall > clockSpan(farAhead) {
		return // what replaces such a record is stamped above it all the same: see after
	}
	c.mu.Lock()
	c.last = max(c.last, t)
	c.mu.Unlock()
}

// after is a time later than have and t, which the clock has just issued. Of a record
// that is far ahead it leaves the clock alone. The low bits of t make it another time in
// each life of a process, in case a crash takes the record that gets it.
func after(have, t uint64) (uint64, error) {
	if t > have {
		return t, nil
	}
	if have > math.MaxUint64-math.MaxUint16-1 {
		return 0, errClockEnd
	}
	return have + 1 + t&math.MaxUint16, nil
}

// Pass returns when no time up to t will be issued any more, also after a restart.
func (c *Clock) Pass(t uint64) error {
	for {
		c.mu.Lock()
		c.last = max(c.last, t)
		switch {
		case c.ceiling >= t: // where a restarted clock begins, unless it is set back
			c.mu.Unlock()
			return c.reserve.Pass(t)
		case c.closed:
			c.mu.Unlock()
			return ErrClosed
		case c.underway == nil:
			c.startReserving(t)
		}
		r := c.underway
		c.mu.Unlock()
		if <-r.done; r.err != nil {
			return r.err
		}
	}
}

// Latest is the highest time issued or observed.
func (c *Clock) Latest() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// Close waits for a reservation under way and returns its error; Now fails with
// ErrClosed from then on.
func (c *Clock) Close() error {
	c.mu.Lock()
	c.closed = true
	r := c.underway
	c.mu.Unlock()
	c.wg.Wait()
	if r == nil {
		return nil
	}
	return r.err
}

// clockTime is t as a time of the clock; times before 1970 are 1970.
func clockTime(t time.Time) uint64 {
	ms := t.UnixMilli()
	if ms < 0 {
		return 0
	}
	return uint64(ms)<<16 | uint64(t.Nanosecond()%1e6)<<16/1e6
}

func clockSpan(d time.Duration) uint64 { return uint64(d.Milliseconds()) << 16 }
