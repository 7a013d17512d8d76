package metadata

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// exploration is every state that can be reached from the first one.
type exploration struct {
	model  *model
	index  map[modelState]int32
	states []modelState
	from   []int32  // by which state each was reached first
	by     []string // and by which transition
	edges  [][2]int32
	wrong  string   // the first broken promise
	at     []string // the way there
}

// bounds say how much goes wrong at most, and how much there is to do.
type bounds struct {
	sessions, writes, crashes, aborts, rots uint8
}

// explore visits every state, nearest first, until a promise is broken.
func explore(b bounds, x mutant) *exploration {
	raft := newModelRaft()
	e := &exploration{model: &model{raft: raft, mutant: x, sessions: b.sessions}, index: map[modelState]int32{}}
	first := modelState{aborts: b.aborts, crashes: b.crashes, rots: b.rots}
	first.n[0] = modelNode{up: true, in: true, file: 1, mem: 1, wanted: true}
	first.n[1] = modelNode{up: true, in: true, gate: mGone}
	for c := range first.clients {
		first.clients[c].left = b.writes
	}
	e.visit(-1, "", &first)
	for i := int32(0); int(i) < len(e.states) && e.wrong == ""; i++ {
		s := e.states[i]
		e.model.successors(&s, func(what string, next *modelState) {
			e.edges = append(e.edges, [2]int32{i, e.visit(i, what, next)})
		})
	}
	return e
}

// visit notes a state, and what is wrong with it.
func (e *exploration) visit(from int32, what string, s *modelState) int32 {
	to, seen := e.index[*s]
	if !seen {
		to = int32(len(e.states))
		e.index[*s] = to
		e.states, e.from, e.by = append(e.states, *s), append(e.from, from), append(e.by, what)
		e.model.check(s)
	}
	if e.model.wrong != "" && e.wrong == "" {
		e.wrong, e.at = e.model.wrong, append(e.way(from), what)
	}
	return to
}

// way is how a state was reached.
func (e *exploration) way(i int32) (steps []string) {
	for ; i > 0; i = e.from[i] {
		steps = append(steps, e.by[i])
	}
	slices.Reverse(steps)
	return steps
}

// stuck is a state from which the end cannot be reached whatever happens; -1 if there is none.
func (e *exploration) stuck() int32 {
	before := make([][]int32, len(e.states))
	for _, edge := range e.edges {
		before[edge[1]] = append(before[edge[1]], edge[0])
	}
	ends := make([]bool, len(e.states))
	var next []int32
	for i := range e.states {
		if e.model.done(&e.states[i]) {
			ends[i], next = true, append(next, int32(i))
		}
	}
	for len(next) > 0 {
		i := next[len(next)-1]
		next = next[:len(next)-1]
		for _, p := range before[i] {
			if !ends[p] {
				ends[p], next = true, append(next, p)
			}
		}
	}
	return int32(slices.Index(ends, false))
}

// modelBounds are those of a run of the tests; RINGCORE_SOAK_MODEL=1 takes more.
func modelBounds() []bounds {
	if os.Getenv("RINGCORE_SOAK_MODEL") != "" {
		return []bounds{
			{sessions: 2, writes: 1, crashes: 1, aborts: 1},
			{sessions: 2, writes: 2, crashes: 1, aborts: 1},
			{sessions: 1, writes: 2, crashes: 2, aborts: 1},
			{sessions: 2, writes: 1, crashes: 2, aborts: 1},
			{sessions: 1, writes: 2, crashes: 2, aborts: 1, rots: 1},
		}
	}
	return []bounds{
		{sessions: 1, writes: 1, crashes: 1, aborts: 1},
		{sessions: 2, writes: 1, aborts: 1},
		{sessions: 1, writes: 1, crashes: 1, rots: 1},
	}
}

// One transfer with two clients, in every order in which its steps, crashes of both
// sides, broken streams, lost answers and aborts can come: the promises of docs/design.md
// hold in every state, and from every state there is a way to the end.
func TestTransferModel(t *testing.T) {
	for _, b := range modelBounds() {
		begun := time.Now()
		e := explore(b, faithful)
		t.Logf("%+v: %d states, %d transitions, %d states of the metadata, %v", b, len(e.states), len(e.edges), len(e.model.raft.states), time.Since(begun).Round(time.Millisecond))
		if e.wrong != "" {
			t.Fatalf("%s:\n  %s", e.wrong, strings.Join(e.at, "\n  "))
		}
		if b.rots > 0 {
			continue // a copy that has rotted is not made again
		}
		if i := e.stuck(); i >= 0 {
			t.Fatalf("stuck in %+v after\n  %s", e.states[i], strings.Join(e.way(i), "\n  "))
		}
	}
}

// The model can fail: each wrong protocol breaks a promise.
func TestTransferModelFindsMutants(t *testing.T) {
	for x := faithful + 1; x < mutants; x++ {
		t.Run(x.String(), func(t *testing.T) {
			e := explore(bounds{sessions: 1, writes: 1, crashes: 1, aborts: 1}, x)
			if e.wrong == "" {
				t.Fatalf("not found in %d states", len(e.states))
			}
			t.Logf("%d states: %s:\n  %s", len(e.states), e.wrong, strings.Join(e.at, "\n  "))
		})
	}
}
