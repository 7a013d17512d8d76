package kv

import (
	"context"
	"strconv"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// Time that a call may take if neither its context nor its options say so.
const (
	defaultTimeout      = 5 * time.Second
	defaultCoverTimeout = time.Minute
)

// Options say how sure a read or write must be. The zero value means the
// service's defaults.
type Options struct {
	R, W    wire.Quorum   // replicas that must answer
	PR, PW  wire.Quorum   // of these, how many that hold the key by the ring
	Sloppy  bool          // fallbacks count
	Strict  bool          // only slots count, also with one replica
	Timeout time.Duration // 5 s for a key and a minute for a bucket if zero and the context has no deadline

	Expires time.Time     // Put, PutIf: when the value goes away; never if zero
	Context codec.Context // of the read that the write follows
}

// bound gives ctx the call's deadline.
func (o *Options) bound(ctx context.Context, standard time.Duration) (context.Context, context.CancelFunc) {
	if o.Timeout > 0 {
		return context.WithTimeout(ctx, o.Timeout)
	}
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, standard)
}

func (o *Options) flags() wire.CallFlags {
	var f wire.CallFlags
	if o.Sloppy {
		f |= wire.CallSloppy
	}
	if o.Strict {
		f |= wire.CallStrict
	}
	return f
}

// ParseTimeout reads a duration such as 500ms or 2s, or a number of milliseconds.
// The empty text is 0.
func ParseTimeout(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if ms, atoiErr := strconv.ParseUint(s, 10, 31); atoiErr == nil {
		d, err = time.Duration(ms)*time.Millisecond, nil
	}
	if err != nil || d <= 0 {
		return 0, wire.Errorf(wire.BadRequest, "%q is no timeout: write a duration as 500ms or 2s, or milliseconds", s)
	}
	return d, nil
}
