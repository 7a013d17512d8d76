package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// checkLoad is a `ringcore bench --check` that runs beside a test.
type checkLoad struct {
	t     *testing.T
	cmd   *exec.Cmd
	begun chan struct{} // closed when the callers have begun
	ended chan struct{}

	mu     sync.Mutex
	out    bytes.Buffer
	notes  strings.Builder
	closed bool // begun is
}

const checkCallers = 64

// startCheck puts load on the nodes until the verdict is asked for. spawn starts the process; nil: here.
func startCheck(t *testing.T, nodes []*process, spawn func(*exec.Cmd) error, args ...string) *checkLoad {
	t.Helper()
	addrs := make([]string, len(nodes))
	for i, p := range nodes {
		addrs[i] = p.addr
	}
	l := &checkLoad{t: t, begun: make(chan struct{}), ended: make(chan struct{})}
	l.cmd = exec.Command("ringcore", append([]string{
		"bench", "--check", "--json", "--addr", strings.Join(addrs, ","), "--callers", strconv.Itoa(checkCallers),
		"--duration", "1h", "--timeout", "1m", "--keys", "500",
	}, args...)...)
	l.cmd.Stdout, l.cmd.Stderr = &l.out, l
	if spawn == nil {
		spawn = (*exec.Cmd).Start
	}
	if err := spawn(l.cmd); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = l.cmd.Wait()
		close(l.ended)
	}()
	t.Cleanup(func() {
		_ = l.cmd.Process.Kill()
		<-l.ended
	})
	select {
	case <-l.begun:
	case <-l.ended:
		t.Fatalf("bench --check: %v\n%s", l.cmd.ProcessState, l.said())
	case <-time.After(time.Minute):
		t.Fatalf("bench --check has not begun\n%s", l.said())
	}
	return l
}

// Write takes what bench says on its standard error.
func (l *checkLoad) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notes.Write(b)
	if !l.closed && strings.Contains(l.notes.String(), "callers for") {
		l.closed = true
		close(l.begun)
	}
	return len(b), nil
}

func (l *checkLoad) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.notes.String()
}

// verdict ends the load and waits for the check.
func (l *checkLoad) verdict() *verdict {
	l.t.Helper()
	if err := l.cmd.Process.Signal(os.Interrupt); err != nil {
		l.t.Fatal(err)
	}
	<-l.ended
	var r struct{ Check *verdict }
	if err := json.Unmarshal(l.out.Bytes(), &r); err != nil || r.Check == nil {
		l.t.Fatalf("bench --check: %v, %v\n%s%s", l.cmd.ProcessState, err, l.out.Bytes(), l.said())
	}
	if code := l.cmd.ProcessState.ExitCode(); (code == exitOK) != (r.Check.Verdict == "ok") || code != exitOK && code != exitFailed {
		l.t.Errorf("bench --check: exit %d with verdict %s", code, r.Check.Verdict)
	}
	return r.Check
}

// tell logs what a verdict says, the first violations in full.
func (v *verdict) tell(t *testing.T) {
	t.Helper()
	t.Logf("%s: %d gets, %d puts, %d deletes, %d maybe; longest %.0f ms (%s), own pause %.0f ms; errors %v %v; %s",
		v.Verdict, v.Gets, v.Puts, v.Deletes, v.Maybe, v.Longest, v.Slowest, v.Pause, v.Errors, v.LastErrors, v.summary())
	for i, x := range v.Violations {
		if i == 5 {
			break
		}
		t.Logf("%s: key %q: %s", x.Fault, x.Key, strings.Join(x.Operations, "; "))
	}
}

// A healthy cluster passes; everything was read and listed.
func TestCheckOfHealthyCluster(t *testing.T) {
	nodes := threeNodes(t)
	l := startCheck(t, nodes, nil)
	<-time.After(2 * time.Second) // under load
	v := l.verdict()
	v.tell(t)
	if v.Verdict != "ok" || len(v.Errors) > 0 || !v.Listed || v.Unread != 0 || v.Keys == 0 || v.Gets < uint64(v.Keys) || v.Puts == 0 || v.Deletes == 0 {
		t.Errorf("%+v", v)
	}
}

func threeNodes(t *testing.T) []*process {
	t.Helper()
	n1 := startProcess(t, "n1", "--log-level", "warn")
	nodes := []*process{n1}
	for i := 2; i <= 3; i++ {
		nodes = append(nodes, startProcess(t, fmt.Sprint("n", i), "--join", n1.addr, "--log-level", "warn"))
	}
	settle(t, nodes...)
	return nodes
}

// A node whose files are swapped for older ones has lost what was acknowledged
// meanwhile, and the check says so: it can fail.
func TestCheckFindsOldFiles(t *testing.T) {
	p := startProcess(t, "n1", "--replicas", "1", "--log-level", "warn")
	dir := p.args[3] // of --data-dir
	l := startCheck(t, []*process{p}, nil)
	copyDir := func(from, to string) {
		p.kill()
		if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	<-time.After(time.Second) // so that there is something to keep
	copyDir(dir, dir+".old")
	p.restart()
	<-time.After(2 * time.Second) // so that there is something to lose
	p.kill()
	if err := exec.Command("mv", dir, dir+".new").Run(); err != nil {
		t.Fatal(err)
	}
	copyDir(dir+".old", dir)
	p.restart()
	<-time.After(time.Second) // so that it is seen under load
	v := l.verdict()
	v.tell(t)
	if v.Verdict != "violated" || v.Faults["stale"]+v.Faults["resurrected"]+v.Faults["not_found"] == 0 || len(v.Violations) == 0 {
		t.Errorf("the files of 2 s ago are back, and the verdict is %s: %v", v.Verdict, v.Faults)
	}
}
