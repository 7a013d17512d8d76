package dataplane

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// A write that too few slots have taken goes once more to those whose nodes are back by
// then: its caller hears of no fault that is over, whether the command may run twice or not.
func TestSlotThatIsBackGetsTheWrite(t *testing.T) {
	for name, x := range map[string]struct {
		hangs time.Duration // until b, which has got the effect, is given up; 0: it is down
		back  time.Duration // until c, which is down, is up again
		took  time.Duration // at most
	}{
		"while another one hangs": {900 * time.Millisecond, 300 * time.Millisecond, 930 * time.Millisecond},
		"unnoticed":               {0, 200 * time.Millisecond, 200*time.Millisecond + 2*longestWait},
	} {
		for _, command := range []string{"put 1", "add"} {
			t.Run(name+", "+command, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newFakeCluster(t, 3, withOwners(abc("a", "b", "c"), "d", "e"), "a", "b", "c", "d", "e")
					c.nodes["b"].down.Store(x.hangs == 0)
					c.nodes["c"].down.Store(true)
					c.meddle = func(_, to ring.NodeID, h wire.Header, _ []byte) (wire.Frame, error, bool) {
						if to != "b" || h.Op != wire.OpEffect {
							return wire.Frame{}, nil, false
						}
						time.Sleep(x.hangs)
						return wire.Frame{}, wire.Errorf(wire.Maybe, "broke"), true
					}
					time.AfterFunc(x.back, func() { c.nodes["c"].down.Store(false) })
					begun := time.Now()
					_, err := c.command("a", command)
					wantOK(t, err)
					if took := time.Since(begun); took > x.took {
						t.Errorf("after %v", took)
					}
					if c.nodes["c"].value("k", "") == "" {
						t.Error("c has not got it")
					}
					time.Sleep(time.Minute)
					if c.nodes["a"].local.runs != 1 {
						t.Errorf("it ran %d times", c.nodes["a"].local.runs)
					}
				})
			})
		}
	}
}

// A coordinator that reaches hardly anybody is cut off itself: it says so at once, and
// whoever asks it asks another one.
func TestCutOffCoordinatorRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t, 3, withOwners(abc("a", "b", "c"), "d", "e"), "a", "b", "c", "d", "e")
		for _, id := range []ring.NodeID{"b", "c", "d"} {
			c.nodes[id].down.Store(true)
		}
		begun := time.Now()
		_, err := c.command("a", "put 1")
		wantCode(t, err, wire.QuorumNotMet, "reached 1 of 2")
		if took := time.Since(begun); took > countFor {
			t.Errorf("after %v", took)
		}
	})
}
