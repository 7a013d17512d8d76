package history

import (
	"fmt"
	"strings"
)

// Fault is what is wrong with an answer.
type Fault string

// The faults; the package comment says what they mean.
const (
	Lost        Fault = "lost"
	NotFound    Fault = "not_found"
	Resurrected Fault = "resurrected"
	Stale       Fault = "stale"
	Phantom     Fault = "phantom"
	Duplicate   Fault = "duplicate"
	Missing     Fault = "missing"
)

// Violation is an answer that no correct cluster gives, and the operations that show it.
type Violation struct {
	Fault Fault
	Key   string
	Ops   []Op // the wrong answer, what it had read if that is known, what had replaced that, the Get that shows it
}

func violation(f Fault, ops ...*Op) *Violation {
	v := &Violation{Fault: f, Key: ops[0].Key}
	for _, o := range ops {
		v.Ops = append(v.Ops, *o)
	}
	return v
}

// add names w and the Get that shows it in force.
func (v *Violation) add(w *write) {
	if w.end == never { // the state before all
		return
	}
	v.Ops = append(v.Ops, w.op)
	if w.seen != nil {
		v.Ops = append(v.Ops, *w.seen)
	}
}

// String tells the violation in one line.
func (v *Violation) String() string {
	ops := make([]string, len(v.Ops))
	for i := range v.Ops {
		ops[i] = v.Ops[i].String()
	}
	return fmt.Sprintf("%s: key %q: %s", v.Fault, v.Key, strings.Join(ops, "; "))
}

// kept is how many violations a Report tells in full.
const kept = 100

// Report is the verdict on a history.
type Report struct {
	Gets, Puts, Deletes uint64 // that have ended, however
	Maybe, Failed       uint64 // of the Puts and Deletes
	Listings            uint64
	Faults              map[Fault]uint64 // none if all is well
	Violations          []Violation      // the first hundred
}

func (r *Report) note(v *Violation) {
	if v == nil {
		return
	}
	r.Faults[v.Fault]++
	if len(r.Violations) < kept {
		r.Violations = append(r.Violations, *v)
	}
}

func (r *Report) count(o *Op) {
	switch o.Kind {
	case Get:
		r.Gets++
		return
	case Put:
		r.Puts++
	case Delete:
		r.Deletes++
	}
	switch o.Outcome {
	case Maybe:
		r.Maybe++
	case Failed:
		r.Failed++
	}
}
