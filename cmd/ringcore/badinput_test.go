package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// refusedStart runs start, which must fail, and returns what it says.
func refusedStart(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("ringcore", append([]string{"start"}, args...)...)
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() <= 0 {
		t.Errorf("start %v: %v, it should have refused: %s", args, err, out)
	}
	return string(out)
}

func says(t *testing.T, said string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("the error does not say %q:\n%s", w, said)
		}
	}
}

// A start that cannot work says why and what to do.
func TestBadStart(t *testing.T) {
	n1 := startProcess(t, "n1")
	dir := n1.args[3]
	t.Run("port in use", func(t *testing.T) {
		says(t, refusedStart(t, "--data-dir", t.TempDir(), "--addr", n1.addr), "in use", n1.addr, "port")
	})
	t.Run("directory in use", func(t *testing.T) {
		says(t, refusedStart(t, "--data-dir", dir, "--addr", "127.0.0.1:0"), "in use by another process", dir)
	})
	t.Run("directory of another cluster", func(t *testing.T) {
		other := startProcess(t, "other")
		other.stop()
		said := refusedStart(t, "--data-dir", other.args[3], "--name", "other", "--addr", "127.0.0.1:0", "--join", n1.addr)
		says(t, said, "belongs to cluster", "cluster join", "empty data directory")
	})
	t.Run("not loopback", func(t *testing.T) {
		says(t, refusedStart(t, "--data-dir", t.TempDir(), "--addr", "0.0.0.0:0"), "--insecure")
	})
	t.Run("name in use", func(t *testing.T) {
		said := refusedStart(t, "--data-dir", t.TempDir(), "--name", "n1", "--addr", "127.0.0.1:0", "--join", n1.addr)
		says(t, said, "n1", "name")
	})
	t.Run("wiped directory", func(t *testing.T) {
		var m1 *process
		var said string
		for range 5 { // somebody else's connection may have come to lie on one of the ports meanwhile
			m1 = startProcess(t, "m1")
			p := startProcess(t, "wiped", "--join", m1.addr)
			p.kill()
			said = refusedStart(t, "--data-dir", t.TempDir(), "--name", "wiped", "--addr", p.addr, "--http-addr", p.http, "--resp-addr", p.resp, "--join", m1.addr)
			if !strings.Contains(said, "listens there") {
				break
			}
		}
		says(t, said, "wiped", "data directory is new", "--name", "force-replace wiped NEW")
		startProcess(t, "fresh", "--join", m1.addr) // under another name it is a new member
		var members []struct{ Name, ID string }
		if err := m1.get("/v1/members", &members); err != nil || len(members) != 3 || members[0].ID == members[2].ID {
			t.Errorf("members %v, %v", members, err)
		}
	})
	t.Run("other storage", func(t *testing.T) {
		p := startProcess(t, "disk")
		p.stop()
		says(t, refusedStart(t, append(p.args, "--addr", "127.0.0.1:0", "--storage", "memory")...), "--storage disk")
	})
	if got := n1.ok("ping"); !strings.HasPrefix(got, "pong") {
		t.Errorf("n1 after all this: %q", got)
	}
}

// A join that cannot work says why and what to do, and changes nothing.
func TestBadJoin(t *testing.T) {
	n1, n2 := startProcess(t, "n1"), startProcess(t, "n2")
	n1.ok("kv", "put", "k", "v")
	n2.ok("kv", "put", "k", "v2")
	for _, c := range []struct {
		name  string
		seed  string
		words []string
	}{
		{"oneself", n2.addr, []string{"itself"}},
		{"holding data", n1.addr, []string{"holds 1 records", "--discard"}},
		{"unreachable", "127.0.0.1:1", []string{"no node answers", "127.0.0.1:1"}},
		{"no address", "nonsense", []string{"host:port"}},
		{"not a node", n1.http, []string{n1.http}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, said, code := n2.ringcore("cluster", "join", c.seed, "--commit")
			if code == 0 {
				t.Error("it should have been refused")
			}
			says(t, said, c.words...)
			if got := n2.ok("kv", "get", "k"); got != "v2" {
				t.Errorf("n2 afterwards: %q", got)
			}
		})
	}
	n2.ok("kv", "delete", "k")
	n2.ok("cluster", "join", n1.addr, "--commit")
	settle(t, n1, n2)
	if _, said, code := n2.ringcore("cluster", "join", n1.addr, "--commit"); code == 0 {
		t.Error("a second join should have been refused")
	} else {
		says(t, said, "already")
	}
	if got := n2.ok("kv", "get", "k"); got != "v" {
		t.Errorf("get after the join: %q", got)
	}
}

// Keys and values over the limits are refused as too large; everything else of
// any size and content comes back as it was.
func TestKeyAndValueLimits(t *testing.T) {
	n1 := startProcess(t, "n1")
	long := strings.Repeat("k", 64<<10)
	if status, body, err := kvRequest(n1, http.MethodPut, "big", strings.Repeat("v", 8<<20)); err != nil || status/100 != 2 {
		t.Errorf("a value of 8 MiB: %d %.200s %v", status, body, err)
	}
	if got := get(t, n1, "big"); got != strings.Repeat("v", 8<<20) {
		t.Errorf("the value of 8 MiB comes back with %d bytes", len(got))
	}
	tooLarge := func(what, key, value string) {
		t.Helper()
		status, body, err := kvRequest(n1, http.MethodPut, key, value)
		var problem struct{ Code, Detail string }
		if err != nil || json.Unmarshal([]byte(body), &problem) != nil || status != http.StatusRequestEntityTooLarge || problem.Code != "too_large" {
			t.Errorf("%s: %d %.200s %v", what, status, body, err)
		}
	}
	tooLarge("a value over 8 MiB", "k", strings.Repeat("v", 8<<20+1))
	resp := redis(t, n1)
	if got := resp("SET", long, "v"); got != "+OK" {
		t.Errorf("a key of 64 KiB: %.100s", got)
	}
	if got := resp("SET", long+"k", "v"); !strings.HasPrefix(got, "-") {
		t.Errorf("a key over 64 KiB: %.100s", got)
	}
	if got := n1.ok("ping"); !strings.HasPrefix(got, "pong") {
		t.Errorf("afterwards: %q", got)
	}
}

// redis returns a function that sends one command and reads the first line of the answer.
func redis(t *testing.T, p *process) func(args ...string) string {
	t.Helper()
	c, err := net.Dial("tcp", p.resp)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return func(args ...string) string {
		var b strings.Builder
		fmt.Fprintf(&b, "*%d\r\n", len(args))
		for _, a := range args {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
		}
		if _, err := c.Write([]byte(b.String())); err != nil {
			return "-write: " + err.Error()
		}
		buf := make([]byte, 4096)
		n, err := c.Read(buf)
		if err != nil {
			return "-read: " + err.Error()
		}
		return strings.TrimRight(string(buf[:n]), "\r\n")
	}
}

// Random bytes and half frames on every port, TCP and UDP: the node lives.
func TestGarbageOnEveryPort(t *testing.T) {
	n1 := startProcess(t, "n1")
	n2 := startProcess(t, "n2", "--join", n1.addr)
	settle(t, n1, n2)
	n1.ok("kv", "put", "k", "v")
	var info []struct{ Name, Addr, HTTP, RESP string }
	if err := n1.get("/v1/members", &info); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, addr := range []string{n1.addr, n1.http, n1.resp} {
		for i := range 200 {
			garbage(t, addr, rnd, i)
		}
	}
	if got := n1.ok("kv", "get", "k"); got != "v" {
		t.Errorf("afterwards: %q", got)
	}
	select {
	case <-n1.exited:
		t.Fatalf("n1 has died:\n%s", n1.said())
	default:
	}
	if said := n1.said(); strings.Contains(said, "panic") {
		t.Errorf("n1 panicked:\n%s", said)
	}
	settle(t, n1, n2)
}

// garbage sends random bytes, or what begins like a conversation and ends in the middle.
func garbage(t *testing.T, addr string, rnd *rand.Rand, i int) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatalf("dial %s: %v", addr, err)
	}
	defer c.Close()
	b := make([]byte, rnd.IntN(4096))
	for j := range b {
		b[j] = byte(rnd.Uint32())
	}
	kinds := []byte{wire.ConnRaft, wire.ConnPeer, wire.ConnStream, wire.ConnClient, wire.ConnStrange}
	switch i % 4 {
	case 1: // a known first byte, then noise
		b = append([]byte{kinds[rnd.IntN(len(kinds))]}, b...)
	case 2: // a hello of which half is missing
		f := wire.AppendFrame(nil, &wire.Header{Kind: wire.KindHello}, []byte(`{"versions":[1,1]}`))
		b = append([]byte{kinds[rnd.IntN(len(kinds))]}, f[:rnd.IntN(len(f))]...)
	case 3: // a proper hello of a client, then noise
		f := wire.AppendFrame(nil, &wire.Header{Kind: wire.KindHello}, []byte(`{"versions":[1,1]}`))
		b = append(append([]byte{wire.ConnClient}, f...), b...)
	}
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write(b); err != nil {
		return // it has hung up already: right
	}
}
