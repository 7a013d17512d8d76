package dataplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/ringcore/ringcore/dataplane/socket"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Identity is who a node is to the others.
type Identity struct {
	ClusterID string
	NodeID    ring.NodeID
	Addr      string // host:port as others dial it
	// Generation is that of the cluster's metadata. Nodes of another one are no peers.
	Generation wire.Generation
}

// hello is what a node of this identity says first. expect is whom it means to
// reach, "" for anyone.
func (id Identity) hello(expect ring.NodeID) wire.Hello {
	return wire.Hello{
		ClusterID: id.ClusterID, NodeID: string(id.NodeID), Addr: id.Addr,
		Expect: string(expect), Versions: [2]int{wire.Version, wire.Version}, Generation: id.Generation,
		Caps: []string{wire.CapTrace},
	}
}

// appendHello appends the first frame of either direction: a Hello if code is OK,
// else the message of a refusal.
func appendHello(dst []byte, code wire.Code, cluster string, body []byte) []byte {
	h := wire.Header{Kind: wire.KindHello, Code: code}
	if cluster != "" {
		h.Cluster = wire.ClusterCheck(cluster)
	}
	return wire.AppendFrame(dst, &h, body)
}

// readHello reads the other side's first frame from an unbuffered r, and not one
// byte more. A refusal comes back as *wire.Error.
func readHello(r io.Reader) (wire.Hello, error) {
	f, err := wire.ReadFrame(r, maxHello)
	if errors.Is(err, wire.ErrVersion) {
		return wire.Hello{}, fmt.Errorf("read hello: what listens there speaks another protocol: %w", err)
	}
	if err != nil {
		return wire.Hello{}, fmt.Errorf("read hello: %w", err)
	}
	if f.Kind != wire.KindHello {
		return wire.Hello{}, fmt.Errorf("read hello: a frame of kind %d came first", f.Kind)
	}
	if f.Code != wire.OK {
		return wire.Hello{}, &wire.Error{Code: f.Code, Message: string(f.Body), Epoch: f.Epoch}
	}
	var h wire.Hello
	if err := json.Unmarshal(f.Body, &h); err != nil {
		return wire.Hello{}, fmt.Errorf("read hello: %w", err)
	}
	return h, nil
}

// speaks reports whether h shares a protocol version with this node.
func speaks(h *wire.Hello) bool {
	return h.Versions[0] <= wire.Version && wire.Version <= h.Versions[1]
}

// check is what a server asks of a caller's hello; nil lets it in. member says
// which nodes may connect.
func (id Identity) check(conn byte, h *wire.Hello, member func(ring.NodeID) bool) *wire.Error {
	switch {
	case !speaks(h):
		return wire.Errorf(wire.NotSupported, "this node speaks protocol version %d, the caller %d to %d",
			wire.Version, h.Versions[0], h.Versions[1])
	case h.Expect != "" && h.Expect != string(id.NodeID):
		return wire.Errorf(wire.WrongNode, "this is node %s, not %s", id.NodeID, h.Expect)
	case conn == wire.ConnStrange:
		return nil
	case h.ClusterID != id.ClusterID && (conn != wire.ConnClient || h.ClusterID != ""):
		return wire.Errorf(wire.WrongCluster, "this node belongs to cluster %s, the caller means %q", id.ClusterID, h.ClusterID)
	case conn != wire.ConnClient && h.Generation != id.Generation:
		return wire.Errorf(wire.WrongCluster, "this node is of generation %v of the cluster, the caller of %v", id.Generation, h.Generation)
	case conn != wire.ConnClient && !member(ring.NodeID(h.NodeID)):
		return wire.Errorf(wire.NotMember, "node %q is no member of cluster %s", h.NodeID, id.ClusterID)
	}
	return nil
}

// dialFunc opens a connection to addr.
type dialFunc func(ctx context.Context, addr string) (net.Conn, error)

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// dialHello connects to addr for the purpose conn and exchanges hellos; ctx bounds
// all of it. The answer is the other side's hello, checked against what say
// expects. A refusal is a *wire.Error in the chain.
func dialHello(ctx context.Context, dial dialFunc, addr string, conn byte, say wire.Hello) (net.Conn, wire.Hello, error) {
	c, err := dial(ctx, addr)
	if err != nil {
		return nil, wire.Hello{}, err
	}
	c = socket.Direct(c)
	answer, err := exchangeHello(ctx, c, conn, say)
	if err != nil {
		return nil, wire.Hello{}, errors.Join(err, c.Close())
	}
	return c, answer, nil
}

func exchangeHello(ctx context.Context, c net.Conn, conn byte, say wire.Hello) (wire.Hello, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) }) // wakes a blocked read
	defer stop()
	body, err := json.Marshal(say)
	if err != nil {
		return wire.Hello{}, fmt.Errorf("encode hello: %w", err)
	}
	if _, err := c.Write(appendHello([]byte{conn}, wire.OK, say.ClusterID, body)); err != nil {
		return wire.Hello{}, fmt.Errorf("write hello: %w", err)
	}
	answer, err := readHello(c)
	switch {
	case err != nil:
		return wire.Hello{}, err
	case !speaks(&answer):
		return wire.Hello{}, wire.Errorf(wire.NotSupported, "the node speaks protocol version %d to %d",
			answer.Versions[0], answer.Versions[1])
	case say.Expect != "" && answer.NodeID != say.Expect:
		return wire.Hello{}, wire.Errorf(wire.WrongNode, "reached node %q instead of %q", answer.NodeID, say.Expect)
	case say.ClusterID != "" && answer.ClusterID != say.ClusterID:
		return wire.Hello{}, wire.Errorf(wire.WrongCluster, "reached a node of cluster %q", answer.ClusterID)
	case conn != wire.ConnStrange && conn != wire.ConnClient && answer.Generation != say.Generation: // it does not know of generations, or it would have refused
		return wire.Hello{}, wire.Errorf(wire.WrongCluster, "reached a node of generation %v, this one is of %v", answer.Generation, say.Generation)
	}
	if !stop() {
		return wire.Hello{}, context.Cause(ctx) // the deadline may already be spoilt
	}
	return answer, nil
}
