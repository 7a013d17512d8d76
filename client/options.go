package client

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// Quorum says how many replicas must answer: a number, One, Majority or All. The
// zero value is the service's default.
type Quorum = wire.Quorum

// The symbolic quorums.
const (
	One      Quorum = 1
	Majority        = wire.QuorumMajority
	All             = wire.QuorumAll
)

// ReadOptions say how sure a read must be.
type ReadOptions struct {
	R       Quorum        // replicas that must answer
	PR      Quorum        // of these, how many that hold the key by the ring
	Sloppy  bool          // fallbacks count
	Timeout time.Duration // the Client's if zero; a deadline of the context counts too
}

// WriteOptions say how sure a write must be.
type WriteOptions struct {
	W       Quorum        // replicas that must have stored it durably
	PW      Quorum        // of these, how many that hold the key by the ring
	Sloppy  bool          // fallbacks count
	Timeout time.Duration // the Client's if zero; a deadline of the context counts too

	// Context is that of the Object which the write is made from. In a bucket that keeps
	// siblings the write takes the place of what that Object showed, and stands beside
	// what has been written since; a Delete without one removes what is there now.
	// Elsewhere the newest write wins, with or without it.
	Context Context
	Expires time.Time // Put: when the value goes away; never if zero

	// Put is refused with ErrConflict unless the key has no value (IfAbsent), or has
	// not been written since it was read with Context (IfUnchanged). With one replica that
	// is exact. With several it is a read followed by a write that looks again at one
	// replica: of two writes at the same time, at different replicas, both may be done.
	IfAbsent    bool
	IfUnchanged bool
}

// Context is the causal context of a read: hand it back with the write that follows.
// Contexts can be compared.
type Context struct{ seen codec.Context }

// String is c as text, as in HTTP's X-Ringcore-Context; empty for the zero Context.
func (c Context) String() string { return c.seen.String() }

// IsZero reports whether c is the zero Context, that of no read.
func (c Context) IsZero() bool { return c.seen.IsZero() }

// ParseContext undoes a Context's String.
func ParseContext(s string) (Context, error) {
	c, err := codec.ParseContext(s)
	return Context{c}, err
}

func (o *WriteOptions) cond() codec.Cond {
	var c codec.Cond
	if o.IfAbsent {
		c |= codec.IfAbsent
	}
	if o.IfUnchanged {
		c |= codec.IfUnchanged
	}
	return c
}

func sloppy(on bool) wire.CallFlags {
	if on {
		return wire.CallSloppy
	}
	return 0
}

// deadline is when a call that begins now must be over.
func deadline(ctx context.Context, timeouts ...time.Duration) time.Time {
	var d time.Time
	for _, t := range timeouts { // the first that is set
		if t > 0 {
			d = time.Now().Add(t)
			break
		}
	}
	if limit, ok := ctx.Deadline(); ok && limit.Before(d) {
		return limit
	}
	return d
}

// writeID draws the id of a blind write: random, and not zero.
func writeID() uint64 { return max(rand.Uint64(), 1) }
