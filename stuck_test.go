package ringcore

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
)

// TestStuckWatch: a transfer is stuck when its driver says so for long, or for long does
// not work on it; not when it gets on, and not when the driver says nothing.
func TestStuckWatch(t *testing.T) {
	move := metadata.Transfer{ID: "s1", Step: ring.Step{Kind: ring.StepMove, Partition: 3, From: "a", To: "b"}}
	add := metadata.Transfer{ID: "s2", Step: ring.Step{Kind: ring.StepAdd, Partition: 4, To: "b"}}
	open := []metadata.Transfer{move, add}
	says := func(node ring.NodeID, id string, still time.Duration) map[ring.NodeID][]vnodes.Progress {
		return map[ring.NodeID][]vnodes.Progress{node: {{Session: vnodes.Session{ID: id}, Phase: "fold", Still: still}}}
	}
	begun := time.Now()
	w := stuckWatch{patience: time.Minute}
	for i, x := range []struct {
		after time.Duration
		said  map[ring.NodeID][]vnodes.Progress
		want  string
	}{
		{0, says("a", "s1", 59*time.Second), ""},
		{0, says("a", "s1", 61*time.Second), "s1 stuck: its driving node is up, and nothing has happened for 1m1s (fold)"},
		{0, says("b", "s1", time.Hour), ""}, // it drives s2 alone, and not yet
		{50 * time.Second, nil, ""},         // it says nothing: all is forgotten
		{90 * time.Second, says("b", "other", 0), ""},
		{149 * time.Second, says("b", "other", 0), ""},
		{151 * time.Second, says("b", "other", 0), "s2 stuck: its driving node is up, and nothing has happened for 1m1s (not begun)"},
		{152 * time.Second, says("b", "s2", 0), ""},
		{300 * time.Second, says("b", "other", 0), ""},
	} {
		got := ""
		for _, s := range w.look(begun.Add(x.after), open, x.said) {
			got += s.ID + " " + s.reason
		}
		if got != x.want {
			t.Errorf("look %d: %q, want %q", i, got, x.want)
		}
	}
}

// TestHungDriverIsGivenUp: a node is up, and the driver of one of its transfers hangs. The
// leader gives that transfer up, says why, and begins it anew; when nothing hangs any more
// all settles.
func TestHungDriverIsGivenUp(t *testing.T) {
	var hung atomic.Bool
	release := make(chan struct{})
	n1 := testNode(t, Config{Name: "n1", Replicas: 1, Partitions: 16, stuckAfter: time.Second, Failpoint: func(p wire.Failpoint) error {
		if p == wire.SourceOpened && !hung.Swap(true) {
			<-release
		}
		return nil
	}})
	n2 := testNode(t, Config{Name: "n2", Join: []string{n1.Info().Addr}})
	gaveUp := func() int {
		n := 0
		for _, e := range n1.core.Load().meta.State().Ended {
			if !e.Committed && strings.HasPrefix(e.Reason, "stuck: its driving node is up") {
				n++
			}
		}
		return n
	}
	eventually(t, "the transfer is given up, and the one that follows it too", func() error {
		if n := gaveUp(); n < 2 {
			return fmt.Errorf("%d were", n)
		}
		return nil
	})
	close(release)
	settled(t, n1, n2)
}
