package history

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The verdict is that of trying every order of the writes.
func TestVerdictIsExact(t *testing.T) {
	valid, wrong := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		ops := drawOps(t)
		want := holds(ops)
		if want {
			valid++
		} else {
			wrong++
		}
		if r := Check(ops); (len(r.Faults) == 0) != want {
			for i := range ops {
				t.Log(ops[i].String())
			}
			t.Fatalf("an order exists: %v; the verdict is %v", want, r.Violations)
		}
	})
	if valid == 0 || wrong == 0 {
		t.Errorf("%d histories that hold and %d that do not: one kind was not tried", valid, wrong)
	}
}

// drawOps draws a few operations on one key, many of which overlap.
func drawOps(t *rapid.T) []Op {
	var ops []Op
	puts := 0
	n := rapid.IntRange(1, 8).Draw(t, "operations")
	for i := range n {
		o := Op{Client: i, Key: "k", Kind: rapid.SampledFrom([]Kind{Get, Get, Put, Put, Delete}).Draw(t, "kind")}
		o.Start = time.Duration(8 * rapid.IntRange(0, 20).Draw(t, "start"))
		o.End = o.Start + time.Duration(8*rapid.IntRange(1, 8).Draw(t, "length")+i) // no two end at once
		if o.Kind != Get {
			o.Outcome = rapid.SampledFrom([]Outcome{OK, OK, OK, OK, Maybe, Failed}).Draw(t, "outcome")
		}
		if o.Kind == Put {
			puts++
			o.Value = Value(puts)
		}
		ops = append(ops, o)
	}
	for i := range ops {
		if ops[i].Kind == Get {
			ops[i].Value = Value(rapid.IntRange(0, puts).Draw(t, "value"))
		}
	}
	return ops
}

// holds tries every order of the acknowledged writes. Maybe writes are constrained
// by no order, so only whether they had begun counts.
func holds(ops []Op) bool {
	writes := []Op{{Kind: Delete, Start: -2, End: -1}}
	for _, o := range ops {
		if o.Kind != Get && o.Outcome == OK {
			writes = append(writes, o)
		}
	}
	var try func(done, left []Op) bool
	try = func(done, left []Op) bool {
		if len(left) == 0 {
			return ordered(done, ops)
		}
		for i := range left {
			rest := slices.Delete(slices.Clone(left), i, i+1)
			if slices.ContainsFunc(rest, func(o Op) bool { return o.End < left[i].Start }) {
				continue // rule 1
			}
			if try(append(slices.Clone(done), left[i]), rest) {
				return true
			}
		}
		return false
	}
	return try(nil, writes)
}

// ordered reports whether every Get keeps rule 2, with the writes in this order.
func ordered(writes, ops []Op) bool {
	for _, g := range ops {
		if g.Kind == Get && !explained(writes, ops, g) {
			return false
		}
	}
	return true
}

func explained(writes, ops []Op, g Op) bool {
	for _, w := range ops {
		if w.Kind == Get || read(w) != g.Value || w.Start > g.End {
			continue
		}
		if w.Outcome == Maybe || w.Kind == Delete && w.Outcome == Failed && g.End < w.End {
			return true
		}
	}
	for i, w := range writes {
		newer := slices.ContainsFunc(writes[i+1:], func(b Op) bool { return b.End < g.Start })
		if read(w) == g.Value && w.Start <= g.End && !newer {
			return true
		}
	}
	return false
}

// read is what is read after w.
func read(w Op) Value {
	if w.Kind == Delete {
		return None
	}
	return w.Value
}

// quorums is a correct register: three replicas, of which two store a write and two
// answer a read. Whoever draws from it decides what happens next.
type quorums struct {
	w        int // how many store a write before it is acknowledged: 2
	replicas [3]stamped
	clock    int
	running  []*running
	now      time.Duration
	ops      []Op
}

type stamped struct {
	stamp int
	value Value
}

// running is an operation: a write asks two replicas for their stamps, takes a newer
// one and stores; a read takes the newest of two.
type running struct {
	op     Op
	asked  []int // replicas that have answered
	newest stamped
	stored []int
}

// A correct register gives no violation, whatever order things happen in.
func TestCorrectRegister(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if r := simulate(t, 2); len(r.Faults) > 0 {
			t.Fatalf("%v", r.Violations)
		}
	})
}

// One whose writes are acknowledged by one replica only is found out.
func TestWrongRegister(t *testing.T) {
	found := map[Fault]uint64{}
	rapid.Check(t, func(t *rapid.T) {
		for f, n := range simulate(t, 1).Faults {
			found[f] += n
		}
	})
	if found[Stale] == 0 || found[Resurrected] == 0 {
		t.Errorf("found %v", found)
	}
}

// simulate runs a register in which w replicas store a write before it is acknowledged.
func simulate(t *rapid.T, w int) Report {
	seed := rapid.Uint64().Draw(t, "seed")
	draw := rand.New(rand.NewPCG(seed, 1)) // evenly, which rapid's numbers are not
	q := &quorums{w: w}
	puts := Value(0)
	for range 400 {
		q.now += time.Duration(draw.IntN(2))
		if len(q.running) > 0 && draw.IntN(5) > 0 {
			q.step(q.running[draw.IntN(len(q.running))], draw.IntN(3), draw.IntN(30) == 0)
			continue
		}
		o := Op{Client: len(q.ops), Key: "k", Kind: []Kind{Get, Put, Delete}[draw.IntN(3)], Start: q.now}
		if o.Kind == Put {
			puts++
			o.Value = puts
		}
		q.running = append(q.running, &running{op: o})
		if len(q.running) > 8 {
			q.abandon()
		}
	}
	for len(q.running) > 0 {
		q.abandon()
	}
	return Check(q.ops)
}

// abandon ends the oldest operation that runs, as if its messages were lost from now on.
func (q *quorums) abandon() {
	if r := q.running[0]; r.op.Kind != Get && r.op.End == 0 {
		r.op.Outcome = Maybe
		q.done(r)
	}
	q.running = q.running[1:]
}

// step lets one replica answer r. An operation that was told its outcome may go on
// storing: the third replica gets it late, or a write that was given up takes effect.
func (q *quorums) step(r *running, replica int, giveUp bool) {
	switch {
	case giveUp && r.op.End == 0 && r.op.Kind != Get:
		r.op.Outcome = Maybe
		q.done(r)
	case len(r.asked) < 2:
		if !slices.Contains(r.asked, replica) {
			r.asked = append(r.asked, replica)
			if s := q.replicas[replica]; s.stamp > r.newest.stamp {
				r.newest = s
			}
		}
		if len(r.asked) < 2 {
			return
		}
		if r.op.Kind == Get {
			r.op.Value = r.newest.value
			q.done(r)
			return
		}
		q.clock++ // also makes stamps unique
		r.newest = stamped{r.newest.stamp/1000*1000 + 1000 + q.clock%1000, read(r.op)}
	case !slices.Contains(r.stored, replica) && r.op.Kind != Get:
		r.stored = append(r.stored, replica)
		if r.newest.stamp > q.replicas[replica].stamp {
			q.replicas[replica] = r.newest
		}
		if len(r.stored) == q.w && r.op.End == 0 {
			q.done(r)
		}
	}
}

func (q *quorums) done(r *running) {
	r.op.End = max(q.now, 1)
	q.ops = append(q.ops, r.op)
	if r.op.Kind == Get {
		q.running = slices.DeleteFunc(q.running, func(x *running) bool { return x == r })
	}
}

// Many goroutines use one History, on a map that is a correct register.
func TestConcurrentUse(t *testing.T) {
	h := New()
	var mu sync.Mutex
	values := map[string]Value{}
	var callers sync.WaitGroup
	for c := range 8 {
		callers.Go(func() {
			for i := range 500 {
				key := string(rune('a' + (i+c)%5))
				call := h.Begin(c, key, []Kind{Get, Put, Get, Delete}[(i*7+c)%4])
				mu.Lock()
				switch call.Kind {
				case Get:
					call.Value = values[key]
				default:
					values[key] = read(call.Op)
				}
				mu.Unlock()
				call.Done(OK)
				if i%50 == 0 {
					l := h.List(c)
					mu.Lock()
					for key, v := range values {
						if v != None {
							l.Key(key)
						}
					}
					mu.Unlock()
					l.End(true)
				}
			}
		})
	}
	callers.Wait()
	if r := h.Report(); len(r.Faults) > 0 || r.Gets+r.Puts+r.Deletes != 4000 || r.Listings != 80 {
		t.Errorf("%+v", r)
	}
}
