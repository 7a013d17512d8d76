package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// proc is a server that runs as a process of its own.
type proc struct {
	cmd   *exec.Cmd
	log   string        // file with what it says on standard error
	ready string        // the line with which it said that it serves
	ended chan struct{} // closed when the process has ended
}

// startProc starts a program in a folder, and waits until it prints a line that begins
// with the word ready, or, if up is given, until that is true.
func startProc(ctx context.Context, dir string, up func(context.Context) bool, name string, args ...string) (*proc, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	p := &proc{cmd: exec.Command(name, args...), log: filepath.Join(dir, "log"), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Dir, p.cmd.Stderr = dir, log
	// Ctrl-C is for us alone: we stop the servers.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "ready") && len(ready) == 0 {
				ready <- lines.Text()
			}
		}
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	if up != nil {
		err = p.until(ctx, name+" serves", up)
		return p, err
	}
	select {
	case p.ready = <-ready:
		return p, nil
	case <-p.ended:
	case <-time.After(time.Minute):
	case <-ctx.Done():
	}
	return p, fmt.Errorf("%s is not ready: %s", name, p.said())
}

// said is the end of what the process says.
func (p *proc) said() string {
	b, _ := os.ReadFile(p.log)
	return string(b[max(0, len(b)-2000):])
}

// until waits for a condition, at most a minute.
func (p *proc) until(ctx context.Context, what string, ok func(context.Context) bool) error {
	return until(ctx, what, func(ctx context.Context) bool {
		select {
		case <-p.ended:
			return false
		default:
			return ok(ctx)
		}
	})
}

func (p *proc) pid() int { return p.cmd.Process.Pid }

func (p *proc) stop() {
	_ = p.cmd.Process.Kill() // its data is removed
	<-p.ended
}

// until waits for a condition, at most a minute. A try has five seconds.
func until(ctx context.Context, what string, ok func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		try, end := context.WithTimeout(ctx, 5*time.Second)
		done := ok(try)
		end()
		if done {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("still not after a minute: %s", what)
		}
	}
}

// freePorts are ports that nobody listens on now.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // at the end, so that they are different ones
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// at is an address on this machine.
func at(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
