package dataplane

import (
	"slices"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/metadata/ring"
)

func TestLiveness(t *testing.T) {
	for _, tc := range []struct {
		story string // what is heard of the node, in order
		up    bool
	}{
		{"", false},
		{"alive", true},
		{"alive dead", false},
		{"dead alive", true},
		{"worked", true},
		{"failed", false},
		{"alive failed", false},
		{"alive failed alive", false},
		{"failed worked", true},
		{"alive failed worked", true},
		{"worked failed", false},
		{"worked dead", false},
		{"worked dead worked", true},
		{"alive worked dead worked failed alive", false},
		{"alive forget", false},
	} {
		l := NewLiveness("self")
		for word := range strings.FieldsSeq(tc.story) {
			was, changed := l.Up("n"), l.Changed()
			switch word {
			case "alive":
				l.GossipAlive("n", true)
			case "dead":
				l.GossipAlive("n", false)
			case "worked":
				l.Worked("n")
			case "failed":
				l.Failed("n")
			case "forget":
				l.Forget("n")
			}
			select {
			case <-changed:
				if l.Up("n") == was {
					t.Errorf("%q: %q told a change that is none", tc.story, word)
				}
			default:
				if l.Up("n") != was {
					t.Errorf("%q: %q told no change", tc.story, word)
				}
			}
		}
		if l.Up("n") != tc.up {
			t.Errorf("%q: up %v", tc.story, l.Up("n"))
		}
		known := tc.story != "" && !strings.HasSuffix(tc.story, "forget")
		if maybe := tc.up || !known; l.MaybeUp("n") != maybe {
			t.Errorf("%q: maybe up %v", tc.story, l.MaybeUp("n"))
		}
		if down := slices.Equal(l.Down(), []ring.NodeID{"n"}); down != (known && !tc.up) {
			t.Errorf("%q: down %v", tc.story, l.Down())
		}
	}
}

func TestLivenessOfSelf(t *testing.T) {
	l := NewLiveness("self")
	l.Failed("self")
	l.GossipAlive("self", false)
	if !l.Up("self") || len(l.Down()) != 0 {
		t.Fatal("this node is down in its own eyes")
	}
}

// A node whose last request came behind gossip's word that it goes is up until it is
// asked: it is among those to ask.
func TestLivenessUnsure(t *testing.T) {
	l := NewLiveness("self")
	l.GossipAlive("a", true)
	l.Worked("b")
	l.GossipAlive("c", true)
	l.GossipAlive("c", false)
	l.Worked("c")
	l.GossipAlive("d", false)
	unsure := l.Unsure()
	slices.Sort(unsure)
	if !slices.Equal(unsure, []ring.NodeID{"b", "c"}) {
		t.Fatalf("unsure of %v", unsure)
	}
	l.Failed("c")
	l.GossipAlive("b", true)
	if unsure = l.Unsure(); len(unsure) > 0 {
		t.Errorf("unsure of %v", unsure)
	}
}
