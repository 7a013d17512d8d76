package vnodes

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// However many share a rate, no more passes in a second; and nobody waits who comes
// after a pause.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rate{perSecond: 1000}
		begun := time.Now()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 10 {
					r.pass(t.Context(), 100)
				}
			})
		}
		wg.Wait()
		if took := time.Since(begun); took < 3900*time.Millisecond || took > 4*time.Second {
			t.Errorf("4000 bytes passed in %v", took)
		}
		time.Sleep(time.Second)
		begun = time.Now()
		if r.pass(t.Context(), 5000); time.Since(begun) > 0 {
			t.Errorf("the first waited for %v", time.Since(begun))
		}
	})
}
