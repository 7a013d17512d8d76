package client

import (
	"context"
	"encoding/base64"
	"math/rand/v2"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
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

	// Context is that of the Object which the write is made from. Today the newest
	// write wins with or without it; it will matter for buckets that keep siblings.
	Context Context
	Expires time.Time // Put: when the value goes away; never if zero
}

// Context is the causal context of a value that was read: hand it back with the
// write that follows.
type Context struct{ stamp wire.Stamp }

// String is c as in HTTP's X-Ringcore-Context; empty for the zero Context.
func (c Context) String() string {
	if c.stamp.IsZero() {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(c.stamp.Append(nil))
}

// ParseContext undoes String.
func ParseContext(s string) (Context, error) {
	if s == "" {
		return Context{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != wire.StampSize {
		return Context{}, wire.Errorf(wire.BadRequest, "%q is no causal context", s)
	}
	stamp, err := wire.ParseStamp(b)
	return Context{stamp}, err
}

func sloppy(on bool) wire.CallFlags {
	if on {
		return wire.CallSloppy
	}
	return 0
}

func (o *WriteOptions) expires() uint64 {
	if o.Expires.IsZero() {
		return 0
	}
	return uint64(max(o.Expires.UnixMilli(), 1)) // 0 would mean never
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
