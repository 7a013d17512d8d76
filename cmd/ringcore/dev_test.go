package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ringcore/ringcore"
)

// fakeNode serves from the beginning, until a test stops it.
type fakeNode struct {
	cfg    ringcore.Config
	done   chan struct{}
	once   sync.Once
	err    error // written before done is closed
	closed func(name string)
}

func newFakeNode(cfg ringcore.Config) *fakeNode {
	return &fakeNode{cfg: cfg, done: make(chan struct{}), closed: func(string) {}}
}

// stop ends the node as one that stops by itself.
func (n *fakeNode) stop(err error) {
	n.once.Do(func() {
		n.err = err
		close(n.done)
	})
}

func (n *fakeNode) Ready(context.Context) error { return nil }
func (n *fakeNode) Done() <-chan struct{}       { return n.done }
func (n *fakeNode) Err() error                  { return n.err }

func (n *fakeNode) Info() ringcore.Info {
	return ringcore.Info{Name: n.cfg.Name, ID: "00000000000000a1", Addr: n.cfg.Addr, HTTPAddr: "127.0.0.1:1", RESPAddr: ""}
}

func (n *fakeNode) Close() error {
	n.closed(n.cfg.Name)
	n.stop(nil)
	return nil
}

// devRun is dev running with fake nodes.
type devRun struct {
	app       *app
	out, errs *lines
	mu        sync.Mutex
	nodes     map[string]*fakeNode
	configs   map[string]ringcore.Config
	closed    []string
	failOpen  map[string]error
	code      chan int
}

// lines is a writer that tests wait on.
type lines struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{} // one place: something was written
}

func newLines() *lines { return &lines{changed: make(chan struct{}, 1)} }

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.changed <- struct{}{}:
	default:
	}
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// wait returns when text has been written.
func (l *lines) wait(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for !strings.Contains(l.String(), text) {
		select {
		case <-l.changed:
		case <-timeout:
			t.Fatalf("no %q in\n%s", text, l.String())
		}
	}
}

func newDevRun() *devRun {
	d := &devRun{
		out: newLines(), errs: newLines(), nodes: map[string]*fakeNode{}, configs: map[string]ringcore.Config{},
		failOpen: map[string]error{}, code: make(chan int, 1),
	}
	d.app = &app{streams: streams{in: strings.NewReader(""), out: d.out, err: d.errs}, getenv: func(string) string { return "" }, open: d.open}
	return d
}

func (d *devRun) open(_ context.Context, cfg ringcore.Config) (runningNode, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	cfg.Logger = nil
	d.configs[cfg.Name] = cfg
	if err := d.failOpen[cfg.Name]; err != nil {
		return nil, err
	}
	n := newFakeNode(cfg)
	n.closed = func(name string) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.closed = append(d.closed, name)
	}
	d.nodes[cfg.Name] = n
	return n, nil
}

func (d *devRun) start(ctx context.Context, args ...string) {
	go func() { d.code <- d.app.run(ctx, append([]string{"dev"}, args...)) }()
}

func (d *devRun) node(name string) *fakeNode {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.nodes[name]
}

func TestDev(t *testing.T) {
	d := newDevRun()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	d.start(ctx, "--data-dir", dir, "--base-port", "8400")
	d.out.wait(t, "ready cluster nodes=3\n")
	for _, line := range []string{
		"ready name=n1 id=00000000000000a1 addr=127.0.0.1:8400 http=127.0.0.1:1 resp=off\n",
		"ready name=n3 id=00000000000000a1 addr=127.0.0.1:8420 http=127.0.0.1:1 resp=off\n",
	} {
		if !strings.Contains(d.out.String(), line) {
			t.Errorf("no %q in\n%s", line, d.out)
		}
	}
	want := map[string]ringcore.Config{}
	for i, name := range []string{"n1", "n2", "n3"} {
		want[name] = ringcore.Config{
			Name: name, Dir: filepath.Join(dir, name), Addr: []string{"127.0.0.1:8400", "127.0.0.1:8410", "127.0.0.1:8420"}[i],
			Join: [][]string{nil, {"127.0.0.1:8400"}, {"127.0.0.1:8400"}}[i], Partitions: 64, Replicas: 3, Storage: "disk", OneMachine: true,
		}
	}
	if diff := cmp.Diff(want, d.configs, cmpopts.IgnoreUnexported(ringcore.Config{})); diff != "" {
		t.Error(diff)
	}
	// A node that leaves stops; the others go on until the signal.
	d.node("n2").stop(nil)
	d.errs.wait(t, "n2 has left the cluster and is stopped")
	cancel()
	if code := <-d.code; code != exitOK {
		t.Errorf("exit code %d: %s", code, d.errs)
	}
	if len(d.closed) != 3 {
		t.Errorf("closed %v, want all three once", d.closed)
	}
	d.errs.wait(t, "curl http://127.0.0.1:1/v1/kv/default/hello")
}

func TestDevEndsWhenAllHaveLeft(t *testing.T) {
	d := newDevRun()
	d.start(t.Context(), "--data-dir", t.TempDir(), "--nodes", "2")
	d.out.wait(t, "ready cluster nodes=2\n")
	d.node("n1").stop(nil)
	d.node("n2").stop(nil)
	if code := <-d.code; code != exitOK {
		t.Errorf("exit code %d: %s", code, d.errs)
	}
}

// TestDevNodeFails: one that breaks down is reported in the end; the others go on.
func TestDevNodeFails(t *testing.T) {
	d := newDevRun()
	ctx, cancel := context.WithCancel(t.Context())
	d.start(ctx, "--data-dir", t.TempDir())
	d.out.wait(t, "ready cluster nodes=3\n")
	d.node("n3").stop(errors.New("disk is gone"))
	d.errs.wait(t, "disk is gone")
	select {
	case <-d.node("n1").Done():
		t.Error("n1 was stopped too")
	default:
	}
	cancel()
	if code := <-d.code; code != exitFailed {
		t.Errorf("exit code %d: %s", code, d.errs)
	}
}

// TestDevOpenFails: a cluster that does not start as a whole stops, with the reason.
func TestDevOpenFails(t *testing.T) {
	d := newDevRun()
	d.failOpen["n2"] = &os.SyscallError{Syscall: "bind", Err: syscall.EADDRINUSE}
	d.start(t.Context(), "--data-dir", t.TempDir())
	if code := <-d.code; code != exitFailed || strings.Contains(d.out.String(), "ready cluster") {
		t.Errorf("exit code %d: %s", code, d.out)
	}
	for _, want := range []string{"address already in use", "hint: another process listens there"} {
		if !strings.Contains(d.errs.String(), want) {
			t.Errorf("no %q in\n%s", want, d.errs)
		}
	}
	if len(d.closed) != len(d.nodes) {
		t.Errorf("closed %v of %d nodes that were open", d.closed, len(d.nodes))
	}
}

// TestDevFolders: what the folders tell decides who begins and whom the others ask.
func TestDevFolders(t *testing.T) {
	dir := t.TempDir()
	identity := func(name, text string) {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "node.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := devOptions{nodes: 4, dir: dir, basePort: 7400, node: ringcore.Config{Storage: "disk", Partitions: 64, Replicas: 3}}
	joins := func() (map[string][]string, []string) {
		configs, left, err := o.configs()
		if err != nil {
			t.Fatal(err)
		}
		m := map[string][]string{}
		for _, c := range configs {
			m[c.Name] = c.Join
		}
		return m, left
	}
	const a1, a2, a3 = "127.0.0.1:7400", "127.0.0.1:7410", "127.0.0.1:7420"
	got, left := joins()
	if diff := cmp.Diff(map[string][]string{"n1": nil, "n2": {a1}, "n3": {a1}, "n4": {a1}}, got); diff != "" || left != nil {
		t.Error("empty:", diff, left)
	}
	identity("n1", `{}`)
	identity("n2", `{}`)
	identity("n3", `{}`)
	got, _ = joins()
	if diff := cmp.Diff(map[string][]string{"n1": nil, "n2": {a1, a3}, "n3": {a1, a2}, "n4": {a1, a2, a3}}, got); diff != "" {
		t.Error("again:", diff)
	}
	identity("n1", `{"left":true}`)
	got, left = joins()
	if diff := cmp.Diff(map[string][]string{"n2": nil, "n3": {a2}, "n4": {a2, a3}}, got); diff != "" || len(left) != 1 || left[0] != "n1" {
		t.Error("n1 has left:", diff, left)
	}
	if err := os.RemoveAll(filepath.Join(dir, "n1")); err != nil {
		t.Fatal(err)
	}
	got, _ = joins()
	if diff := cmp.Diff(map[string][]string{"n1": {a2, a3}, "n2": nil, "n3": {a2}, "n4": {a2, a3}}, got); diff != "" {
		t.Error("n1 begins anew:", diff)
	}
}

func TestDevAllLeft(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "n1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "n1", "node.json"), []byte(`{"left":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDevRun()
	d.start(t.Context(), "--data-dir", dir, "--nodes", "1")
	if code := <-d.code; code != exitRefused || !strings.Contains(d.errs.String(), "every node in") {
		t.Errorf("exit code %d: %s", code, d.errs)
	}
}

func TestStart(t *testing.T) {
	_, got := startWith(t, nil, "--data-dir", "d", "--name", "n1")
	if got.code != exitOK || !strings.Contains(got.err, "has left its cluster") {
		t.Errorf("a node that has left: %+v", got)
	}
	d := newDevRun()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		d.code <- d.app.run(ctx, []string{"start", "--data-dir", "d", "--name", "n7", "--log-level", "error"})
	}()
	d.out.wait(t, "ready name=n7 id=00000000000000a1 addr=127.0.0.1:7400 http=127.0.0.1:1 resp=off\n")
	cancel()
	if code := <-d.code; code != exitOK || d.errs.String() != "" || len(d.closed) != 1 {
		t.Errorf("a signal: exit code %d, %q, closed %v", code, d.errs, d.closed)
	}
}
