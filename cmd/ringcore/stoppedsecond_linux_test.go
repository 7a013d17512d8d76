package main

import (
	"math/rand/v2"
	"testing"
	"time"
)

// A node that is stopped for a second under load finds writes in its sockets that their
// senders have had done elsewhere since, but that still have time: run now, each would
// replace what was written to its key meanwhile.
func TestStoppedForASecond(t *testing.T) {
	long(t)
	c := newCluster(t, 3, false, false)
	load := startCheck(t, c.nodes, nil)
	stop := faults[1]
	for _, victim := range rand.Perm(3)[:2] {
		stop.inject(c, victim)
		<-time.After(950*time.Millisecond + rand.N(500*time.Millisecond)) // it is given up after 900 ms; requests have 1.7 s
		stop.heal(c, victim)
		<-time.After(time.Second) // so that what is wrong is read
	}
	v := load.verdict()
	v.tell(t)
	if v.Verdict != "ok" {
		t.Error(v.summary())
	}
}
