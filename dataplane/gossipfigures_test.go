package dataplane

import (
	"log/slog"
	"testing"
	"time"
)

// figuresOfTheLiving waits until each node has been probed, and looks at its figures: they are its
// own, though all are in one process.
func figuresOfTheLiving(t *testing.T, nodes ...*gossiper) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond) // no channel tells of a probe
	defer tick.Stop()
	for _, g := range nodes {
		for probes(g.Figures()) == 0 {
			receive(t, tick.C)
		}
		f := g.Figures()
		if f.Alive != len(nodes) || f.Exchanges == 0 || f.ProbesTook <= 0 || f.PacketsIn == 0 || f.PacketsOut == 0 || f.BytesIn < f.PacketsIn || f.BytesOut < f.PacketsOut {
			t.Errorf("%s: %+v", g.id, f)
		}
		if f.Gone+f.Failed+f.TCPOnly+f.Suspected > 0 || f.Health != 0 {
			t.Errorf("%s: nothing has failed: %+v", g.id, f)
		}
	}
}

// figuresOfTheLast looks at those of the one who is left, when one of the others has died.
func figuresOfTheLast(t *testing.T, last, left, died *gossiper) {
	t.Helper()
	if f := last.Figures(); f.Alive != 1 || f.Failed == 0 || f.Gone != 2 {
		t.Errorf("one has left and one has died: %+v", f)
	}
	if f := left.Figures(); f.Failed > 0 {
		t.Errorf("it had left before: %+v", f)
	}
	if f := died.Figures(); f.Gone != 1 {
		t.Errorf("it has seen one leave: %+v", f)
	}
}

func probes(f GossipFigures) (n uint64) {
	for _, of := range f.Probes {
		n += of
	}
	return n
}

// What memberlist says of itself only in its log is counted.
func TestGossipTold(t *testing.T) {
	var c gossipTally
	l := memberlistLogger(slog.New(slog.DiscardHandler), c.told)
	l.Print("[WARN] memberlist: Refuting a suspect message (from: b)")
	l.Print("[WARN] memberlist: Refuting a dead message (from: b)")
	l.Print("[WARN] memberlist: Was able to connect to b over TCP but UDP probes failed, network may be misconfigured")
	if c.suspected.Load() != 2 || c.tcpOnly.Load() != 1 || c.failed.Load() != 0 {
		t.Errorf("%d, %d, %d", c.suspected.Load(), c.tcpOnly.Load(), c.failed.Load())
	}
}
