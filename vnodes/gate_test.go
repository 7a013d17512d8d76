package vnodes

import (
	"fmt"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Every phase with every operation, planned with an older, the same and a newer
// ring, and before a rebuild.
func TestGate(t *testing.T) {
	const (
		yes    = "admit"
		wait   = "hold"
		newer  = "behind"
		moved  = "moved"
		stale  = "stale"
		lostly = "unavailable"
		notYet = "not_readable"
	)
	// In the order of ops: command, effect, read, cover.
	ops := []wire.Op{wire.OpCommand, wire.OpEffect, wire.OpRead, wire.OpCover}
	served := map[phase][4]string{
		serving:    {yes, yes, yes, yes},
		catching:   {notYet, yes, notYet, notYet},
		recovering: {wait, yes, wait, wait},
		sealed:     {wait, wait, yes, yes},
		proposed:   {wait, wait, wait, wait},
		gone:       {moved, moved, moved, moved},
		lost:       {lostly, lostly, lostly, lostly},
	}
	for ph, want := range served {
		g := gate{gen: 7, rebuilt: 5, phase: ph}
		for i, op := range ops {
			for gen, want := range map[uint64]string{
				4: map[bool]string{true: want[i], false: stale}[ph == gone || ph == lost],
				5: want[i], 6: want[i], 7: want[i],
				8: newer, 9: newer,
			} {
				if got := verdictName(g.check(op, gen)); got != want {
					t.Errorf("phase %d, op %d, gen %d: %s, want %s", ph, op, gen, got, want)
				}
			}
		}
	}
}

// A slot whose hints cannot come says so instead of holding its callers.
func TestGateRecoveringInVain(t *testing.T) {
	g := gate{gen: 7, phase: recovering, reason: "its holder is away"}
	for op, want := range map[wire.Op]string{
		wire.OpCommand: "unavailable", wire.OpRead: "unavailable", wire.OpCover: "unavailable", wire.OpEffect: "admit",
	} {
		if got := verdictName(g.check(op, 7)); got != want {
			t.Errorf("op %d: %s, want %s", op, got, want)
		}
	}
}

func verdictName(v verdict, code wire.Code) string {
	switch v {
	case admit:
		return "admit"
	case hold:
		return "hold"
	case behind:
		return fmt.Sprint(code)
	default:
		return code.String()
	}
}
