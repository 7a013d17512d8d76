package metadata

import (
	"maps"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Limits bound what transfers may take from a node. What is 0 is as the cluster's
// Limits say; in those, as DefaultLimits says. Rates are of records on their way to
// another node or from one; NoLimit stands for as fast as it goes.
type Limits struct {
	In       int   `json:"in,omitempty"`        // open transfers that a node receives at a time
	Out      int   `json:"out,omitempty"`       // ... and sends
	Pair     int   `json:"pair,omitempty"`      // ... between the same two nodes, in one direction
	BytesIn  int64 `json:"bytes_in,omitempty"`  // that a node receives in a second
	BytesOut int64 `json:"bytes_out,omitempty"` // ... and sends
}

// NoLimit is a rate without bound.
const NoLimit int64 = -1

// Bounds of Limits. A rate that is lower would have the streams time out.
const (
	maxTransfers = 1024
	minRate      = 256 << 10
)

// DefaultLimits hold where nothing else is said.
func DefaultLimits() Limits {
	return Limits{In: 16, Out: 16, Pair: 8, BytesIn: NoLimit, BytesOut: NoLimit}
}

// or is l with the values of rest where it has none.
func (l Limits) or(rest Limits) Limits {
	l.In, l.Out, l.Pair = first(l.In, rest.In), first(l.Out, rest.Out), first(l.Pair, rest.Pair)
	l.BytesIn, l.BytesOut = first(l.BytesIn, rest.BytesIn), first(l.BytesOut, rest.BytesOut)
	return l
}

func first[T int | int64](x, y T) T {
	if x != 0 {
		return x
	}
	return y
}

func (l *Limits) check() error {
	for _, n := range []int{l.In, l.Out, l.Pair} {
		if n < 0 || n > maxTransfers {
			return wire.Errorf(wire.BadRequest, "%d transfers at a time: give 1 to %d", n, maxTransfers)
		}
	}
	for _, n := range []int64{l.BytesIn, l.BytesOut} {
		if n != 0 && n != NoLimit && n < minRate {
			return wire.Errorf(wire.BadRequest, "%d bytes in a second: give at least %d, or %d for no limit", n, minRate, NoLimit)
		}
	}
	return nil
}

// LimitsOf are the limits of a node; of the cluster if node is empty.
func (s *State) LimitsOf(node ring.NodeID) Limits {
	l := DefaultLimits()
	if s.Limits != nil {
		l = s.Limits.or(l)
	}
	if own, ok := s.NodeLimits[node]; ok {
		l = own.or(l)
	}
	return l
}

// SetLimits changes what change names: of a node, or of the whole cluster if node is empty.
// With reset all that was said before is forgotten first.
func SetLimits(node ring.NodeID, change Limits, reset bool) Command {
	return Command{Op: opLimits, Node: node, Limits: &change, Reset: reset}
}

// limits changes the limits of transfers. It needs no member: what is open goes on.
func (s *State) limits(node ring.NodeID, change *Limits, reset bool) (bool, error) {
	if change == nil {
		return false, wire.Errorf(wire.BadRequest, "which limits?")
	}
	if err := change.check(); err != nil {
		return false, err
	}
	if node != "" {
		m, err := s.known(node)
		if err != nil {
			return false, err
		}
		if m.Gone() {
			return false, wire.Errorf(wire.Refused, "node %s has left", m.Name)
		}
	}
	var old Limits
	if node != "" {
		old = s.NodeLimits[node]
	} else if s.Limits != nil {
		old = *s.Limits
	}
	next := change.or(old)
	if reset {
		next = *change
	}
	switch {
	case next == old:
		return false, nil
	case node == "":
		s.Limits = &next
	default:
		all := make(map[ring.NodeID]Limits)
		maps.Copy(all, s.NodeLimits)
		if all[node] = next; next == (Limits{}) {
			delete(all, node)
		}
		s.NodeLimits = all
	}
	return true, nil
}

// millis is t in the State: wall clocks of whoever proposed, for people only.
func millis(t time.Time) int64 { return t.UnixMilli() }
