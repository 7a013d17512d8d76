package main

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// hurts reports whether a slot of the victim answers no operation of that kind.
func (w *wound) hurts(kind string) bool { return w.down || w.disk && kind != "get" }

// twoName is the name of the rounds in which a quorum of every partition lives, or not.
func twoName(lives bool) string {
	if lives {
		return "two-up"
	}
	return "two-down"
}

// pairs are the faults that two nodes may suffer at a time, in any order: those that
// leave a majority of three slots whole, or the others. A fault for which a node is
// started anew lies around the other one: else the two would be down at once.
// RINGCORE_SOAK_PAIR is one of them, as in clock-ahead+stop.
func pairs(lives bool) (list [][2]fault) {
	for i, a := range faults {
		for _, b := range faults[:i] {
			if ((a.down || a.disk) && (b.down || b.disk)) == lives {
				continue
			}
			pair := [2]fault{a, b}
			if b.starts {
				pair = [2]fault{b, a}
			}
			if only := os.Getenv("RINGCORE_SOAK_PAIR"); only == "" || only == pair[0].name+"+"+pair[1].name {
				list = append(list, pair)
			}
		}
	}
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// soakTwo hurts two of five nodes at a time, each round with another pair of faults.
func soakTwo(t *testing.T, rounds int, hold time.Duration, lives bool) {
	c := newCluster(t, 5, true, true)
	s := &tally{name: twoName(lives)}
	list := pairs(lives)
	for i := range rounds {
		victims := rand.Perm(len(c.nodes) - 1)
		var wounds []wound
		for j, f := range list[i%len(list)] {
			w := wound{f, victims[j]}
			if f.disk {
				w.victim = len(c.nodes) - 1
			}
			wounds = append(wounds, w)
		}
		t.Log(named(c, wounds))
		s.round(c, c.round(hold, wounds...), wounds...)
	}
	s.judge(t, lives, true)
}
