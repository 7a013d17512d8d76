package vnodes

import (
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

type forsaken struct{}

func (forsaken) Forsaken() bool { return true }

// A blind command whose caller has given it up while it ran writes nothing. Any other
// does: nobody has had it done elsewhere.
func TestForsakenCommandWritesNothing(t *testing.T) {
	w, n := oneNode(t, 1, func(p ring.Partition) Vnode { return &simVnode{p: p} })
	n.mustPut("a", "1")
	for command, want := range map[string]wire.Code{"put late": wire.Deadline, "append +": wire.OK} {
		r := request(wire.OpCommand, w.ring(), "kv", "a", command)
		r.Caller = forsaken{}
		done, _ := n.send(r)
		if got := <-done; got.code != want {
			t.Errorf("%s: %v", command, got)
		}
	}
	n.mustGet("a", "1+")
}
