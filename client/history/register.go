package history

import (
	"slices"
	"sync"
	"time"
)

// register is one key: what a Get may still return, and what rules out the rest.
type register struct {
	mu      sync.Mutex
	flight  []*Call        // under way
	writes  []*write       // acknowledged or under way, but for those forgotten
	maybe   map[Value]bool // Puts that may take effect at any time
	failed  map[Value]bool // Puts that surely did not
	deletes bool           // a Delete ended as Maybe: the key may have no value at any time
}

// write is a Put or a Delete and its place among the others; see the package comment.
type write struct {
	op      Op
	end     time.Duration // E
	inForce time.Duration // L
	seen    *Op           // the Get that gave it L; nil if it is its own start
}

// never lies before every time.
const never = time.Duration(-1)

func newRegister() *register {
	return &register{writes: []*write{{op: Op{Kind: Delete, Start: never, End: never}, end: never, inForce: never}}}
}

// begin notes that c is under way.
func (r *register) begin(c *Call) {
	c.End = forever
	r.flight = append(r.flight, c)
	if c.Kind != Get {
		c.write = &write{op: c.Op, end: forever, inForce: never}
		r.writes = append(r.writes, c.write)
	}
}

// end notes that c has ended, and returns what is wrong with it. A listing that is
// still under way began no earlier than floor.
func (r *register) end(c *Call, final bool, floor time.Duration) *Violation {
	r.flight = slices.DeleteFunc(r.flight, func(f *Call) bool { return f == c })
	var v *Violation
	switch {
	case c.write != nil:
		v = r.endWrite(c)
	case c.Outcome == OK:
		v = r.read(&c.Op, final)
	}
	r.forget(min(floor, c.End))
	return v
}

func (r *register) endWrite(c *Call) *Violation {
	w := c.write
	w.op.End, w.op.Outcome = c.End, c.Outcome
	if c.Outcome == OK {
		w.end, w.inForce = c.End, max(w.inForce, c.Start)
		return nil
	}
	r.writes = slices.DeleteFunc(r.writes, func(x *write) bool { return x == w })
	switch {
	case c.Outcome == Maybe && c.Kind == Delete:
		r.deletes = true
	case c.Outcome == Maybe:
		put(&r.maybe, c.Value)
	case c.Kind == Put:
		put(&r.failed, c.Value)
		if w.seen != nil {
			return violation(Phantom, w.seen, &w.op)
		}
	}
	return nil
}

func put(set *map[Value]bool, v Value) {
	if *set == nil {
		*set = map[Value]bool{}
	}
	(*set)[v] = true
}

// read notes that o has read o.Value, and says what is wrong with that.
func (r *register) read(o *Op, final bool) *Violation {
	if o.Value == None && r.deletes || r.maybe[o.Value] {
		return nil
	}
	w := r.written(o.Value)
	by := r.replaced(w, o)
	if r.failed[o.Value] || w == nil && (by == nil || by.end == never) {
		return violation(Phantom, o)
	}
	if by != nil {
		return convict(o, w, by, final)
	}
	if o.Start > w.inForce {
		seen := *o
		w.inForce, w.seen = o.Start, &seen
	}
	return nil
}

// written is the write that wrote v; nil if it is forgotten. For None it is the
// Delete with the latest end.
func (r *register) written(v Value) *write {
	var last *write
	for _, w := range r.writes {
		switch {
		case v != None && w.op.Kind == Put && w.op.Value == v:
			return w
		case v == None && w.op.Kind == Delete && (last == nil || w.end >= last.end):
			last = w
		}
	}
	return last
}

// replaced is a write that is surely newer than w and had ended when o began: of
// several the one that was last in force. nil if there is none.
func (r *register) replaced(w *write, o *Op) *write {
	var by *write
	for _, b := range r.writes {
		switch {
		case b == w || b.end >= o.Start || w != nil && w.end >= b.inForce:
		case w != nil && w.op.Kind == Delete && b.op.Kind == Delete:
		case by == nil || b.inForce > by.inForce:
			by = b
		}
	}
	return by
}

// convict tells what is wrong with the Get o, which has read w after by had replaced it.
func convict(o *Op, w, by *write, final bool) *Violation {
	kind := Stale
	switch {
	case final && by.op.Kind == Put:
		kind = Lost
	case o.Value == None:
		kind = NotFound
	case by.op.Kind == Delete, by.seen != nil && by.seen.End < o.Start:
		kind = Resurrected
	}
	v := violation(kind, o)
	if w != nil {
		v.add(w)
	}
	v.add(by)
	return v
}

// forget drops writes that everything which ends from now on is wrong to read.
// Nothing that is still to end began before floor or before what is under way.
func (r *register) forget(floor time.Duration) {
	for _, o := range r.flight {
		floor = min(floor, o.Start)
	}
	var last, next *write // those of the writes that ended before floor which were last in force
	for _, w := range r.writes {
		switch {
		case w.end >= floor:
		case last == nil || w.inForce > last.inForce:
			last, next = w, last
		case next == nil || w.inForce > next.inForce:
			next = w
		}
	}
	r.writes = slices.DeleteFunc(r.writes, func(w *write) bool {
		by := last
		if w == last {
			by = next
		}
		return by != nil && w.end < by.inForce
	})
}

// present says why a listing from start may not show the key: a write that has
// surely replaced all values it had; nil if it may.
func (r *register) present(start time.Duration) (by *write) {
	if len(r.maybe) > 0 {
		return nil
	}
	o := &Op{Start: start}
	by = r.replaced(nil, o)
	for _, w := range r.writes {
		if w.op.Kind == Put && r.replaced(w, o) == nil {
			return nil
		}
	}
	return by
}
