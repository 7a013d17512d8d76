package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pseudoTerminal is a terminal whose keys and screen are a test's.
type pseudoTerminal struct {
	t            *testing.T
	master, line *os.File

	mu     sync.Mutex
	screen bytes.Buffer // all that was written to it
}

func openTerminal(t *testing.T) *pseudoTerminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("there are no pseudo terminals here: ", err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	line, err := os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &pseudoTerminal{t: t, master: master, line: line}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(p, master) // ends when nobody has the line open
	}()
	t.Cleanup(func() {
		_ = line.Close()
		<-read
		_ = master.Close()
	})
	return p
}

func (p *pseudoTerminal) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.Write(b)
}

// shows waits until text is written to the screen, and forgets what was up to there.
func (p *pseudoTerminal) shows(text string) {
	p.t.Helper()
	until(p.t, fmt.Sprintf("the screen shows %q", text), func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		i := bytes.Index(p.screen.Bytes(), []byte(text))
		if i < 0 {
			return fmt.Errorf("it shows %q", p.screen.String())
		}
		p.screen.Next(i + len(text))
		return nil
	})
}

func (p *pseudoTerminal) press(keys string) {
	p.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pseudoTerminal) resize(width, height uint16) {
	p.t.Helper()
	if err := unix.IoctlSetWinsize(int(p.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		p.t.Fatal(err)
	}
}

// TestTopAtATerminal: the real binary at a terminal of its own, in a session of its own, so that a
// change of the terminal's size reaches it as it does a person's.
func TestTopAtATerminal(t *testing.T) {
	f := &fakeCluster{}
	srv := newFakeAPI(f)
	defer srv.Close()
	p := openTerminal(t)
	start := func() (end func() error) {
		p.resize(100, 30)
		cmd := exec.Command("ringcore", "top", "--interval", "100ms", "--endpoint", srv.URL)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = p.line, p.line, p.line
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		return func() error { defer timer.Stop(); return cmd.Wait() }
	}
	before, err := unix.IoctlGetTermios(int(p.line.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	asBefore := func() {
		t.Helper()
		p.shows("\x1b[?25h\x1b[?1049l")
		if after, err := unix.IoctlGetTermios(int(p.line.Fd()), unix.TCGETS); err != nil || *after != *before {
			t.Errorf("the terminal is not as it was: %+v, %v", after, err)
		}
	}

	end := start()
	p.shows("\x1b[?1049h")
	p.shows("150 requests/s")
	p.shows("n1    valid     100")
	p.press("\x1b[C")
	p.shows("NODE▼")
	p.press("r")
	p.shows("NODE▲")
	p.press("v")
	p.shows("PARTITION")
	p.press("n")
	p.shows("NODE▲  STATUS")
	p.resize(20, 10)
	p.shows("\x1b[7m" + "NODE▲  STATUS  REQ/S" + "\x1b[0m")
	setDown(f, true)
	p.shows("! n3 cannot")
	p.press("q")
	if err := end(); err != nil {
		t.Error(err)
	}
	asBefore()

	end = start()
	p.shows("requests/s")
	p.press("\x03") // Ctrl-C, which is a key here
	if err := end(); err != nil {
		t.Error(err)
	}
	asBefore()
	p.mu.Lock()
	defer p.mu.Unlock()
	if left := p.screen.String(); strings.TrimSpace(left) != "" {
		t.Errorf("after the end it says %q", left)
	}
}

func setDown(f *fakeCluster, down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}
