package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// CallStranger asks the node at addr, of whatever cluster, one request on a
// connection of its own: OpIntroduce, OpJoin. self says who asks; its cluster is
// not told. An answer whose code is not OK comes back as *wire.Error, with the
// frame besides. Without a deadline in ctx it gives up after 10 s.
func CallStranger(ctx context.Context, addr string, self Identity, op wire.Op, body []byte) (wire.Frame, error) {
	ctx, cancel := context.WithTimeout(ctx, strangerTimeout)
	defer cancel()
	self.ClusterID = ""
	c, _, err := dialHello(ctx, dialTCP, addr, wire.ConnStrange, self.hello(""))
	if err != nil {
		return wire.Frame{}, fmt.Errorf("connect to %s: %w", addr, err)
	}
	f, err := ask(ctx, c, op, body)
	if err := errors.Join(err, c.Close()); err != nil {
		return wire.Frame{}, fmt.Errorf("ask %s: %w", addr, err)
	}
	return f, answerError(&f)
}

// ask sends the connection's only request and reads the answer.
func ask(ctx context.Context, c net.Conn, op wire.Op, body []byte) (wire.Frame, error) {
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return wire.Frame{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	h := wire.Header{Kind: wire.KindRequest, Op: op, ID: 1}
	if _, err := c.Write(wire.AppendFrame(nil, &h, body)); err != nil {
		return wire.Frame{}, err
	}
	f, err := wire.ReadFrame(c, wire.MaxBody)
	if err != nil {
		return wire.Frame{}, err
	}
	if f.Kind != wire.KindReply || f.ID != h.ID {
		return wire.Frame{}, fmt.Errorf("frame of kind %d, id %d where an answer was expected", f.Kind, f.ID)
	}
	return f, nil
}
