package dataplane

import (
	"encoding/json"
	"io"
	"net"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// FuzzServeConn plays whatever bytes on a fresh connection: the Server must end
// it without a panic, and answer only what is a well-formed request.
func FuzzServeConn(f *testing.F) {
	hello, err := json.Marshal(identity("a").hello("b"))
	if err != nil {
		f.Fatal(err)
	}
	request := wire.AppendFrame(nil, &wire.Header{
		Kind: wire.KindRequest, Op: wire.OpQuery, ID: 1, Cluster: wire.ClusterCheck("c1"), TimeoutMS: 5,
	}, []byte("body"))
	for _, kind := range []byte{wire.ConnRaft, wire.ConnPeer, wire.ConnStream, wire.ConnClient, wire.ConnStrange} {
		opening := appendHello([]byte{kind}, wire.OK, "c1", hello)
		f.Add(opening)
		f.Add(opening[:len(opening)/2])
		f.Add(append(opening, request...))
		f.Add(append(opening, request[:70]...))
	}
	f.Add([]byte("GET / HTTP/1.0\r\n\r\n"))
	s := NewServer(ServerConfig{
		Identity: identity("b"), Requests: echo, Strangers: echo,
		Streams: streamFunc(echoStream), Member: func(id ring.NodeID) bool { return id != "" },
	})
	f.Cleanup(func() { _ = s.Close() })
	_ = s.RaftListener().Close()
	f.Fuzz(func(t *testing.T, sent []byte) {
		here, there := net.Pipe()
		s.ServeConn(there)
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			_, _ = io.Copy(io.Discard, here)
		}()
		_ = here.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := here.Write(sent); err != nil {
			if late, ok := err.(net.Error); ok && late.Timeout() {
				t.Fatal("the server neither reads nor closes")
			}
		}
		_ = here.Close()
		<-answered
	})
}
