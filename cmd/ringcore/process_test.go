package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a node running as a process of its own.
type process struct {
	t                *testing.T
	name             string
	args             []string              // of start, but for the addresses
	env              []string              // besides that of the test
	fixed            bool                  // the addresses are in args
	spawn            func(*exec.Cmd) error // starts it; nil: here
	addr, http, resp string                // as its ready line says

	cmd    *exec.Cmd
	ready  chan struct{} // closed at the ready line
	exited chan struct{} // closed when the process has ended
	err    error         // of Wait; set before exited is closed

	mu  sync.Mutex
	log bytes.Buffer // its standard error
}

// startProcess starts a node and waits until it serves. Empty addresses are free ports.
func startProcess(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, args: append([]string{"--name", name, "--data-dir", filepath.Join(t.TempDir(), name)}, args...)}
	p.start("--addr", "127.0.0.1:0")
	p.awaitReady()
	t.Cleanup(func() { p.kill() })
	return p
}

func (p *process) start(args ...string) {
	p.t.Helper()
	p.cmd = exec.Command("ringcore", append(append([]string{"start"}, p.args...), args...)...)
	p.ready, p.exited = make(chan struct{}), make(chan struct{})
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd.Stderr = p
	p.cmd.Env = append(os.Environ(), p.env...)
	spawn := p.spawn
	if spawn == nil {
		spawn = (*exec.Cmd).Start
	}
	if err := spawn(p.cmd); err != nil {
		p.t.Fatal(err)
	}
	go func(ready, exited chan struct{}) {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			p.readyLine(lines.Text(), ready)
		}
		p.err = p.cmd.Wait()
		close(exited)
	}(p.ready, p.exited)
}

// Write keeps what the process says on its standard error.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if os.Getenv("RINGCORE_TEST_LOG") != "" {
		_, _ = os.Stderr.Write(b)
	}
	return p.log.Write(b)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *process) readyLine(line string, ready chan struct{}) {
	fields := strings.Fields(line)
	if len(fields) == 0 || fields[0] != "ready" {
		return
	}
	for _, f := range fields[1:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "addr":
			p.addr = value
		case "http":
			p.http = value
		case "resp":
			p.resp = value
		}
	}
	close(ready)
}

func (p *process) awaitReady() {
	p.t.Helper()
	select {
	case <-p.ready:
	case <-p.exited:
		p.t.Fatalf("%s ended: %v\n%s", p.name, p.err, p.said())
	case <-time.After(30 * time.Second):
		p.t.Fatalf("%s is not ready\n%s", p.name, p.said())
	}
}

// kill ends the process with SIGKILL, as a crash would, and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// stop ends the process with SIGTERM; it must exit with 0.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	p.awaitExit(0)
}

func (p *process) awaitExit(code int) {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		p.t.Fatalf("%s has not ended\n%s", p.name, p.said())
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Fatalf("%s exited with %d, want %d\n%s", p.name, got, code, p.said())
	}
}

// restart starts the node again where it was before.
func (p *process) restart() {
	p.t.Helper()
	p.start(p.places()...)
	p.awaitReady()
}

func (p *process) places() []string {
	if p.fixed {
		return nil
	}
	return []string{"--addr", p.addr, "--http-addr", p.http, "--resp-addr", p.resp, "--gossip-addr", "127.0.0.1:0"}
}

// ringcore runs a command against p and returns what it printed and its exit code.
func (p *process) ringcore(args ...string) (stdout, stderr string, code int) {
	p.t.Helper()
	var out, errOut strings.Builder
	cmd := exec.Command("ringcore", append([]string{"--endpoint", "http://" + p.http}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		p.t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// ok is ringcore for a command that must succeed.
func (p *process) ok(args ...string) string {
	p.t.Helper()
	out, errOut, code := p.ringcore(args...)
	if code != 0 {
		p.t.Fatalf("%s at %s: exit %d: %s", strings.Join(args, " "), p.name, code, errOut)
	}
	return strings.TrimSuffix(out, "\n")
}

// get asks p's HTTP API and decodes the JSON answer.
func (p *process) get(path string, v any) error {
	resp, err := http.Get("http://" + p.http + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, b)
	}
	return json.Unmarshal(b, v)
}

// until waits for a condition; at most for a minute.
func until(t *testing.T, what string, ok func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	var err error
	for {
		if err = ok(); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: still not after a minute: %v", what, err)
		}
	}
}

// settle waits until all nodes know and reach the same members and nothing moves.
func settle(t *testing.T, nodes ...*process) {
	t.Helper()
	for _, p := range nodes {
		until(t, "the cluster settles at "+p.name, func() error {
			var members []struct {
				Name, Status string
				Up           bool
			}
			if err := p.get("/v1/members", &members); err != nil {
				return err
			}
			if len(members) != len(nodes) {
				return fmt.Errorf("%d members: %v", len(members), members)
			}
			for _, m := range members {
				if m.Status != "valid" || !m.Up {
					return fmt.Errorf("%s is %s, up: %v", m.Name, m.Status, m.Up)
				}
			}
			var moving struct {
				Active  []json.RawMessage
				Waiting int
			}
			if err := p.get("/v1/transfers", &moving); err != nil {
				return err
			}
			if len(moving.Active)+moving.Waiting > 0 {
				return errors.New("transfers are under way")
			}
			return nil
		})
	}
}
