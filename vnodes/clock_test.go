package vnodes

import (
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// memReserver is a disk for a clock's ceiling.
type memReserver struct {
	rewound int
	passed  uint64
	mu      sync.Mutex
	ceiling uint64
	writes  int
	err     error
	delay   time.Duration
}

func (m *memReserver) Ceiling() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ceiling
}

func (m *memReserver) SetCeiling(c uint64) error {
	if m.delay > 0 {
		<-time.After(m.delay)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.writes++
	m.ceiling = max(m.ceiling, c)
	return nil
}

func (m *memReserver) Rewind(c uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.rewound++
	m.ceiling = c
	return nil
}

func (m *memReserver) Passed() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.passed
}

func (m *memReserver) Pass(t uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.passed = max(m.passed, t)
	return m.err
}

func newTestClock(t testing.TB, now func() time.Time, r Reserver) *Clock {
	t.Helper()
	c, err := NewClock("00000000000000ff", now, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Times rise strictly whatever the wall clock does, whatever is observed, and
// over crashes that lose everything but the ceiling; unless that is far ahead of the
// wall clock after a crash: then they rise from there, in a new life.
func TestClockNeverRepeats(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		wall := time.UnixMilli(rapid.Int64Range(-1000, 1_000_000).Draw(rt, "start"))
		disk := &memReserver{}
		now := func() time.Time { return wall }
		c := newTestClock(t, now, disk)
		var last uint64
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				if ceiling := disk.Ceiling(); last > ceiling {
					rt.Fatalf("issued %d above the durable ceiling %d", last, ceiling)
				}
			},
			"now": func(rt *rapid.T) {
				for range rapid.IntRange(1, 100).Draw(rt, "count") {
					next, err := c.Now()
					if err != nil {
						rt.Fatal(err)
					}
					if next <= last {
						rt.Fatalf("%d after %d", next, last)
					}
					last = next
				}
			},
			"wall": func(rt *rapid.T) {
				wall = wall.Add(time.Duration(rapid.IntRange(-2000, 2000).Draw(rt, "ms")) * time.Millisecond)
			},
			"crash": func(rt *rapid.T) {
				_ = c.Close()
				ceiling, rewound := disk.Ceiling(), disk.rewound
				c = newTestClock(t, now, disk)
				far := ceiling > max(clockTime(wall), disk.Passed())+clockSpan(farAhead)
				if far != (disk.rewound > rewound) {
					rt.Fatalf("ceiling %d at %d: set back %v", ceiling, clockTime(wall), !far)
				}
				if far {
					last = max(clockTime(wall), disk.Passed())
				}
			},
			"pass": func(rt *rapid.T) {
				if err := c.Pass(clockTime(wall)); err != nil {
					rt.Fatal(err)
				}
				last = max(last, clockTime(wall))
			},
			"observe": func(rt *rapid.T) {
				ahead := rapid.Uint64Range(0, 1000).Draw(rt, "ahead") << 16
				seen := clockTime(wall) + ahead
				err := c.Observe(seen)
				if refuse := ahead > clockSpan(maxClockAhead); refuse != errors.Is(err, ErrClockAhead) {
					rt.Fatalf("%d ahead: %v", ahead>>16, err)
				}
				if err != nil {
					return
				}
				next, err := c.Now()
				if err != nil || next <= seen || next <= last {
					rt.Fatalf("%d, %v after observing %d", next, err, seen)
				}
				last = next
			},
		})
	})
}

// Two nodes that do not talk, whose clocks agree, stamp in the order in which they
// are asked, though all of it happens within a millisecond.
func TestClocksAgreeWithinAMillisecond(t *testing.T) {
	wall := time.UnixMilli(1_700_000_000_000)
	now := func() time.Time { return wall }
	a, b := newTestClock(t, now, new(memReserver)), newTestClock(t, now, new(memReserver))
	var last uint64
	for i := range 60 {
		c := a
		if i%3 > 0 {
			c = b
		}
		wall = wall.Add(10 * time.Microsecond)
		next, err := c.Now()
		if err != nil || next <= last {
			t.Fatalf("stamp %d after %d, %v", next, last, err)
		}
		last = next
	}
	if got := time.UnixMilli(int64(last >> 16)); got != wall.Truncate(time.Millisecond) {
		t.Errorf("the last stamp is of %v, it is %v", got, wall)
	}
}

// A busy clock writes its ceiling a few times a second, without making anyone
// wait; an idle one not at all.
func TestClockReservesAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &memReserver{delay: 20 * time.Millisecond}
		c := newTestClock(t, time.Now, disk)
		if _, err := c.Now(); err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			time.Sleep(time.Millisecond) // the bubble's clock
			before := time.Now()
			if _, err := c.Now(); err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(before); waited > 0 {
				t.Fatalf("Now waited %v", waited)
			}
		}
		busy := disk.writes
		if busy < 3 || busy > 8 {
			t.Errorf("%d writes in a second", busy)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if disk.writes > busy+1 {
			t.Errorf("%d writes in an idle hour", disk.writes-busy)
		}
	})
}

func TestClockWithoutDisk(t *testing.T) {
	disk := &memReserver{err: errors.New("no disk")}
	c := newTestClock(t, nil, disk)
	if _, err := c.Now(); !errors.Is(err, disk.err) {
		t.Fatal(err)
	}
	disk.mu.Lock()
	disk.err = nil
	disk.mu.Unlock()
	if s, err := c.Stamp(7); err != nil || s.Node != 0xff || s.ID != 7 {
		t.Fatal(s, err)
	}
}

func TestClockConcurrent(t *testing.T) {
	c := newTestClock(t, nil, &memReserver{})
	var mu sync.Mutex
	seen := make(map[uint64]bool)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				n, err := c.Now()
				mu.Lock()
				if err != nil || seen[n] {
					t.Errorf("%d twice, or %v", n, err)
				}
				seen[n] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestClockEnds(t *testing.T) {
	end := func() time.Time { return time.UnixMilli(1<<48 - 1).Add(time.Millisecond - 1) }
	c := newTestClock(t, end, &memReserver{})
	c.ObserveTrusted(math.MaxUint64 - 1)
	if n, err := c.Now(); err != nil || n != math.MaxUint64 {
		t.Fatal(n, err)
	}
	if _, err := c.Now(); !errors.Is(err, errClockEnd) {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Now(); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if _, err := NewClock("no node", nil, &memReserver{}); err == nil {
		t.Fatal("a node id that is none was taken")
	}
}
