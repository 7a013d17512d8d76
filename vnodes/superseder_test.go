package vnodes

import (
	"bytes"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// longerValue merges by the longer value.
type longerValue struct{ simVnode }

func (*longerValue) Merge(_ []byte, have, incoming Record) Record {
	merged, newer := have, have.Stamp
	if incoming.Stamp.Compare(newer) > 0 {
		newer = incoming.Stamp
	}
	if len(incoming.Value) > len(have.Value) || len(incoming.Value) == len(have.Value) && bytes.Compare(incoming.Value, have.Value) > 0 {
		merged = incoming
	}
	merged.Stamp = newer
	return merged
}

// judge is a longerValue that knows which new writes are hidden.
type judge struct{ longerValue }

func (*judge) Superseded(_ []byte, have, fresh Record) bool {
	if len(fresh.Value) == 0 {
		panic("as told")
	}
	return len(have.Value) > len(fresh.Value)
}

// A Merger takes any new write, unless it says itself that one would be hidden.
func TestSupersededByAMergersJudgement(t *testing.T) {
	now := clockTime(time.Now())
	long := Record{Stamp: Stamp{Time: now - 5, Node: 2}, Value: []byte("long")}
	short := Record{Stamp: Stamp{Time: now, Node: 3}, Value: []byte("x")}
	longer := Record{Stamp: Stamp{Time: now - 9, Node: 3}, Value: []byte("longer")}
	for name, c := range map[string]struct {
		vnode        Vnode
		short, empty wire.Code
	}{
		"merger": {new(longerValue), wire.OK, wire.OK},
		"judge":  {new(judge), wire.Superseded, wire.Internal},
	} {
		_, n := oneNode(t, 3, func(ring.Partition) Vnode { return c.vnode })
		for _, step := range []struct {
			r     Record
			flags wire.Flags
			want  wire.Code
		}{{long, wire.FlagFresh, wire.OK}, {short, wire.FlagFresh, c.short}, {short, 0, wire.OK}, {longer, wire.FlagFresh, wire.OK}, {Record{Stamp: short.Stamp}, wire.FlagFresh, c.empty}} {
			if got := n.effect("a", step.r, step.flags); got.code != step.want {
				t.Errorf("%s, %q: %v, want %v", name, step.r.Value, got, step.want)
			}
		}
		n.mustGet("a", "longer")
	}
}
