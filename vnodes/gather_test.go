package vnodes

import (
	"testing"
	"testing/synctest"
	"time"
)

// Entries that come one after the other are never waited for; of many some are let
// gather, for about as long as a sync takes, and no longer when they stop to come.
func TestGathering(t *testing.T) {
	now := time.Unix(1, 0)
	var g gathering
	feed := func(n int, every time.Duration, times int) {
		for range times {
			now = now.Add(every)
			g.took(n, now)
			g.synced(200 * time.Microsecond)
		}
	}
	feed(1, 400*time.Microsecond, 1000)
	if d := g.wait(); d != 0 {
		t.Errorf("a lone caller waits %v", d)
	}
	feed(20, 400*time.Microsecond, 1000)
	if d := g.wait(); d < 190*time.Microsecond || d > 210*time.Microsecond {
		t.Errorf("many wait %v, a sync takes 200µs", d)
	}
	feed(1, 20*time.Millisecond, 3)
	if d := g.wait(); d != 0 {
		t.Errorf("the first after a pause waits %v", d)
	}
	for range 1000 {
		g.synced(time.Second)
	}
	feed(1000, time.Millisecond, 100)
	g.sync = time.Second
	if d := g.wait(); d != gatherMost {
		t.Errorf("on a slow disk entries wait %v", d)
	}
}

// countingCork keeps what it is asked to until the test lets go.
type countingCork struct {
	held, kept int
	wake       func()
}

func (c *countingCork) Hold()    { c.held++ }
func (c *countingCork) Release() { c.held-- }
func (c *countingCork) Keep(wake func()) bool {
	c.kept++
	c.wake = wake
	return true
}

// While a batch is being read the log's writer sleeps; it is woken when the batch is over,
// and holds the cork while it tells those who wait.
func TestLogHeedsTheCork(t *testing.T) { synctest.Test(t, testLogHeedsTheCork) }

func testLogHeedsTheCork(t *testing.T) {
	d, err := OpenDisk(t.TempDir(), DiskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close() //nolint:errcheck // the test is over
	st, err := d.Create(Identity{Service: "kv"}, "kv/p0000.bolt")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.log.flush(); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // the writer sleeps
	cork := &countingCork{}
	d.log.answerWith(cork)
	done := make(chan int, 2)
	for _, key := range []string{"a", "b"} {
		st.Append([]Write{{Key: []byte(key)}}, func(error) { done <- cork.held })
	}
	if cork.kept != 1 || len(done) != 0 {
		t.Fatalf("kept %d times, %d told", cork.kept, len(done))
	}
	cork.wake()
	for range 2 {
		if <-done != 1 {
			t.Error("those who wait were told without the cork")
		}
	}
	d.log.answerWith(nil)
}
