package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// change is one way to change the cluster; do returns when it is committed.
type change struct {
	name string
	fits func(w *topology, members []*process) bool
	do   func(w *topology, members []*process)
	verb []string // of `ringcore cluster`, if it is not known whether this version has it
}

// changes are all that the walk takes. One that this version does not support is left out.
var changes = []change{
	{"join", func(_ *topology, m []*process) bool { return len(m) < walkMost }, func(w *topology, m []*process) { w.join(m) }, nil},
	{"leave", func(w *topology, m []*process) bool { return len(m)-w.going > walkLeast }, func(w *topology, m []*process) {
		w.cli(m, "leave", m[0].name)
		w.going++
	}, nil},
	{"replace", func(w *topology, m []*process) bool { return len(w.members()) < walkSeats }, (*topology).replace, []string{"replace", "nobody", "nobody"}},
	{"weight", always, func(w *topology, m []*process) {
		w.cli(m, "set", "weight", m[0].name, strconv.Itoa(1+rand.IntN(3)))
	}, []string{"set", "weight", "nobody", "1"}},
	{"zone", always, func(w *topology, m []*process) {
		w.cli(m, "set", "zone", m[0].name, fmt.Sprint("z", rand.IntN(3)))
	}, []string{"set", "zone", "nobody", "z1"}},
	{"replicas", always, func(w *topology, m []*process) {
		w.cli(m, "set", "replicas", strconv.Itoa(3+rand.IntN(2)))
	}, []string{"set", "replicas", "3"}},
}

func always(*topology, []*process) bool { return true }

// cli asks the last of members for a change. One that is on its way out already is no news.
func (w *topology) cli(members []*process, args ...string) {
	w.t.Helper()
	asked := members[len(members)-1]
	_, said, code := asked.ringcore(append(append([]string{"cluster"}, args...), "--commit")...)
	if code != exitOK && !strings.Contains(said, "leaving") {
		w.t.Fatalf("%v at %s: exit %d: %s", args, asked.name, code, said)
	}
}

// replace has a new node take the places of one that goes: the heir may have none before,
// so that both are staged.
func (w *topology) replace(members []*process) {
	w.t.Helper()
	asked := members[len(members)-1]
	heir := w.join(nil)
	heir.ok("cluster", "join", asked.addr)
	if _, said, code := asked.ringcore("cluster", "replace", members[0].name, heir.name); code != exitOK && !strings.Contains(said, "leaving") {
		w.t.Fatalf("replace %s: exit %d: %s", members[0].name, code, said)
	}
	asked.ok("cluster", "commit")
	w.going++
}

// knows reports whether this version has the change.
func (w *topology) knows(c change) bool {
	if c.verb == nil {
		return true
	}
	_, said, _ := w.members()[0].ringcore(append(append([]string{"cluster"}, c.verb...), "--commit")...)
	return !strings.Contains(said, "not support") && !strings.Contains(said, "not_supported")
}

// ordeal is what one node goes through, for a while.
type ordeal struct {
	name   string
	inject func(w *topology, seat int)
	heal   func(w *topology, seat int)
}

var ordeals = []ordeal{
	{"kill", func(w *topology, s int) { w.nodes[s].kill() }, (*topology).revive},
	{"stop", func(w *topology, s int) { w.nodes[s].send(syscall.SIGSTOP) }, func(w *topology, s int) { w.nodes[s].send(syscall.SIGCONT) }},
	{"failpoint", (*topology).setTrap, (*topology).revive},
}

var linkOrdeals = []ordeal{
	{"cut", onLinks(cut, cut, false), onLinks(0, 0, true)},
	{"cut-out", onLinks(cut, 0, false), onLinks(0, 0, true)},
	{"cut-in", onLinks(0, cut, false), onLinks(0, 0, true)},
	{"isolate", onLinks(cut, cut, true), onLinks(0, 0, true)},
}

func onLinks(out, in int64, clients bool) func(*topology, int) {
	set := links(out, in, clients)
	return func(w *topology, seat int) { set(w.cluster, seat) }
}

// setTrap has the node die, hang or fail when it next passes some failpoint.
func (w *topology) setTrap(seat int) {
	names := wire.Failpoints()
	text := string(names[rand.IntN(len(names))]) + "=" + []string{"kill", "stop", "error"}[rand.IntN(3)]
	w.tell("%s", text)
	w.writeTrap(seat, text)
}

// writeTrap says what the node is to find at its failpoints from now on.
func (w *topology) writeTrap(seat int, text string) {
	if err := os.WriteFile(filepath.Join(w.traps, w.nodes[seat].name), []byte(text), 0o600); err != nil {
		w.t.Error(err)
	}
}

// revive brings a node back that was killed or stopped, unless it has left the cluster.
func (w *topology) revive(seat int) {
	w.t.Helper()
	w.writeTrap(seat, "")
	p := w.nodes[seat]
	p.send(syscall.SIGCONT)
	if !p.hasExited() || p.hasLeft() {
		return
	}
	p.start(p.places()...)
	select {
	case <-p.ready:
	case <-p.exited:
		if !p.hasLeft() {
			w.t.Fatalf("%s ended with %d\n%s", p.name, p.cmd.ProcessState.ExitCode(), p.said())
		}
	case <-time.After(time.Minute):
		w.t.Fatalf("%s is not ready\n%s", p.name, p.said())
	}
}

// hasExited reports whether the process has ended.
func (p *process) hasExited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// hasLeft reports whether a process that has ended did so because its node has left, or
// had when it was started again.
func (p *process) hasLeft() bool {
	code := p.cmd.ProcessState.ExitCode()
	return code == exitOK || code == exitRefused
}
