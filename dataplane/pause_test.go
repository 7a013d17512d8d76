package dataplane

import (
	"testing"
	"testing/synctest"
	"time"
)

// Who begins before a pause of the process is over is told of it, whoever looks first; who
// begins later is not, and neither is anybody while the process runs.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pauses{born: time.Now()}
		began := time.Now()
		for range 100 {
			time.Sleep(pauseLook)
			if p.since(began) {
				t.Fatal("it has not stood still")
			}
		}
		time.Sleep(longLull)
		later := time.Now()
		if !p.since(began) {
			t.Error("a pause is not noticed")
		}
		time.Sleep(pauseLook)
		if p.since(time.Now()) || !p.since(began) || p.since(later) {
			t.Error("a pause does not concern just those who began before it was over")
		}
	})
}
