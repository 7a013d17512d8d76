package main

import (
	"fmt"
	"runtime"
	gometrics "runtime/metrics"
	"testing"
)

// The heap has room while it is small, grows by its own size when it is large, and by what
// the environment says if that says anything.
func TestHeapRoom(t *testing.T) {
	percent := func() uint64 {
		m := []gometrics.Sample{{Name: "/gc/gogc:percent"}}
		gometrics.Read(m)
		return m[0].Value.Uint64()
	}
	before := percent()
	env := map[string]string{}
	getenv := func(name string) string { return env[name] }
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		env = map[string]string{name: "50"}
		if giveHeapRoom(getenv)(); percent() != before {
			t.Fatalf("%s is set, and the heap may grow by %d %%", name, percent())
		}
	}
	env = nil
	end := giveHeapRoom(getenv)
	defer end()
	large := make([]byte, 4*heapRoom)
	until(t, "the large heap grows by its own size", func() error {
		runtime.GC()
		if p := percent(); p != 100 {
			return fmt.Errorf("by %d %%", p)
		}
		return nil
	})
	runtime.KeepAlive(large)
	until(t, "the small heap has room", func() error {
		runtime.GC()
		if p := percent(); p <= 110 {
			return fmt.Errorf("by %d %%", p)
		}
		return nil
	})
	if end(); percent() != before {
		t.Errorf("afterwards it may grow by %d %%, before by %d", percent(), before)
	}
}
