package codec

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"slices"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Dot names one write of a sibling: which copy of the records took it, and when by
// that copy's clock. No copy gives a time twice, so no two writes have one Dot.
type Dot struct {
	Actor uint64
	Time  uint64
}

const dotSize = 16

// seen is a version vector: for each actor, the time up to which its writes are
// known. It is sorted by actor and holds each once.
type seen []Dot

// until is the time up to which writes of actor are known; 0 if none is.
func (v seen) until(actor uint64) uint64 {
	i, ok := slices.BinarySearchFunc(v, actor, func(d Dot, a uint64) int { return cmp.Compare(d.Actor, a) })
	if !ok {
		return 0
	}
	return v[i].Time
}

// covers reports whether the write d is known.
func (v seen) covers(d Dot) bool { return d.Time <= v.until(d.Actor) }

// join is the least that knows all that v and w know, but for what lies at or
// before the time after.
func (v seen) join(w seen, after uint64) seen {
	var out seen
	add := func(d Dot) {
		if d.Time > after {
			out = append(out, d)
		}
	}
	for len(v) > 0 && len(w) > 0 {
		switch c := cmp.Compare(v[0].Actor, w[0].Actor); {
		case c < 0:
			add(v[0])
			v = v[1:]
		case c > 0:
			add(w[0])
			w = w[1:]
		default:
			add(Dot{v[0].Actor, max(v[0].Time, w[0].Time)})
			v, w = v[1:], w[1:]
		}
	}
	for _, d := range v {
		add(d)
	}
	for _, d := range w {
		add(d)
	}
	return out
}

func (v seen) append(dst []byte) []byte {
	for _, d := range v {
		dst = binary.BigEndian.AppendUint64(dst, d.Actor)
		dst = binary.BigEndian.AppendUint64(dst, d.Time)
	}
	return dst
}

// parseSeen reads a version vector that fills b; false unless it is as append writes it.
func parseSeen(b []byte) (seen, bool) {
	if len(b)%dotSize != 0 {
		return nil, false
	}
	var v seen
	for ; len(b) > 0; b = b[dotSize:] {
		d := Dot{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
		if d.Time == 0 || len(v) > 0 && d.Actor <= v[len(v)-1].Actor {
			return nil, false
		}
		v = append(v, d)
	}
	return v, true
}

// MaxActors bounds how many copies of the records may have written a key before
// further siblings are refused, so that contexts fit into a header of HTTP.
const MaxActors = 256

// maxContext is the longest encoded Context that is read. It leaves room for what
// replicas have taken at the same time.
const maxContext = wire.StampSize + 2*MaxActors*dotSize

// Context is what a reader of a key has seen: which writes the values that it got
// stand for. The zero Context has seen nothing. Contexts can be compared.
type Context struct {
	Base wire.Stamp // of the newest write that replaces all before it
	Dots string     // an encoded version vector of the siblings' writes
}

// IsZero reports whether c has seen nothing.
func (c Context) IsZero() bool { return c == Context{} }

// Append appends the encoding of c to dst; nothing for the zero Context.
//
//	stamp | n × (actor u64, time u64), by actor
func (c Context) Append(dst []byte) []byte {
	if c.IsZero() {
		return dst
	}
	return append(c.Base.Append(dst), c.Dots...)
}

// size is the length of the encoding.
func (c Context) size() int {
	if c.IsZero() {
		return 0
	}
	return wire.StampSize + len(c.Dots)
}

// ReadContext undoes Append.
func ReadContext(b []byte) (Context, error) {
	if len(b) == 0 {
		return Context{}, nil
	}
	c := Context{}
	if len(b) >= wire.StampSize && len(b) <= maxContext {
		c.Base, _ = wire.ParseStamp(b)
		if _, ok := parseSeen(b[wire.StampSize:]); ok {
			c.Dots = string(b[wire.StampSize:])
		} else {
			c = Context{}
		}
	}
	if c.IsZero() {
		return c, wire.Errorf(wire.BadRequest, "%d bytes are no causal context: hand back what a read brought, unchanged", len(b))
	}
	return c, nil
}

// String is c as text: in HTTP's X-Ringcore-Context, and on the command line. It is
// empty for the zero Context.
func (c Context) String() string {
	if c.IsZero() {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(c.Append(nil))
}

// ParseContext undoes String.
func ParseContext(s string) (Context, error) {
	if len(s) > base64.RawURLEncoding.EncodedLen(maxContext) {
		return Context{}, wire.Errorf(wire.BadRequest, "a causal context of %d characters is too long: hand back what a read brought, unchanged", len(s))
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return Context{}, wire.Errorf(wire.BadRequest, "%q is no causal context: hand back what a read brought, unchanged", s)
	}
	return ReadContext(b)
}

// object is the Object that has seen what c has and holds no values: to merge it
// is to remove what c covers.
func (c Context) object() Object {
	o := Object{Base: Base{Stamp: c.Base}}
	dots, _ := parseSeen([]byte(c.Dots))
	o.seen = dots.join(nil, c.Base.Time)
	return o
}

// Covers reports whether c has seen all that o stands for.
func (c Context) Covers(o *Object) bool {
	if o.Base.Stamp.Compare(c.Base) > 0 {
		return false
	}
	have, _ := parseSeen([]byte(c.Dots))
	for _, d := range o.seen {
		if d.Time > c.Base.Time && !have.covers(d) {
			return false
		}
	}
	return true
}

// Includes reports whether c has seen all that d has.
func (c Context) Includes(d Context) bool {
	if c == d {
		return true
	}
	o := d.object()
	return c.Covers(&o)
}

// Join has seen what c or d has.
func (c Context) Join(d Context) Context {
	a, b := c.object(), d.object()
	m := MergeObjects(&a, &b)
	return m.Context()
}

// Newest is the time of the newest write that c has seen.
func (c Context) Newest() uint64 {
	t := c.Base.Time
	dots, _ := parseSeen([]byte(c.Dots))
	for _, d := range dots {
		t = max(t, d.Time)
	}
	return t
}
