package dataplane

import (
	"testing"
	"testing/synctest"
	"time"
)

// A node that has been away connects to the others when it starts: they know at once that it
// is back, and do not wait for their next probe.
func TestWhoConnectsIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCable(t, echo)
		live := NewLiveness("a")
		p := c.peers(t, live)
		<-live.Changed()
		c.set(func() { c.refused = true })
		c.hangUp()
		<-live.Changed()
		for range 5 {
			time.Sleep(10*redialWait + redialWait/5) // between two probes
			c.set(func() { c.refused = false })
			back := live.Changed()
			begun := time.Now()
			p.Saw("b")
			<-back
			if took := time.Since(begun); took > 0 || !live.Up("b") {
				t.Fatalf("up %v, %v after it has connected", live.Up("b"), took)
			}
			dials := c.dials
			p.Saw("b")
			synctest.Wait()
			if c.dials != dials {
				t.Error("it is dialled although it is up")
			}
			c.set(func() { c.refused = true })
			c.hangUp()
			synctest.Wait()
		}
	})
}
