package metadata

import (
	"hash/maphash"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// exploration is every state that can be reached from the first one, up to what canonical
// takes for one. Of a state it keeps 64 bits of a hash: among 30 million states two of the same
// hash have a chance of 1 in 40,000, and then what follows from one of them only is not seen.
type exploration struct {
	model  *model
	first  modelState
	seed   maphash.Seed
	index  map[uint64]int32 // by hash
	from   []int32          // by which state each was reached first
	done   []bool
	next   []modelState // those that are to be looked at
	edges  []int32      // of all states, one after the other
	edged  []int        // where each state's edges begin
	wrong  string       // the first broken promise
	broken int32        // in which state
	by     string       // and by which transition
}

// bounds say how much goes wrong at most, and how much there is to do.
type bounds struct {
	sessions, crashes, aborts, rots uint8
}

// explore visits every state, nearest first, until a promise is broken.
func explore(b bounds, x mutant) *exploration {
	raft := newModelRaft()
	e := &exploration{model: &model{raft: raft, mutant: x, sessions: b.sessions}, seed: maphash.MakeSeed(), index: map[uint64]int32{}}
	first := modelState{aborts: b.aborts, crashes: b.crashes, rots: b.rots}
	first.n[0] = modelNode{up: true, in: true, file: 1, mem: 1, wanted: true}
	first.n[1] = modelNode{up: true, in: true, gate: mGone}
	e.first = first
	e.visit(-1, "", &first)
	for i := int32(0); len(e.next) > 0 && e.wrong == ""; {
		level := e.next
		e.next = nil
		for k := range level {
			e.edged = append(e.edged, len(e.edges))
			e.model.successors(&level[k], func(what string, next *modelState) {
				e.edges = append(e.edges, e.visit(i, what, next))
			})
			i++
		}
	}
	e.edged = append(e.edged, len(e.edges))
	return e
}

// visit notes a state, and what is wrong with it.
func (e *exploration) visit(from int32, what string, s *modelState) int32 {
	if e.model.wrong == "" { // a step that breaks a promise may lead to what is none
		e.model.canonical(s)
	}
	hash := maphash.Comparable(e.seed, *s)
	to, seen := e.index[hash]
	if !seen {
		to = int32(len(e.from))
		e.index[hash] = to
		e.from, e.done, e.next = append(e.from, from), append(e.done, e.model.done(s)), append(e.next, *s)
		e.model.check(s)
	}
	if e.model.wrong != "" && e.wrong == "" {
		e.wrong, e.broken, e.by = e.model.wrong, from, what
	}
	return to
}

// way is how a state was reached, and the state.
func (e *exploration) way(i int32) (steps []string, s modelState) {
	var path []int32
	for ; i > 0; i = e.from[i] {
		path = append(path, i)
	}
	s = e.first
	for _, want := range slices.Backward(path) {
		here, found := s, false
		e.model.successors(&here, func(what string, next *modelState) {
			e.model.canonical(next)
			if !found && e.index[maphash.Comparable(e.seed, *next)] == want {
				steps, s, found = append(steps, what), *next, true
			}
		})
	}
	return steps, s
}

// story is how a promise was broken.
func (e *exploration) story() string {
	steps, _ := e.way(e.broken)
	return strings.Join(append(steps, e.by), "\n  ")
}

// stuck is a state from which the end cannot be reached whatever happens; -1 if there is
// none. Most ways lead to states that were found later, so few rounds do.
func (e *exploration) stuck() int32 {
	ends := slices.Clone(e.done)
	for again := true; again; {
		again = false
		for i := len(ends) - 1; i >= 0; i-- {
			if !ends[i] && slices.ContainsFunc(e.edges[e.edged[i]:e.edged[i+1]], func(to int32) bool { return ends[to] }) {
				ends[i], again = true, true
			}
		}
	}
	return int32(slices.Index(ends, false))
}

// modelBounds are those of a run of the tests; RINGCORE_SOAK_MODEL=1 takes more.
func modelBounds() []bounds {
	if os.Getenv("RINGCORE_SOAK_MODEL") != "" {
		return []bounds{
			{sessions: 2, crashes: 1, aborts: 1},
			{sessions: 1, crashes: 2, aborts: 1},
			{sessions: 2, crashes: 2, aborts: 1},
			{sessions: 1, crashes: 2, aborts: 1, rots: 1},
			{sessions: 2, crashes: 2, aborts: 1, rots: 1},
			{sessions: 2, crashes: 3, aborts: 2},
			{sessions: 3, crashes: 2, aborts: 2},
		}
	}
	return []bounds{
		{sessions: 1, crashes: 1, aborts: 1},
		{sessions: 2, aborts: 1},
		{sessions: 1, crashes: 1, rots: 1},
	}
}

// One transfer with two clients, in every order in which its steps, crashes of both
// sides, broken streams, lost answers and aborts can come: the promises of docs/design.md
// hold in every state, and from every state there is a way to the end.
func TestTransferModel(t *testing.T) {
	for _, b := range modelBounds() {
		begun := time.Now()
		e := explore(b, faithful)
		t.Logf("%+v: %d states, %d transitions, %d states of the metadata, %v", b, len(e.from), len(e.edges), len(e.model.raft.states), time.Since(begun).Round(time.Millisecond))
		if e.wrong != "" {
			t.Fatalf("%s:\n  %s", e.wrong, e.story())
		}
		if b.rots > 0 {
			continue // a copy that has rotted is not made again
		}
		if i := e.stuck(); i >= 0 {
			steps, s := e.way(i)
			t.Fatalf("stuck in %+v after\n  %s", s, strings.Join(steps, "\n  "))
		}
	}
}

// The model can fail: each wrong protocol breaks a promise.
func TestTransferModelFindsMutants(t *testing.T) {
	for x := faithful + 1; x < mutants; x++ {
		t.Run(x.String(), func(t *testing.T) {
			e := explore(bounds{sessions: 1, crashes: 1, aborts: 1}, x)
			if e.wrong == "" {
				t.Fatalf("not found in %d states", len(e.from))
			}
			t.Logf("%d states: %s:\n  %s", len(e.from), e.wrong, e.story())
		})
	}
}
