package main

import (
	"fmt"
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
)

// fault is what one node of a cluster suffers for a while.
type fault struct {
	name   string
	lan    bool // on its links
	disk   bool // on its disk, which is that of the last node: its slots take no writes meanwhile
	down   bool // its slots count as dead meanwhile
	starts bool // the node is started anew for it, at its begin and its end
	inject func(c *cluster, victim int)
	heal   func(c *cluster, victim int)
}

// faults are all of them, the first ones need no root.
var faults = []fault{
	{name: "kill", down: true, inject: func(c *cluster, v int) { c.nodes[v].kill() }, heal: (*cluster).restart},
	{name: "stop", down: true, inject: sends(syscall.SIGSTOP), heal: sends(syscall.SIGCONT)},
	{name: "clock-ahead", starts: true, inject: clock("1h@2s"), heal: clock("")},
	{name: "clock-behind", starts: true, inject: clock("-1h@2s"), heal: clock("")},
	{name: "full-disk", disk: true, inject: func(c *cluster, _ int) { c.free = ballast(c.t, c.disk, 0) }, heal: func(c *cluster, _ int) { c.free() }},
	{name: "cut", lan: true, down: true, inject: links(cut, cut, false), heal: links(0, 0, true)},
	{name: "cut-out", lan: true, down: true, inject: links(cut, 0, false), heal: links(0, 0, true)},
	{name: "cut-in", lan: true, down: true, inject: links(0, cut, false), heal: links(0, 0, true)},
	{name: "isolate", lan: true, down: true, inject: links(cut, cut, true), heal: links(0, 0, true)},
	{name: "slow", lan: true, inject: links(slowLink, slowLink, true), heal: links(0, 0, true)},
}

const slowLink = int64(100 * time.Millisecond)

// sends is a signal to the victim.
func sends(sig syscall.Signal) func(*cluster, int) {
	return func(c *cluster, v int) {
		if err := c.nodes[v].cmd.Process.Signal(sig); err != nil {
			c.t.Error(err)
		}
	}
}

// clock kills the victim and starts it again with a clock that goes wrong a little
// later, or with the right one.
func clock(shift string) func(*cluster, int) {
	return func(c *cluster, v int) {
		c.nodes[v].kill()
		c.nodes[v].env = []string{testEnv + "=1", testClockEnv + "=" + shift}
		c.restart(v)
	}
}

// links sets those from the victim to the other nodes, and those to it; with
// clients, also those with the clients.
func links(out, in int64, clients bool) func(*cluster, int) {
	return func(c *cluster, v int) {
		for i := range c.nodes {
			if i != v {
				c.lan.set(lanNode(v), lanNode(i), out)
				c.lan.set(lanNode(i), lanNode(v), in)
			}
		}
		if clients {
			c.lan.set(lanNode(v), lanClient, out)
			c.lan.set(lanClient, lanNode(v), in)
		}
	}
}

// Where nodes and the load are in the network.
const lanClient = byte(2)

func lanNode(i int) byte { return byte(10 + i) }

// cluster is some nodes, in a network of their own or on loopback.
type cluster struct {
	t     *testing.T
	nodes []*process
	lan   *lan   // nil: on loopback
	disk  string // the last node's, if it has one of its own
	free  func() // makes room on it
}

func newCluster(t *testing.T, size int, ownNetwork, ownDisk bool) *cluster {
	t.Helper()
	c := &cluster{t: t}
	if ownNetwork {
		hosts := []byte{lanClient}
		for i := range size {
			hosts = append(hosts, lanNode(i))
		}
		c.lan = newLAN(t, hosts...)
	}
	if ownDisk {
		c.disk = smallDisk(t, 64)
	}
	for i := range size {
		c.nodes = append(c.nodes, c.start(i, ownDisk && i == size-1))
	}
	settle(t, c.nodes...)
	return c
}

func (c *cluster) start(i int, ownDisk bool) *process {
	c.t.Helper()
	name := fmt.Sprint("n", i+1)
	dir := filepath.Join(c.t.TempDir(), name)
	if ownDisk {
		dir = filepath.Join(c.disk, name)
	}
	p := &process{t: c.t, name: name, args: []string{"--name", name, "--data-dir", dir, "--partitions", "16", "--log-level", "warn"}}
	where := []string{"--addr", "127.0.0.1:0"}
	if c.lan != nil {
		p.fixed, p.spawn = true, c.lan.spawn(lanNode(i))
		p.args = append(p.args, "--addr", c.lan.addr(lanNode(i), 7400), "--insecure")
		where = nil
	}
	if i > 0 {
		p.args = append(p.args, "--join", c.nodes[0].addr)
	}
	p.start(where...)
	p.awaitReady()
	c.t.Cleanup(p.kill)
	return p
}

// restart starts a node again and waits until it serves.
func (c *cluster) restart(i int) { c.nodes[i].restart() }

// wound is a fault and the node that suffers it.
type wound struct {
	fault
	victim int
}

// round puts load on the cluster, wounds it for hold, and returns what the check says.
// Wounds are healed in the opposite order, so that of two one lies within the other.
func (c *cluster) round(hold time.Duration, wounds ...wound) *verdict {
	c.t.Helper()
	const calm = time.Second // before and after
	var spawn func(*exec.Cmd) error
	if c.lan != nil {
		spawn = c.lan.spawn(lanClient)
	}
	load := startCheck(c.t, c.nodes, spawn)
	<-time.After(calm)
	for _, w := range wounds {
		w.inject(c, w.victim)
	}
	<-time.After(hold)
	for _, w := range slices.Backward(wounds) {
		w.heal(c, w.victim)
	}
	<-time.After(2 * calm)
	v := load.verdict()
	settle(c.t, c.nodes...)
	return v
}

// Nodes that die or hang under load cost no answer its truth.
func TestFaultsOnLoopback(t *testing.T) {
	long(t)
	c := newCluster(t, 3, false, false)
	for _, f := range faults[:2] {
		s := &tally{name: f.name}
		w := wound{f, rand.IntN(3)}
		s.round(c, c.round(2*time.Second, w), w)
		s.judge(t, true, false)
	}
}

// A check that could not fail would be worth nothing. A node that is cut off from the
// others takes writes with W=1; then the clients lose it too, and read what the others
// have with R=1.
func TestCheckFindsWeakQuorums(t *testing.T) {
	c := newCluster(t, 3, true, false)
	load := startCheck(t, c.nodes, c.lan.spawn(lanClient), "--read-quorum", "one", "--write-quorum", "one")
	<-time.After(time.Second)
	links(cut, cut, false)(c, 2)
	<-time.After(time.Second)
	links(cut, cut, true)(c, 2)
	<-time.After(2 * time.Second)
	links(0, 0, true)(c, 2)
	<-time.After(time.Second)
	v := load.verdict()
	v.tell(t)
	if v.Verdict != "violated" || c.lan.dropped.Load() == 0 {
		t.Errorf("with R + W = 2 of 3 and a cut link: %s, %d packets dropped", v.summary(), c.lan.dropped.Load())
	}
}

// `make soak-faults`: every fault again and again, on three nodes, and any two at
// once on five. RINGCORE_SOAK_FAULTS is how often, RINGCORE_SOAK_ONLY the names.
func TestSoakFaults(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("RINGCORE_SOAK_FAULTS"))
	if err != nil {
		t.Skip("a long test: make soak-faults")
	}
	wanted := func(name string) bool {
		only := os.Getenv("RINGCORE_SOAK_ONLY")
		return only == "" || slices.Contains(strings.Split(only, ","), name)
	}
	const hold = 10 * time.Second
	for _, f := range faults {
		if !wanted(f.name) {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			c := newCluster(t, 3, f.lan, f.disk)
			s := &tally{name: f.name}
			for range rounds {
				victim := rand.IntN(3)
				if f.disk {
					victim = 2
				}
				w := wound{f, victim}
				s.round(c, c.round(hold, w), w)
			}
			s.judge(t, true, true)
		})
	}
	for _, lives := range []bool{true, false} {
		if name := twoName(lives); wanted("two") || wanted(name) {
			t.Run(name, func(t *testing.T) { soakTwo(t, rounds, hold, lives) })
		}
	}
}
