package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringcore/ringcore/admin"
)

const (
	walkLeast, walkMost = 3, 7                    // nodes
	walkSeats           = walkMost + 1            // places in the network: a node that replaces another stands beside it
	walkLeg             = 60                      // transfers under one load; then every key is read and every folder looked at
	walkRate            = 1500                    // operations per second, so that the nodes have something left
	walkHold            = 1500 * time.Millisecond // a node is down or cut off for no longer
)

// topology walks at random through the sizes and shapes of a cluster, under load,
// while its nodes die, hang and lose links, one at a time.
type topology struct {
	*cluster
	t      *testing.T
	walk   []change // those that this binary has
	misery []ordeal
	born   int
	going  int       // nodes that were told to go since the last rest
	begun  time.Time // the load
	traps  string    // the folder in which each node finds its failpoints

	moved  int // committed transfers
	taken  map[string]int
	wounds map[string]int
}

func newTopology(t *testing.T) *topology {
	w := &topology{
		cluster: &cluster{t: t, nodes: make([]*process, walkSeats)}, t: t, misery: ordeals, traps: t.TempDir(),
		taken: map[string]int{}, wounds: map[string]int{},
	}
	if os.Getuid() == 0 {
		hosts := []byte{lanClient}
		for i := range walkSeats {
			hosts = append(hosts, lanNode(i))
		}
		w.lan = newLAN(t, hosts...)
		w.misery = append(slices.Clone(ordeals), linkOrdeals...)
	} else {
		t.Log("not root: no link is cut")
	}
	for range walkLeast {
		w.join(w.members()).awaitReady()
	}
	settle(t, w.members()...)
	for _, c := range changes {
		if w.knows(c) {
			w.walk = append(w.walk, c)
		} else {
			t.Logf("this version does not know %s", c.name)
		}
	}
	return w
}

// members are the processes that have not left.
func (w *topology) members() (all []*process) {
	for _, p := range w.nodes {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// join starts a node on a seat that is free.
func (w *topology) join(members []*process) *process {
	w.t.Helper()
	seat := slices.Index(w.nodes, nil)
	w.born++
	name := fmt.Sprint("n", w.born)
	p := &process{t: w.t, name: name, args: []string{
		"--name", name, "--data-dir", filepath.Join(w.t.TempDir(), name), "--partitions", "16", "--log-level", "warn", "--resp-addr", "off",
	}}
	p.env = []string{testEnv + "=1", "RINGCORE_FAILPOINT=file:" + filepath.Join(w.traps, name)}
	where := []string{"--addr", "127.0.0.1:0"}
	if w.lan != nil {
		p.fixed, p.spawn = true, w.lan.spawn(lanNode(seat))
		p.args = append(p.args, "--addr", w.lan.addr(lanNode(seat), 7400), "--insecure")
		where = nil
	}
	var seeds []string
	for _, m := range members {
		seeds = append(seeds, m.addr)
	}
	if len(seeds) > 0 {
		p.args = append(p.args, "--join", strings.Join(seeds, ","))
	}
	p.start(where...)
	w.nodes[seat] = p
	w.t.Cleanup(p.kill)
	p.awaitReady()
	return p
}

// spawnLoad starts the load at the clients' place.
func (w *topology) spawnLoad() func(*exec.Cmd) error {
	if w.lan == nil {
		return nil
	}
	return w.lan.spawn(lanClient)
}

// send sends a signal, if the process is still there.
func (p *process) send(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// step makes one or two changes, hurts nodes meanwhile, and waits for rest.
func (w *topology) step() {
	w.t.Helper()
	for range 1 + rand.IntN(2) {
		w.change()
		if rand.IntN(2) == 0 {
			w.hurt()
		}
	}
	w.hurt()
	w.rest()
}

// change makes one that fits.
func (w *topology) change() {
	w.t.Helper()
	members := slices.DeleteFunc(w.members(), (*process).hasExited)
	rand.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	for _, i := range rand.Perm(len(w.walk)) {
		if c := w.walk[i]; c.fits(w, members) {
			w.tell("%s with %d nodes", c.name, len(members))
			c.do(w, members)
			w.taken[c.name]++
			return
		}
	}
}

// hurt does something to a random member, at a random moment and for a random while.
func (w *topology) hurt() {
	w.t.Helper()
	<-time.After(rand.N(700 * time.Millisecond)) // a random moment, not a wait for something
	var seats []int
	for i, p := range w.nodes {
		if p != nil && !p.hasExited() {
			seats = append(seats, i)
		}
	}
	seat, o := seats[rand.IntN(len(seats))], w.misery[rand.IntN(len(w.misery))]
	w.wounds[o.name]++
	w.tell("%s of %s", o.name, w.nodes[seat].name)
	o.inject(w, seat)
	<-time.After(rand.N(walkHold)) // as above
	o.heal(w, seat)
	w.tell("%s is over", o.name)
	w.foundAgain()
}

// foundAgain waits until the nodes see each other and all their slots answer: one at a time is
// away. A slot is too whose node has come back before its hints have, or that a failpoint has
// left without its data: it is rebuilt, which takes seconds, and with another node away it would
// be no quorum that lives.
func (w *topology) foundAgain() {
	w.t.Helper()
	until(w.t, "the nodes see each other", func() error {
		for i, p := range w.nodes {
			if p == nil || p.hasExited() && p.hasLeft() {
				continue
			}
			var all []struct {
				Name string
				Up   bool
			}
			if err := p.get("/v1/members", &all); err != nil {
				if p.hasExited() { // a trap has just been sprung, or it is leaving
					w.revive(i)
				}
				return err
			}
			for _, m := range all {
				j := slices.IndexFunc(w.nodes, func(q *process) bool { return q != nil && q.name == m.Name })
				if !m.Up && j >= 0 && !w.nodes[j].hasExited() {
					return fmt.Errorf("%s does not see %s", p.name, m.Name)
				}
			}
		}
		return w.answering()
	})
}

// answering says which slots do not answer, or which node does not tell.
func (w *topology) answering() error {
	for _, p := range w.members() {
		if p.hasExited() {
			continue
		}
		var s admin.StatusView
		switch err := p.get("/v1/cluster/status", &s); {
		case err != nil:
			return err
		case len(s.Slots) > 0 || len(s.Silent) > 0:
			return fmt.Errorf("slots %+v, silent %v", s.Slots, s.Silent)
		}
		return nil // it has asked all
	}
	return nil
}

// tell logs what is done, at a time that can be compared with that of an error.
func (w *topology) tell(format string, args ...any) {
	w.t.Logf("%.2fs %s", time.Since(w.begun).Seconds(), fmt.Sprintf(format, args...))
}

// rest waits until leavers are gone and the others at rest. A trap may have been sprung
// just before it was taken away.
func (w *topology) rest() {
	w.t.Helper()
	until(w.t, "leavers are gone", func() error {
		for i, p := range w.nodes {
			switch {
			case p == nil:
			case !p.hasExited() || !p.hasLeft():
				w.revive(i)
			default:
				if err := strayFiles(p, nil); err != nil {
					w.t.Errorf("%s has left: %v", p.name, err)
				}
				w.nodes[i] = nil
			}
		}
		return w.leaving()
	})
	w.going = 0
	settle(w.t, w.members()...)
}

// leaving says who is still on its way out: a process that is no member any more, too.
func (w *topology) leaving() error {
	members := w.members()
	for _, p := range members {
		var all []struct{ Name, Status string }
		if err := p.get("/v1/members", &all); err != nil {
			return err
		}
		for _, m := range all {
			if m.Status == "leaving" || m.Status == "exiting" {
				return fmt.Errorf("%s is %s, says %s", m.Name, m.Status, p.name)
			}
		}
		if len(all) != len(members) {
			return fmt.Errorf("%s knows %d members of %d", p.name, len(all), len(members))
		}
	}
	return nil
}

// ringView is what the walk reads of /v1/ring.
type ringView struct {
	Owners [][]string
	Gens   []uint64
}

// commits counts the transfers that the cluster has committed since its birth. Every one
// is a gen of its partition; an added slot has two.
func (w *topology) commits() int {
	w.t.Helper()
	var r ringView
	if err := w.members()[0].get("/v1/ring", &r); err != nil {
		w.t.Fatal(err)
	}
	sum := 0
	for _, g := range r.Gens {
		sum += int(g)
	}
	return sum
}

// ownFiles checks that every node has the files of its slots and no others.
func (w *topology) ownFiles() {
	w.t.Helper()
	for _, p := range w.members() {
		until(w.t, p.name+" has exactly its own files", func() error {
			var r ringView
			if err := p.get("/v1/ring", &r); err != nil {
				return err
			}
			return strayFiles(p, &r)
		})
	}
}

// strayFiles says which of p's files it should not have, or should; without a ring it
// should have none.
func strayFiles(p *process, r *ringView) error {
	want := map[string]bool{}
	if r != nil {
		for i, owners := range r.Owners {
			if slices.Contains(owners, p.name) {
				want[fmt.Sprintf("kv/p%04d.bolt", i)] = true
			}
		}
	}
	var errs []error
	for _, folder := range p.vnodeFolders() {
		root := filepath.Join(folder, "kv")
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			name, err := filepath.Rel(folder, path)
			if !want[name] {
				errs = append(errs, fmt.Errorf("the file %s is not its own", name))
			}
			delete(want, name)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for name := range want {
		errs = append(errs, fmt.Errorf("the file %s is missing", name))
	}
	return errors.Join(errs...)
}

func (p *process) vnodeFolders() []string {
	all, _ := filepath.Glob(filepath.Join(p.dir(), "clusters", "*", "vnodes"))
	return all
}

// leg walks under load until so many transfers more are committed, and returns the verdict.
func (w *topology) leg(transfers int) *verdict {
	w.t.Helper()
	load := startCheck(w.t, w.members(), w.spawnLoad(), "--rate", strconv.Itoa(walkRate))
	w.begun = time.Now()
	before := w.commits()
	for w.commits()-before < transfers {
		w.step()
	}
	v := load.verdict()
	v.tell(w.t)
	w.ownFiles()
	w.moved += w.commits() - before
	return v
}

// `make soak-topology`, and 50 transfers of it with every run of the tests: whatever
// nodes come, go, die, hang and lose, no acknowledged write is lost, no answer is wrong,
// and every node ends with exactly its own files. RINGCORE_SOAK_TOPOLOGY is how many
// transfers; then no client may see an error either.
func TestTopology(t *testing.T) {
	long(t)
	limit, err := strconv.Atoi(os.Getenv("RINGCORE_SOAK_TOPOLOGY"))
	soaks := err == nil
	if !soaks {
		limit = 50
	}
	w := newTopology(t)
	s := &tally{name: "topology"}
	for w.moved < limit && !t.Failed() {
		s.add(w.leg(min(walkLeg, limit-w.moved)))
	}
	fmt.Printf("%d transfers; changes %v; ordeals %v\n", w.moved, w.taken, w.wounds)
	s.judge(t, true, false) // how long an operation takes is for quieter tests
	if soaks && len(s.errors) > 0 {
		t.Errorf("errors while a quorum lived: %s", counts(s.errors))
	}
}
