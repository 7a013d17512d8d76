package vnodes

import (
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// While a slot waits for hints, a command that another replica may run is sent there; one
// that has nowhere else to go is held until they are here.
func TestSlotThatWaitsSendsCommandsElsewhere(t *testing.T) {
	w := newWorld(t, 3, 2)
	const p = 1
	a, c := w.node(1), w.node(3)
	a.stop()
	c.mustHint(keyIn(p, 0), "newer", 1)
	w.net.setHook(func(f *passing) treatment {
		if hinted(f) {
			return sever
		}
		return deliver
	})
	a.start()
	held, _ := a.send(request(wire.OpCommand, w.ring(), "kv", keyIn(p, 1), "put held"))
	w.until("the slot waits", func() bool { return a.phase(p) == recovering })
	hasty := request(wire.OpCommand, w.ring(), "kv", keyIn(p, 1), "put hasty")
	hasty.Hasty = true
	if got := a.ask(hasty); got.code != wire.NotReadable {
		t.Errorf("a command that another replica may run: %v", got)
	}
	select {
	case got := <-held:
		t.Errorf("one that none may: %v", got)
	default:
	}
	w.net.setHook(nil)
	if got := <-held; got.code != wire.OK {
		t.Errorf("it ends with %v", got)
	}
	w.settled()
	a.mustGet(keyIn(p, 0), "newer")
	a.mustGet(keyIn(p, 1), "held")
}
