package dataplane

import (
	"testing"
	"testing/synctest"
	"time"
)

// Who keeps to the cork is woken when it is released, or soon, if that takes long; nobody
// is kept waiting for a cork that nobody holds.
func TestCorkKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewCork()
		woken := make(chan struct{}, 3)
		wake := func() { woken <- struct{}{} }
		if k.Keep(wake) {
			t.Fatal("kept by nobody")
		}
		k.Hold()
		for range 2 {
			if !k.Keep(wake) || len(woken) != 0 {
				t.Fatal("not kept")
			}
		}
		k.Release()
		if len(woken) != 2 {
			t.Fatalf("%d woken at the release", len(woken))
		}
		k.Hold()
		k.Keep(wake)
		begun := time.Now()
		<-woken
		<-woken
		<-woken
		if waited := time.Since(begun); waited > 2*corkWatch {
			t.Errorf("woken after %v", waited)
		}
		k.Release()
		if len(woken) != 0 {
			t.Error("woken twice")
		}
	})
}
