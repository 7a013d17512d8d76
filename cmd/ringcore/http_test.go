package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// outcome is what one run of the command line left behind.
type outcome struct {
	code        int
	stdout, err string
}

// cli runs the command line in this process, with env as its environment.
func cli(ctx context.Context, env map[string]string, args ...string) outcome {
	var out, errs bytes.Buffer
	code := run(ctx, args, streams{in: strings.NewReader(""), out: &out, err: &errs}, func(name string) string { return env[name] })
	return outcome{code, out.String(), errs.String()}
}

// handle starts a server for one test.
func handle(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// hang answers nothing before the client has gone, which a server notices only
// once it has read the body.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// hangUp closes the connection instead of answering.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestTimeout(t *testing.T) {
	url := handle(t, hang)
	read := cli(t.Context(), nil, "ping", "--endpoint", url, "--timeout", "50ms")
	if read.code != exitTimeout || !strings.Contains(read.err, "within 50ms") {
		t.Errorf("reading: %+v", read)
	}
	write := cli(t.Context(), nil, "kv", "put", "k", "v", "--endpoint", url, "--timeout", "50ms")
	if write.code != exitTimeout || !strings.Contains(write.err, "hint: it may still happen") {
		t.Errorf("writing: %+v", write)
	}
}

// The port for nodes and clients instead of the one for HTTP: the node hangs up.
func TestWrongPort(t *testing.T) {
	got := cli(t.Context(), nil, "kv", "get", "k", "--endpoint", handle(t, hangUp))
	if got.code != exitUnreachable || !strings.Contains(got.err, "the port of its --addr + 2") {
		t.Errorf("%+v", got)
	}
}

func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url := handle(t, func(w http.ResponseWriter, r *http.Request) { cancel(); hang(w, r) })
	if got := cli(ctx, nil, "ping", "--endpoint", url); got.code != exitInterrupted {
		t.Errorf("%+v", got)
	}
}

// TestBrokenConnection: a read goes to the next endpoint; a write, which may have
// happened, does not.
func TestBrokenConnection(t *testing.T) {
	writes := 0
	good := handle(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PUT" {
			writes++
		}
		_, _ = w.Write([]byte("v"))
	})
	both := handle(t, hangUp) + "," + good
	if got := cli(t.Context(), nil, "kv", "get", "k", "--endpoint", both); got.code != exitOK || got.stdout != "v\n" {
		t.Errorf("reading: %+v", got)
	}
	if got := cli(t.Context(), nil, "kv", "put", "k", "v", "--endpoint", both); got.code != exitTimeout || writes != 0 {
		t.Errorf("writing: %+v, %d writes at the second", got, writes)
	}
}

// TestStoppingNode: one that says that it is stopping has not run the request.
func TestStoppingNode(t *testing.T) {
	stopping := handle(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"code":"shutting_down","detail":"shutting_down"}`))
	})
	good := handle(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	got := cli(t.Context(), map[string]string{"RINGCORE_ENDPOINT": stopping + "," + good}, "kv", "put", "k", "v")
	if got.code != exitOK || got.stdout != "ok\n" {
		t.Errorf("%+v", got)
	}
	if got := cli(t.Context(), nil, "kv", "put", "k", "v", "--endpoint", stopping); got.code != exitUnreachable {
		t.Errorf("alone: %+v", got)
	}
}

func TestNotRingcore(t *testing.T) {
	url := handle(t, http.NotFound)
	got := cli(t.Context(), nil, "kv", "get", "k", "--endpoint", url)
	if got.code != exitFailed || !strings.Contains(got.err, "404") || !strings.Contains(got.err, "hint: is that endpoint") {
		t.Errorf("%+v", got)
	}
	page := handle(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) })
	if got := cli(t.Context(), nil, "ring", "status", "--endpoint", page); got.code != exitFailed {
		t.Errorf("%+v", got)
	}
}

// TestCutListing: a list without its last line is no list.
func TestCutListing(t *testing.T) {
	url := handle(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"partition":1,"node":"n1","key":"k"}` + "\n"))
	})
	got := cli(t.Context(), nil, "kv", "keys", "--endpoint", url)
	if got.code == exitOK || got.stdout != "" {
		t.Errorf("%+v", got)
	}
}

func TestSegment(t *testing.T) {
	for s, want := range map[string]string{
		"k1": "k1", "a/b": "a%2Fb", "..": "%2E%2E", ".": "%2E", "...": "...", "50%": "50%25", "ä?#": "%C3%A4%3F%23", "a b": "a%20b",
	} {
		if got := segment(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestWatchTransfersPrintsChangesUntilInterrupted(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	asked := 0
	url := handle(t, func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked == 3 {
			cancel()
			hang(w, r)
		}
		_, _ = w.Write([]byte(`{"active":[],"waiting":4,"ended":[],"limits":{}}`))
	})
	got := cli(ctx, nil, "transfers", "--watch", "-o", "json", "--endpoint", url)
	if want := `{"active":[],"waiting":4,"ended":[],"limits":{}}` + "\n"; got.code != exitOK || got.stdout != want {
		t.Errorf("%+v, want one line, because nothing changed", got)
	}
}

func TestNotSentOnlyForDials(t *testing.T) {
	if !notSent(&net.OpError{Op: "dial", Err: errors.New("refused")}) || notSent(&net.OpError{Op: "read", Err: errors.New("reset")}) {
		t.Error("a dial that failed has sent nothing; a read that failed may have")
	}
}
