package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ringcore/ringcore/dataplane/socket"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// maxHello is the longest hello that is accepted, in bytes.
const maxHello = 4 << 10

// dial connects to addr and greets, within the dial timeout. expect is the node
// that must answer, "" for any. cluster may be empty.
func (c *Client) dial(ctx context.Context, addr, cluster string, expect ring.NodeID) (net.Conn, wire.Hello, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	say := wire.Hello{
		ClusterID: cluster, Expect: string(expect), Versions: [2]int{wire.Version, wire.Version},
		Sent: wire.SentAt(time.Since(c.born)),
	}
	nc, err := c.cfg.Dial(ctx, addr)
	if err != nil {
		return nil, wire.Hello{}, fmt.Errorf("connect to %s: %w", addr, err)
	}
	nc = socket.Direct(nc)
	hello, err := greet(ctx, nc, say)
	if err != nil {
		return nil, hello, fmt.Errorf("greet %s: %w", addr, errors.Join(err, nc.Close()))
	}
	return nc, hello, nil
}

// greet says hello and returns the node's. A refusal is a *wire.Error.
func greet(ctx context.Context, nc net.Conn, say wire.Hello) (hello wire.Hello, err error) {
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) }) // wakes a blocked read
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
	}()
	body, err := json.Marshal(say)
	if err != nil {
		return hello, err
	}
	h := wire.Header{Kind: wire.KindHello, Cluster: check(say.ClusterID)}
	if _, err := nc.Write(wire.AppendFrame([]byte{wire.ConnClient}, &h, body)); err != nil {
		return hello, err
	}
	f, err := wire.ReadFrame(nc, maxHello)
	switch {
	case err != nil:
		return hello, err
	case f.Kind != wire.KindHello:
		return hello, fmt.Errorf("a frame of kind %d came first", f.Kind)
	case f.Code != wire.OK:
		return hello, &wire.Error{Code: f.Code, Message: string(f.Body)}
	}
	if err := json.Unmarshal(f.Body, &hello); err != nil {
		return hello, fmt.Errorf("decode hello: %w", err)
	}
	switch {
	case say.ClusterID != "" && hello.ClusterID != say.ClusterID:
		return hello, wire.Errorf(wire.WrongCluster, "the node belongs to cluster %s, not %s", hello.ClusterID, say.ClusterID)
	case say.Expect != "" && hello.NodeID != say.Expect:
		return hello, wire.Errorf(wire.WrongNode, "this is node %s, not %s", hello.NodeID, say.Expect)
	}
	return hello, nil
}

// check is a header's form of a cluster id; 0 if that is not known.
func check(cluster string) uint32 {
	if cluster == "" {
		return 0
	}
	return wire.ClusterCheck(cluster)
}
