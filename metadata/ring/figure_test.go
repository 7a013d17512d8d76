package ring_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/metadata/ring"
)

// tutorialFigure is the ring of three that the tutorial prints.
const tutorialFigure = `==================================== Nodes ====================================
Node a: 21 ( 32.8%) rc_example1@127.0.0.1
Node b: 22 ( 34.4%) rc_example2@127.0.0.1
Node c: 21 ( 32.8%) rc_example3@127.0.0.1
==================================== Ring =====================================
abcc|abcc|abcc|abcc|abcc|abcc|abcc|abcc|abcc|abcc|abbc|abba|abba|abba|abba|abba|
`

// tutorialRing is the ring that tutorialFigure shows, of nodes a, b and c.
func tutorialRing(t *testing.T) *ring.Ring {
	t.Helper()
	_, letters, ok := strings.Cut(tutorialFigure, "Ring =====================================\n")
	if !ok {
		t.Fatal("the figure has no ring")
	}
	var lists [][]ring.NodeID
	for _, c := range strings.TrimSpace(letters) {
		if c != '|' {
			lists = append(lists, []ring.NodeID{ring.NodeID(c)})
		}
	}
	return ringOf(1, lists)
}

func TestFigureIsTheTutorials(t *testing.T) {
	got := ring.Figure(tutorialRing(t), func(n ring.NodeID) string {
		return fmt.Sprintf("rc_example%d@127.0.0.1", n[0]-'a'+1)
	})
	if got != tutorialFigure {
		t.Errorf("got\n%s", got)
	}
}

func TestFigureOfManyNodesHasNumbers(t *testing.T) {
	r := ringOf(1, ring.Claim(equals(30), 128, 1, nil))
	got := ring.Figure(r, func(n ring.NodeID) string { return string(n) })
	lines := strings.Split(got, "\n")
	if lines[1] != "Node  1: 5 (  3.9%) node000" && lines[1] != "Node  1: 4 (  3.1%) node000" {
		t.Errorf("first node: %q", lines[1])
	}
	if n := len(lines[33]); len(lines) != 35 || n != 64*3 {
		t.Errorf("%d lines; the ring's second is %d wide, want 64 numbers of 2 digits with a mark behind each", len(lines), n)
	}
}
