package dataplane

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// A replica whose slot is about to move holds all requests until the outcome is known, and that
// takes an election if the leader dies just then, maybe together with another replica. As long
// as the caller has time, and that replica is up, too few answers are not the last word.
func TestReplicaThatHoldsIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, abc("a", "b", "c"), "a", "b", "c", "x")
		c.nodes["c"].down.Store(true)
		begun := time.Now()
		holdFor := func(d time.Duration) {
			until := time.Now().Add(d)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.meddle = func(_, to ring.NodeID, _ wire.Header, _ []byte) (wire.Frame, error, bool) {
				if to == "a" {
					time.Sleep(time.Until(until))
				}
				return wire.Frame{}, nil, false
			}
		}
		holdFor(4 * time.Second)
		put := make(chan error)
		go func() {
			_, err := c.command("x", "put 1")
			put <- err
		}()
		_, err := c.query("x")
		if err != nil {
			wantCode(t, err, wire.NotFound, "")
		}
		wantOK(t, <-put)
		if took := time.Since(begun); took > 4500*time.Millisecond {
			t.Errorf("answered after %v", took)
		}
		time.Sleep(time.Minute)

		// When it never ends, the deadline does, and says what it waited for.
		holdFor(time.Hour)
		at := time.Now()
		_, err = c.query("x")
		wantCode(t, err, wire.Deadline, "")
		_, err = c.command("x", "put 2")
		wantCode(t, err, wire.QuorumNotMet, "w=2 not met: reached 1 of 2")
		if took := time.Since(at); took > 11*time.Second {
			t.Errorf("both refused after %v", took)
		}
		time.Sleep(2 * time.Hour)
	})
}
