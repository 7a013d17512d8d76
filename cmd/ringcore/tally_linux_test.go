package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/metadata/ring"
)

// tally is what the rounds of one kind came to.
type tally struct {
	name       string
	rounds     int
	operations uint64
	faults     map[string]uint64
	unread     int
	errors     map[string]uint64
	excused    uint64   // of these, those for keys of which no quorum lived
	amiss      []string // the others, key by key
	longest    float64  // milliseconds
	longestP   float64  // the load's own pause in the round that had the longest stall
	pause      float64
}

// round counts in what a round of c with these wounds has found, and logs it.
func (s *tally) round(c *cluster, v *verdict, wounds ...wound) {
	v.tell(c.t)
	s.add(v)
	s.excuse(c, v, wounds)
}

func (s *tally) add(v *verdict) {
	if s.faults == nil {
		s.faults, s.errors = map[string]uint64{}, map[string]uint64{}
	}
	s.rounds++
	s.operations += v.Gets + v.Puts + v.Deletes
	s.unread += v.Unread
	for f, n := range v.Faults {
		s.faults[f] += n
	}
	for code, n := range v.Errors {
		s.errors[code] += n
	}
	if v.Longest > s.longest {
		s.longest, s.longestP = v.Longest, v.Pause
	}
	s.pause = max(s.pause, v.Pause)
}

// excuse tells errors that had to be from those that had not: of a key whose partition
// has lost a majority of its slots nobody can say anything.
func (s *tally) excuse(c *cluster, v *verdict, wounds []wound) {
	if len(v.Failed) == 0 {
		return
	}
	owners := ownersAt(c.t, c.nodes[0])
	for _, k := range v.Failed {
		list := owners[ring.Locate(ring.HashKey(benchBucket, []byte(k.Key)), len(owners))]
		dead := 0
		for _, w := range wounds {
			if w.hurts(k.Kind) && slices.Contains(list, c.nodes[w.victim].name) {
				dead++
			}
		}
		if len(list)-dead < ring.Majority(len(list)) {
			s.excused += k.Errors
			continue
		}
		about := fmt.Sprintf("%d errors at key %s of %v with %s, the last: %s", k.Errors, k.Key, list, named(c, wounds), k.Last)
		s.amiss = append(s.amiss, about)
		c.t.Log(about)
	}
}

// named tells wounds.
func named(c *cluster, wounds []wound) string {
	var parts []string
	for _, w := range wounds {
		parts = append(parts, w.name+" of "+c.nodes[w.victim].name)
	}
	return strings.Join(parts, ", ")
}

func counts(m map[string]uint64) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return dash(strings.Join(parts, ", "))
}

const longestStall = 1500.0 // milliseconds

// judge fails the test for what must not be. Errors and stalls are judged on demand
// only: on a machine that does other work too they say little. Stalls are judged if a
// quorum of each partition has lived.
func (s *tally) judge(t *testing.T, quorumLives, all bool) {
	t.Helper()
	fmt.Printf("%-28s %3d rounds %8d ops  violations: %-24s unread: %-4d errors: %-40s of these without a quorum: %-5d longest stall %6.0f ms (own pause then %.0f ms, at most %.0f ms)\n",
		s.name, s.rounds, s.operations, counts(s.faults), s.unread, counts(s.errors), s.excused, s.longest, s.longestP, s.pause)
	if len(s.faults) > 0 || s.unread > 0 {
		t.Errorf("%s: violations: %s; %d keys could not be read in the end", s.name, counts(s.faults), s.unread)
	}
	if all && len(s.amiss) > 0 {
		t.Errorf("%s: errors at %d keys while a quorum lived, the first: %s", s.name, len(s.amiss), s.amiss[0])
	}
	if all && quorumLives && s.longest > longestStall+s.longestP {
		t.Errorf("%s: an operation took %.0f ms", s.name, s.longest)
	}
}
