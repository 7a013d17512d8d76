package dataplane

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// rawDial opens a bare connection and says hello.
func rawDial(t *testing.T, n *testNode, kind byte, say wire.Hello) (net.Conn, wire.Hello, error) {
	t.Helper()
	c, hello, err := dialHello(soon(t), dialTCP, n.id.Addr, kind, say)
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, hello, err
}

// closedByServer waits for the end of c and returns what came before it.
func closedByServer(t *testing.T, c net.Conn) []byte {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		t.Fatal("the server does not close the connection")
	}
	return b
}

func TestHelloRefusals(t *testing.T) {
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{
		Identity: identity("b"), Requests: echo,
		Member: func(id ring.NodeID) bool { return id == "a" },
	})
	good := identity("a").hello("b")
	with := func(change func(*wire.Hello)) wire.Hello { h := good; change(&h); return h }
	for _, tc := range []struct {
		name string
		kind byte
		say  wire.Hello
		want wire.Code
	}{
		{"member", wire.ConnPeer, good, wire.OK},
		{"raft", wire.ConnRaft, good, wire.OK},
		{"other cluster", wire.ConnPeer, with(func(h *wire.Hello) { h.ClusterID = "c2" }), wire.WrongCluster},
		{"no cluster", wire.ConnPeer, with(func(h *wire.Hello) { h.ClusterID = "" }), wire.WrongCluster},
		{"other node", wire.ConnPeer, with(func(h *wire.Hello) { h.Expect = "z" }), wire.WrongNode},
		{"no member", wire.ConnRaft, with(func(h *wire.Hello) { h.NodeID = "x" }), wire.NotMember},
		{"nobody", wire.ConnPeer, with(func(h *wire.Hello) { h.NodeID = "" }), wire.NotMember},
		{"newer protocol", wire.ConnPeer, with(func(h *wire.Hello) { h.Versions = [2]int{2, 9} }), wire.NotSupported},
		{"no stream handler", wire.ConnStream, good, wire.NotSupported},
		{"no strangers", wire.ConnStrange, good, wire.NotSupported},
		{"client of another cluster", wire.ConnClient, with(func(h *wire.Hello) { h.ClusterID = "c2" }), wire.WrongCluster},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, hello, err := rawDial(t, n, tc.kind, tc.say)
			if tc.want == wire.OK {
				if err != nil || hello.NodeID != "b" || hello.ClusterID != "c1" || hello.Addr != n.id.Addr {
					t.Fatalf("hello %+v, error %v", hello, err)
				}
				return
			}
			var refusal *wire.Error
			if !errors.As(err, &refusal) || refusal.Code != tc.want || refusal.Message == "" {
				t.Fatalf("error %v, want %v with a message", err, tc.want)
			}
		})
	}
}

// A client need not know the cluster: the server's hello tells it.
func TestClientLearnsTheCluster(t *testing.T) {
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: echo})
	c, err := net.Dial("tcp", n.id.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body, _ := json.Marshal(wire.Hello{Versions: [2]int{1, 1}})
	if _, err := c.Write(appendHello([]byte{wire.ConnClient}, wire.OK, "", body)); err != nil {
		t.Fatal(err)
	}
	hello, err := readHello(c)
	if err != nil || hello.ClusterID != "c1" || hello.NodeID != "b" {
		t.Fatalf("hello %+v, error %v", hello, err)
	}
	for _, tc := range []struct {
		cluster uint32
		want    wire.Code
	}{{0, wire.OK}, {wire.ClusterCheck("c1"), wire.OK}, {wire.ClusterCheck("c2"), wire.WrongCluster}} {
		h := wire.Header{Kind: wire.KindRequest, Op: wire.OpQuery, ID: 5, Cluster: tc.cluster}
		if _, err := c.Write(wire.AppendFrame(nil, &h, []byte("x"))); err != nil {
			t.Fatal(err)
		}
		f, err := wire.ReadFrame(c, wire.MaxBody)
		if err != nil || f.ID != 5 || f.Kind != wire.KindReply || f.Op != wire.OpQuery || f.Code != tc.want {
			t.Fatalf("cluster %x: answer %+v, error %v", tc.cluster, f, err)
		}
	}
}

// What is no conversation of ours ends the connection, and nothing else.
func TestGarbageClosesTheConnection(t *testing.T) {
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: echo, HelloTimeout: 20 * time.Second})
	hello, _ := json.Marshal(identity("a").hello("b"))
	peer := appendHello([]byte{wire.ConnPeer}, wire.OK, "c1", hello)
	request := wire.AppendFrame(nil, &wire.Header{Kind: wire.KindRequest, Op: wire.OpQuery, Cluster: wire.ClusterCheck("c1")}, []byte("body"))
	broken := append([]byte(nil), request...)
	broken[len(broken)-1] ^= 1
	huge := append([]byte(nil), request...)
	huge[4] = 0xff
	foreign := wire.AppendFrame(nil, &wire.Header{Kind: wire.KindRequest, Cluster: 9}, nil)
	reply := wire.AppendFrame(nil, &wire.Header{Kind: wire.KindReply, Cluster: wire.ClusterCheck("c1")}, nil)
	for name, sent := range map[string][]byte{
		"http":               []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"tls":                {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3},
		"zeros":              make([]byte, 4096),
		"no json":            appendHello([]byte{wire.ConnPeer}, wire.OK, "c1", []byte("{")),
		"hello too long":     appendHello([]byte{wire.ConnPeer}, wire.OK, "c1", make([]byte, maxHello+1)),
		"request for hello":  append([]byte{wire.ConnPeer}, request...),
		"bad checksum":       append(append([]byte(nil), peer...), broken...),
		"body of 4 GiB":      append(append([]byte(nil), peer...), huge...),
		"foreign frame":      append(append([]byte(nil), peer...), foreign...),
		"reply unasked":      append(append([]byte(nil), peer...), reply...),
		"random after hello": append(append([]byte(nil), peer...), strings.Repeat("ring", 100)...),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", n.id.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Write(sent); err != nil {
				t.Fatal(err)
			}
			closedByServer(t, c)
		})
	}
	if _, _, err := rawDial(t, n, wire.ConnPeer, identity("a").hello("b")); err != nil {
		t.Fatalf("the server does not work any more: %v", err)
	}
}

// A caller that dawdles over its hello, or stops in a frame, keeps nobody waiting.
func TestHalfFrames(t *testing.T) {
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: echo, HelloTimeout: 50 * time.Millisecond})
	c, err := net.Dial("tcp", n.id.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte{wire.ConnPeer, wire.Version}); err != nil {
		t.Fatal(err)
	}
	closedByServer(t, c)

	half, _, err := rawDial(t, n, wire.ConnPeer, identity("a").hello("b"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := half.Write(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	n.stop() // hangs if the half frame holds a goroutine
}

func TestTooManyConnections(t *testing.T) {
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: echo, MaxConns: 1})
	first, _, err := rawDial(t, n, wire.ConnPeer, identity("a").hello("b"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := rawDial(t, n, wire.ConnPeer, identity("a").hello("b")); err == nil {
		t.Fatal("a second connection was let in")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for ctx := soon(t); ; { // the place is free as soon as the server has noticed
		c, _, err := dialHello(ctx, dialTCP, n.id.Addr, wire.ConnPeer, identity("a").hello("b"))
		if err == nil {
			_ = c.Close()
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

func TestRaftListener(t *testing.T) {
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b")})
	p := dialPeers(t, PeersConfig{}, n)
	out, err := p.Dial(soon(t), "b", wire.ConnRaft)
	if err != nil {
		t.Fatal(err)
	}
	in, err := n.server.RaftListener().Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write([]byte("vote")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(in, got); err != nil || string(got) != "vote" {
		t.Fatalf("read %q, %v", got, err)
	}
	n.stop() // closes what it gave out
	closedByServer(t, out)
	if _, err := n.server.RaftListener().Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("accept after close: %v", err)
	}
}

func TestRequestDeadlineAndContext(t *testing.T) {
	h := newHolder()
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: h})
	p := dialPeers(t, PeersConfig{}, n)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	end := make(chan wire.Frame, 1)
	deadline, _ := ctx.Deadline()
	p.Send("b", wire.Header{Op: wire.OpQuery, Partition: 3, Gen: 4}, nil, deadline, func(f wire.Frame, _ error) { end <- f })
	r := receive(t, h.held)
	if left := time.Until(r.Deadline); left < 50*time.Second || left > time.Minute+time.Second {
		t.Fatalf("deadline in %v", left)
	}
	if r.From != "a" || r.Partition != 3 || r.Gen != 4 || r.Context().Err() != nil {
		t.Fatalf("request %+v", r.Header)
	}
	rc := r.Context()
	r.Reply(wire.Moved, 9, []byte("gone"))
	r.Reply(wire.OK, 9, nil) // logged and ignored
	f := receive(t, end)
	if f.Code != wire.Moved || f.Epoch != 9 || f.Partition != 3 || string(f.Body) != "gone" {
		t.Fatalf("answer %+v", f)
	}
	if rc.Err() == nil {
		t.Fatal("the context outlives the answer")
	}
	// The context of a request ends with its connection.
	p.Send("b", wire.Header{Op: wire.OpQuery}, nil, time.Time{}, func(wire.Frame, error) {})
	r = receive(t, h.held)
	rc = r.Context()
	_ = p.Close()
	receive(t, rc.Done())
	r.Reply(wire.OK, 0, nil)
}

// A reader that is slow to take chunks holds up the one who makes them, and the
// answer is whole in the end.
func TestChunksWaitForTheReader(t *testing.T) {
	const chunks = 200
	made := make(chan int, chunks)
	done := make(chan error, 1)
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: handlerFunc(func(r *Request) {
		go func() {
			piece := make([]byte, 1<<20)
			for i := range chunks {
				if err := r.Chunk(piece, i == chunks-1); err != nil {
					done <- err
					return
				}
				made <- i
			}
			r.Reply(wire.OK, 1, nil)
			done <- nil
		}()
	})})
	c, _, err := rawDial(t, n, wire.ConnClient, wire.Hello{Versions: [2]int{1, 1}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(wire.AppendFrame(nil, &wire.Header{Kind: wire.KindRequest, Op: wire.OpCover}, nil)); err != nil {
		t.Fatal(err)
	}
	for got := 0; ; got++ {
		f, err := wire.ReadFrame(c, wire.MaxBody)
		if err != nil {
			t.Fatal(err)
		}
		if f.Kind == wire.KindReply {
			if got != chunks {
				t.Fatalf("%d chunks before the answer", got)
			}
			break
		}
		// 16 MiB queued, 16 MiB being written, and what the kernel holds.
		if ahead := len(made) - got; ahead > 64 {
			t.Fatalf("%d chunks made ahead of the reader", ahead)
		}
		if last := f.Flags&wire.FlagLast != 0; last != (got == chunks-1) {
			t.Fatalf("chunk %d has last=%v", got, last)
		}
	}
	if err := receive(t, done); err != nil {
		t.Fatal(err)
	}
}

func TestChunkFailsWhenTheConnectionIsGone(t *testing.T) {
	done := make(chan error, 1)
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Requests: handlerFunc(func(r *Request) {
		go func() {
			for {
				if err := r.Chunk(make([]byte, 1<<20), false); err != nil {
					done <- err
					return
				}
			}
		}()
	})})
	c, _, err := rawDial(t, n, wire.ConnClient, wire.Hello{Versions: [2]int{1, 1}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(wire.AppendFrame(nil, &wire.Header{Kind: wire.KindRequest, Op: wire.OpCover}, nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := wire.ReadFrame(c, wire.MaxBody); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if err := receive(t, done); !errors.Is(err, errClosed) {
		t.Fatalf("chunk: %v", err)
	}
}

func TestStrangers(t *testing.T) {
	n := serveTCP(t, "127.0.0.1:0", ServerConfig{Identity: identity("b"), Strangers: handlerFunc(func(r *Request) {
		if r.Op == wire.OpJoin {
			r.Reply(wire.Refused, 0, []byte("the name is taken"))
			return
		}
		r.Reply(wire.OK, 3, append([]byte(r.From+" says "), r.Body...))
	})})
	self := Identity{ClusterID: "another", NodeID: "x"}
	f, err := CallStranger(soon(t), n.id.Addr, self, wire.OpIntroduce, []byte("hi"))
	if err != nil || string(f.Body) != "x says hi" || f.Epoch != 3 {
		t.Fatalf("answer %q, %v", f.Body, err)
	}
	f, err = CallStranger(soon(t), n.id.Addr, self, wire.OpJoin, nil)
	if !errors.Is(err, &wire.Error{Code: wire.Refused}) || string(f.Body) != "the name is taken" {
		t.Fatalf("answer %q, %v", f.Body, err)
	}
	n.stop()
	if _, err = CallStranger(soon(t), n.id.Addr, self, wire.OpIntroduce, nil); err == nil {
		t.Fatal("nobody answered, and no error")
	}
}
