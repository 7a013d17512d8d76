package kv

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// rawRESP is a connection on which a test writes bytes itself.
func rawRESP(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

func send(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

func wantBytes(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

func TestRESPInlineAndPieces(t *testing.T) {
	c, r := rawRESP(t, serveRESP(t, newFake(1)))
	send(t, c, "\r\nSET a \"x \\x41\\n\"\r\nget a\n")
	wantBytes(t, r, "+OK\r\n$4\r\nx A\n\r\n")
	// A command is answered though the next one has only begun.
	send(t, c, "PING\r\n*2\r\n$4\r\nEC")
	wantBytes(t, r, "+PONG\r\n")
	send(t, c, "HO\r\n$2\r\nh")
	send(t, c, "i\r\n*0\r\nQUIT\r\nPING\r\n")
	wantBytes(t, r, "$2\r\nhi\r\n+OK\r\n")
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Fatalf("after QUIT: %v", err)
	}
}

func TestRESPBreachesEndTheConnection(t *testing.T) {
	addr := serveRESP(t, newFake(1))
	for _, s := range []string{
		"*1\r\n$9223372036854775807\r\n", "*1\r\n$-5\r\n", "*99999999\r\n", "*x\r\n", "*1\r\n:5\r\n", "*1\r\n$99999999\r\n",
		"*1\r\n$4\r\nPINGxx", "GET \"a\r\n", strings.Repeat("x", respMaxInline+1),
	} {
		c, r := rawRESP(t, addr)
		send(t, c, "PING\r\n"+s)
		wantBytes(t, r, "+PONG\r\n-ERR Protocol error: ")
		if _, err := io.Copy(io.Discard, r); err != nil && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%.20q: the connection goes on: %v", s, err)
		}
	}
}

// Commands of a pipeline run at once and are answered in order; those on one key
// run one after another.
func TestRESPPipeline(t *testing.T) {
	f := newFake(1)
	const width = 64
	var mu sync.Mutex
	under, most := 0, 0
	together := make(chan struct{}) // closed when a whole pipeline is under way
	f.before = func(ctx context.Context, call *wire.Call) {
		if !bytes.HasPrefix(call.Key, []byte("wide")) {
			return
		}
		mu.Lock()
		under++
		if most = max(most, under); under == width {
			close(together)
		}
		mu.Unlock()
		select {
		case <-together:
		case <-ctx.Done():
		}
	}
	c, r := rawRESP(t, serveRESP(t, f))
	var in, out strings.Builder
	for i := range width {
		fmt.Fprintf(&in, "GET wide%d\r\n", i)
		out.WriteString("$-1\r\n")
	}
	send(t, c, in.String())
	wantBytes(t, r, out.String())
	if most != width {
		t.Fatalf("at most %d at once, want %d", most, width)
	}

	in.Reset()
	out.Reset()
	for i := range 50 {
		fmt.Fprintf(&in, "SET k %d\r\nGET k\r\nGET k\r\nSET k%d x\r\n", i, i)
		fmt.Fprintf(&out, "+OK\r\n$%d\r\n%d\r\n$%d\r\n%d\r\n+OK\r\n", len(fmt.Sprint(i)), i, len(fmt.Sprint(i)), i)
	}
	send(t, c, in.String()+"DBSIZE\r\nFLUSHALL\r\nDBSIZE\r\n")
	wantBytes(t, r, out.String()+":51\r\n+OK\r\n:0\r\n")
}

// The keys of one command are asked for several at a time, and no more than that.
func TestRESPFansOutWithinBounds(t *testing.T) {
	f := newFake(1)
	var mu sync.Mutex
	under, most := 0, 0
	full := make(chan struct{}) // closed when as many as allowed are under way
	f.before = func(ctx context.Context, _ *wire.Call) {
		mu.Lock()
		if under++; under > most {
			if most = under; most == respFanOut {
				close(full)
			}
		}
		mu.Unlock()
		select {
		case <-full:
		case <-ctx.Done():
		}
		mu.Lock()
		under--
		mu.Unlock()
	}
	c, r := rawRESP(t, serveRESP(t, f))
	send(t, c, "MGET"+strings.Repeat(" k", 10*respFanOut)+"\r\n")
	wantBytes(t, r, fmt.Sprintf("*%d\r\n", 10*respFanOut)+strings.Repeat("$-1\r\n", 10*respFanOut))
	if most != respFanOut {
		t.Fatalf("%d at once, want %d", most, respFanOut)
	}
}

func TestRESPTurnsAwayTooManyClients(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ServeRESP(ctx, ln, newFake(1).kv(), RESPConfig{Clients: 1}) }()
	a, ra := rawRESP(t, ln.Addr().String())
	send(t, a, "PING\r\n")
	wantBytes(t, ra, "+PONG\r\n")
	_, rb := rawRESP(t, ln.Addr().String())
	wantBytes(t, rb, "-ERR max number of clients reached\r\n")
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := ra.ReadByte(); err == nil {
		t.Fatal("the connection outlives the server")
	}
}

func TestRESPReportsAListenerThatFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if err := ServeRESP(t.Context(), ln, newFake(1).kv(), RESPConfig{}); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("serve on a closed listener: %v", err)
	}
}

func FuzzRESPReader(f *testing.F) {
	f.Add([]byte("*2\r\n$3\r\nGET\r\n$1\r\na\r\n"))
	f.Add([]byte("SET a \"x\\x41\"\r\n"))
	f.Add([]byte("*1\r\n$9223372036854775807\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(b), respMaxInline)
		for {
			args, err := readRESP(r)
			if err != nil {
				return
			}
			total := 0
			for _, a := range args {
				total += len(a)
			}
			if total > len(b) {
				t.Fatalf("%d bytes of arguments out of %d", total, len(b))
			}
		}
	})
}
