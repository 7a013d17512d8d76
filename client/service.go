package client

import (
	"context"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Call is a command or query for a service of the user's own.
type Call struct {
	Bucket  string // with Key, says which partition is asked
	Key     []byte
	Body    []byte        // the service's own
	Quorum  Quorum        // W of a command, R of a query
	Primary Quorum        // PW or PR
	Sloppy  bool          // fallbacks count
	Blind   bool          // of a command: it does not read what it replaces, and may be tried again
	Timeout time.Duration // the Client's if zero; a deadline of the context counts too
}

// Command runs a command of a service and returns the service's reply. One that
// is not Blind may end with ErrMaybe.
func (c *Client) Command(ctx context.Context, service string, call Call) ([]byte, error) {
	r := request{
		op: wire.OpCommand, service: wire.ServiceID(service), call: call.encode(),
		safe: call.Blind, deadline: deadline(ctx, call.Timeout, c.cfg.Timeout),
	}
	if call.Blind {
		r.call.Flags |= wire.CallBlind
		r.call.ID = writeID()
	}
	return c.do(ctx, &r)
}

// Query runs a query of a service and returns the service's reply.
func (c *Client) Query(ctx context.Context, service string, call Call) ([]byte, error) {
	r := request{
		op: wire.OpQuery, service: wire.ServiceID(service), call: call.encode(),
		safe: true, deadline: deadline(ctx, call.Timeout, c.cfg.Timeout),
	}
	return c.do(ctx, &r)
}

func (c *Call) encode() wire.Call {
	return wire.Call{Bucket: c.Bucket, Key: c.Key, Quorum: c.Quorum, Primary: c.Primary, Flags: sloppy(c.Sloppy), Body: c.Body}
}
