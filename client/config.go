package client

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Trace names a span as W3C trace context does; ParseTrace reads it from a traceparent header.
type Trace = wire.Trace

// ParseTrace reads the HTTP header traceparent; nil if it is not well-formed.
func ParseTrace(traceparent string) *Trace { return wire.ParseTrace(traceparent) }

// Config says how a Client finds its cluster. Only Addrs is required.
type Config struct {
	Addrs       []string      // host:port of the --addr of any members, one is enough
	ClusterID   string        // refuse any other cluster; that of the first node reached if empty
	Timeout     time.Duration // of a request without a deadline of its own; 5 s if zero
	DialTimeout time.Duration // to connect and greet; 1 s if zero
	Logger      *slog.Logger  // slog.Default() if nil
	// NoBackoff returns ErrOverload at once. Else a request that a full queue refuses is tried
	// again until its deadline, after waits that double and have a random part.
	NoBackoff bool

	// Trace tells of what a request is a part, by the context that it is made with: the span
	// under which nodes put theirs. It is nil, or not sampled, for those that are not traced.
	Trace func(ctx context.Context) *Trace

	// Dial connects to a node; TCP if nil.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
}

const (
	defaultTimeout      = 5 * time.Second
	defaultDialTimeout  = time.Second
	defaultCoverTimeout = time.Minute
)

func (c Config) withDefaults() (Config, error) {
	if len(c.Addrs) == 0 {
		return c, errors.New("client: Config.Addrs is empty: name the address of a member")
	}
	c.Addrs = slices.Clone(c.Addrs)
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.DialTimeout <= 0 {
		c.DialTimeout = defaultDialTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	return c, nil
}
