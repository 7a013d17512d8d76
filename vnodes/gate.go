package vnodes

import (
	"github.com/ringcore/ringcore/dataplane/wire"
)

// phase says what a vnode does with requests.
//
//	catching ─data complete→ serving ─seal→ sealed ─READY→ proposed ─committed→ gone
//	                            ↑──────unseal─┘                │
//	                            ↑──────────────aborted─────────┘
//
// recovering and lost stand beside: a vnode that was restarted, or may have been stood
// in for, and waits for hints; and one whose data is not there.
type phase uint8

const (
	serving    phase = iota
	catching         // takes effects, answers no command and no read
	recovering       // takes effects; holds the rest for the moment that hints take to arrive, or says why they do not
	sealed           // holds commands and effects; reads go on
	proposed         // holds everything: the switch may be committed at any moment
	gone             // another node serves: MOVED
	lost             // the data that this node should hold is not here: UNAVAILABLE
)

// gate is what a vnode checks each request against. A vnode's worker alone
// swaps it, so that a check and what follows it in the worker are one step.
type gate struct {
	gen     uint64
	rebuilt uint64 // requests planned before this gen are STALE
	phase   phase
	reason  string // of lost, and of recovering in vain
}

// verdict is what the gate says of a request.
type verdict uint8

const (
	admit  verdict = iota
	hold           // keep it until the phase changes
	behind         // planned with a newer ring: fetch that first
	reject         // answer with the code
)

// check applies the rules of docs/design.md ("The gate") to a request.
func (g *gate) check(op wire.Op, gen uint64) (verdict, wire.Code) {
	switch {
	case g.phase == gone:
		if gen > g.gen {
			return behind, wire.Behind
		}
		return reject, wire.Moved
	case gen > g.gen:
		return behind, wire.Behind
	case g.phase == lost:
		return reject, wire.Unavailable
	case gen < g.rebuilt:
		return reject, wire.Stale
	}
	switch g.phase {
	case catching:
		if op != wire.OpEffect {
			return reject, wire.NotReadable
		}
	case recovering:
		switch {
		case op == wire.OpEffect:
		case g.reason != "":
			return reject, wire.Unavailable
		default:
			return hold, 0
		}
	case sealed:
		if op != wire.OpRead && op != wire.OpCover {
			return hold, 0
		}
	case proposed:
		return hold, 0
	}
	return admit, 0
}
