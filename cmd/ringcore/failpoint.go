package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// failpointEnv has a node fail at chosen moments of transfers; see wire.Failpoint. As
// with the clock of a test, it takes testEnv too.
const failpointEnv = "RINGCORE_FAILPOINT"

// errFailpoint is what an action "error" returns.
var errFailpoint = errors.New("a test's failpoint")

// failpoints is the hook that a test asks for; nil without one.
func failpoints(getenv func(string) string) (func(wire.Failpoint) error, error) {
	text := getenv(failpointEnv)
	if text == "" {
		return nil, nil
	}
	if getenv(testEnv) != "1" {
		return nil, &failure{
			code: exitRefused, err: errors.New(failpointEnv + " is set, which has the node fail"),
			hint: "unset it; for a test, set " + testEnv + "=1 too",
		}
	}
	a := &ambush{passed: make(map[wire.Failpoint]int)}
	var named bool
	if a.file, named = strings.CutPrefix(text, "file:"); named {
		return a.pass, nil
	}
	if err := a.set(text); err != nil {
		return nil, usagef("write for example source-proposed=kill or target-stored=error@3", "environment variable %s: %w", failpointEnv, err)
	}
	return a.pass, nil
}

// ambush is what is to happen at failpoints.
type ambush struct {
	file string // read at each pass, if not empty

	mu     sync.Mutex
	text   string // that traps were made from
	traps  []trap
	passed map[wire.Failpoint]int // since text was set
}

// trap is one POINT=ACTION@N.
type trap struct {
	point  wire.Failpoint
	action string
	at     int           // 0: every time
	sleep  time.Duration // of action sleep
}

// pass is the hook.
func (a *ambush) pass(p wire.Failpoint) error {
	for _, t := range a.sprung(p) {
		switch t.action {
		case "kill":
			return signalSelf(syscall.SIGKILL)
		case "stop":
			return signalSelf(syscall.SIGSTOP)
		case "sleep":
			time.Sleep(t.sleep)
		default:
			return fmt.Errorf("%w: %s", errFailpoint, p)
		}
	}
	return nil
}

// sprung counts the pass and returns the traps that it springs.
func (a *ambush) sprung(p wire.Failpoint) []trap {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file != "" {
		b, err := os.ReadFile(a.file)
		if text := strings.TrimSpace(string(b)); err == nil && text != a.text {
			if err := a.set(text); err != nil {
				fmt.Fprintf(os.Stderr, "failpoints of %s: %v\n", a.file, err)
			}
		}
	}
	a.passed[p]++
	var all []trap
	for _, t := range a.traps {
		if t.point == p && (t.at == 0 || t.at == a.passed[p]) {
			all = append(all, t)
		}
	}
	return all
}

// set takes text in place of what was to happen.
func (a *ambush) set(text string) error {
	a.text, a.traps = text, nil
	clear(a.passed)
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' }) {
		t, err := parseTrap(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		a.traps = append(a.traps, t)
	}
	return nil
}

func parseTrap(text string) (trap, error) {
	point, rest, ok := strings.Cut(text, "=")
	t := trap{point: wire.Failpoint(point), at: 1}
	if !ok || !t.point.Known() {
		return t, fmt.Errorf("%q: no such failpoint; there are %v", text, wire.Failpoints())
	}
	action, at, counted := strings.Cut(rest, "@")
	if counted && at != "every" {
		n, err := strconv.Atoi(at)
		if err != nil || n < 1 {
			return t, fmt.Errorf("%q: write @N, which pass, or @every", text)
		}
		t.at = n
	} else if counted {
		t.at = 0
	}
	var long string
	var err error
	if t.action, long, _ = strings.Cut(action, ":"); t.action == "sleep" {
		t.sleep, err = time.ParseDuration(long)
	}
	switch t.action {
	case "kill", "stop", "error", "sleep":
		return t, err
	}
	return t, fmt.Errorf("%q: the action is kill, stop, error or sleep:DURATION", text)
}

// signalSelf sends this process a signal that it cannot handle.
func signalSelf(s syscall.Signal) error {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(s)
	}
	return errors.Join(errFailpoint, err)
}
