package admin_test

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringcore/ringcore/admin"
)

// start runs a real server and returns its address.
func start(t *testing.T, f *fakeNode) (*admin.Server, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	srv := admin.Serve(ln, admin.Handler(f, nil, admin.Options{Logger: log}), log)
	t.Cleanup(func() { _ = srv.Close() })
	return srv, "http://" + ln.Addr().String()
}

// subscribe opens an event stream and reads its first lines, so that what is
// published from now on arrives.
func subscribe(t *testing.T, base string) *bufio.Scanner {
	t.Helper()
	return follow(t, base+"/v1/events", "")
}

// follow opens an event stream, after the event of the id last if that is not empty.
func follow(t *testing.T, url, last string) *bufio.Scanner {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if ct := res.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Fatalf("content type %q", ct)
	}
	lines := bufio.NewScanner(res.Body)
	if got := next(lines) + next(lines); got != "retry: 2000" {
		t.Fatalf("begins with %q", got)
	}
	return lines
}

func next(s *bufio.Scanner) string {
	s.Scan()
	return s.Text()
}

func TestEvents(t *testing.T) {
	node := &fakeNode{}
	_, base := start(t, node)
	one, two := subscribe(t, base), subscribe(t, base)
	node.Publish(admin.Event{Type: admin.EventRing, Data: map[string]int{"epoch": 13}})
	node.Publish(admin.Event{Type: admin.EventMember, Data: map[string]string{"name": "n2", "status": "left"}})
	for _, s := range []*bufio.Scanner{one, two} {
		for _, want := range []string{"event: ring", `data: {"epoch":13}`, "", "event: member", `data: {"name":"n2","status":"left"}`, ""} {
			if got := next(s); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
	}
}

// TestCloseEndsStreams: streams never end by themselves; the server ends them,
// and does not wait out the time for requests under way.
func TestCloseEndsStreams(t *testing.T) {
	srv, base := start(t, &fakeNode{})
	s := subscribe(t, base)
	begin := time.Now()
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("took %s", took)
	}
	if s.Scan() {
		t.Errorf("still sends %q", s.Text())
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(base, "http://")); err == nil {
		t.Error("still listens")
	}
}

func TestTooManyStreams(t *testing.T) {
	_, base := start(t, &fakeNode{})
	for range 64 {
		subscribe(t, base)
	}
	checkProblem(t, do(t, "GET", base+"/v1/events", ""), 503, "overload")
}

func TestHeadersAreLimited(t *testing.T) {
	_, base := start(t, &fakeNode{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request := "GET /livez HTTP/1.1\r\nHost: n1\r\nX-Long: " + strings.Repeat("x", 40<<10) + "\r\n\r\n"
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	status, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(status, " 431 ") {
		t.Errorf("%q %v", status, err)
	}
}

// TestHubLag: a subscriber that does not read loses its place, not the others.
func TestHubLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hub admin.Hub
		slow, quick := hub.Subscribe(t.Context()), hub.Subscribe(t.Context())
		for i := range 1000 {
			hub.Publish(admin.Event{Data: i})
			if e := <-quick; e.Data != i {
				t.Fatalf("got %v, want %d", e.Data, i)
			}
		}
		got := 0
		for range slow {
			got++
		}
		if got == 0 || got >= 1000 {
			t.Errorf("the slow one read %d events before its channel closed", got)
		}
	})
}

func TestHubEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hub admin.Hub
		ctx, cancel := context.WithCancel(t.Context())
		one, two := hub.Subscribe(ctx), hub.Subscribe(t.Context())
		cancel()
		synctest.Wait()
		if _, open := <-one; open {
			t.Error("open after its context ended")
		}
		hub.Publish(admin.Event{Type: admin.EventRing})
		if e := <-two; e.Type != admin.EventRing {
			t.Errorf("got %v", e)
		}
		hub.Close()
		if _, open := <-two; open {
			t.Error("open after the hub closed")
		}
		if _, open := <-hub.Subscribe(t.Context()); open {
			t.Error("a closed hub takes subscribers")
		}
	})
}
