package codec

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Object is what a key holds where concurrent values are kept: a dotted version
// vector set (Preguiça et al., 2010; Almeida et al., 2014), and under it the newest
// write of the kind that replaces whatever was there, because a bucket's kind may
// change. That write hides every sibling up to its time, so what has been seen of
// those need not be remembered.
//
// Merging two Objects is idempotent, commutative and associative, and so is
// merging an Object with the plain record of a last write that wins: that is the
// Object which is nothing but Base.
type Object struct {
	Base     Base
	Siblings []Sibling // in the order of their times
	seen     seen      // of the siblings' writes, those of all that were replaced too
}

// Base is the newest write that replaced whatever was there; the zero Base if
// there was none.
type Base struct {
	Stamp wire.Stamp
	Live  bool // else it was a delete, or its value has been replaced
	Envelope
}

// Sibling is one of several values that were written without knowing of each other.
type Sibling struct {
	Dot
	ID uint64 // of the write, the same in every retry of it
	Envelope
}

// Bounds of what a key with siblings may hold when another one is put. Replicas may
// have taken some at the same time, so a little more can come together; it still
// fits into a frame, whatever the number of replicas.
const (
	MaxSiblings      = 100
	MaxSiblingsBytes = 1 << 20
)

// Context is what a reader of o has seen.
func (o *Object) Context() Context {
	return Context{Base: o.Base.Stamp, Dots: string(o.seen.append(nil))}
}

// Empty reports whether o holds no value, expired or not.
func (o *Object) Empty() bool { return !o.Base.Live && len(o.Siblings) == 0 }

// plain reports whether o is nothing but its Base.
func (o *Object) plain() bool { return len(o.seen) == 0 && len(o.Siblings) == 0 }

// MergeObjects makes one Object of two versions. It shares their memory.
func MergeObjects(a, b *Object) Object {
	m := Object{Base: mergeBases(&a.Base, &b.Base)}
	hidden := m.Base.Stamp.Time
	m.seen = a.seen.join(b.seen, hidden)
	keep := func(from, other *Object) {
		for _, s := range from.Siblings {
			if s.Time > hidden && (!other.seen.covers(s.Dot) || other.holds(s.Dot)) && !m.holds(s.Dot) {
				m.Siblings = append(m.Siblings, s)
			}
		}
	}
	keep(a, b)
	keep(b, a)
	slices.SortFunc(m.Siblings, compareSiblings)
	return m
}

// mergeBases is the newer of two. One write may be known as replaced to one side only.
func mergeBases(a, b *Base) Base {
	switch c := a.Stamp.Compare(b.Stamp); {
	case c < 0, c == 0 && !b.Live:
		return *b
	}
	return *a
}

func compareSiblings(a, b Sibling) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Actor, b.Actor))
}

func (o *Object) holds(d Dot) bool {
	return slices.ContainsFunc(o.Siblings, func(s Sibling) bool { return s.Dot == d })
}

// Forget removes from o what c has seen.
func (o *Object) Forget(c Context) {
	if !c.IsZero() {
		covered := c.object()
		*o = MergeObjects(o, &covered)
	}
}

// Put adds s, which o's own copy of the records takes: s.Actor names the copy, and
// s.Time is later than all that it has seen. A sibling of the same write gives way.
func (o *Object) Put(s Sibling) {
	o.Siblings = append(slices.DeleteFunc(slices.Clone(o.Siblings), func(x Sibling) bool { return x.ID == s.ID && s.ID != 0 }), s)
	o.seen = o.seen.join(seen{s.Dot}, o.Base.Stamp.Time)
}

// KeptActors is how many copies an Object remembers without need: fewer are not worth
// that its readers' contexts grow old.
const KeptActors = 50

// Settle lets o forget, if it remembers many, which writes up to the time t were
// replaced. All copies must have heard of every write up to t, and no write of that age
// may come any more: then each that o does not hold was replaced, which its Base says as
// well as a list of actors. The original drops the oldest actors of a long vector
// whatever others still hold, so that what was replaced may come back beside what
// replaced it.
func (o *Object) Settle(t uint64) {
	if len(o.seen) <= KeptActors || o.Base.Live {
		return
	}
	for i := range o.Siblings {
		t = min(t, o.Siblings[i].Time-1)
	}
	if t > o.Base.Stamp.Time {
		o.Base.Stamp = wire.Stamp{Time: t}
		o.seen = o.seen.join(nil, t)
	}
}

// CheckRoom refuses a further value for an Object that holds too many.
func (o *Object) CheckRoom() error {
	bytes := len(o.Base.Value)
	for i := range o.Siblings {
		bytes += len(o.Siblings[i].Value)
	}
	switch {
	case len(o.Siblings) > MaxSiblings:
		return wire.Errorf(wire.Refused, "the key has %d values already that do not know of each other: read them and put one back with the context of the read", MaxSiblings)
	case bytes > MaxSiblingsBytes:
		return wire.Errorf(wire.TooLarge, "the key's values would have %d bytes, at most %d together are kept in a bucket with siblings: "+
			"read them and put one back with the context of the read", bytes, MaxSiblingsBytes)
	case len(o.seen) > MaxActors:
		return wire.Errorf(wire.Refused, "over %d copies have written this key, which is more than a context can tell: delete it without a context, then write it anew", MaxActors)
	}
	return nil
}

// Expire makes o hold nothing that has expired at nowMS.
func (o *Object) Expire(nowMS uint64) {
	o.Base.Live = o.Base.Live && !o.Base.Expired(nowMS)
	if !o.Base.Live {
		o.Base.Envelope = Envelope{}
	}
	o.Siblings = slices.DeleteFunc(o.Siblings, func(s Sibling) bool { return s.Expired(nowMS) })
}

// Strip takes the values' bytes out of o.
func (o *Object) Strip() {
	o.Base.Value = nil
	for i := range o.Siblings {
		o.Siblings[i].Value = nil
	}
}

// Values are what o holds, the newest first. What was stored twice by one write,
// tried again, is one value.
func (o *Object) Values() []Envelope {
	var values []Envelope
	var ids []uint64
	add := func(id uint64, e Envelope) {
		if id == 0 || !slices.Contains(ids, id) {
			values, ids = append(values, e), append(ids, id)
		}
	}
	for _, s := range slices.Backward(o.Siblings) {
		add(s.ID, s.Envelope)
	}
	if o.Base.Live {
		add(o.Base.Stamp.ID, o.Base.Envelope)
	}
	return values
}

// Newest is the time of the newest sibling; 0 if there is none.
func (o *Object) Newest() uint64 {
	if len(o.Siblings) == 0 {
		return 0
	}
	return o.Siblings[len(o.Siblings)-1].Time
}

// objectMark stands where an Envelope has its flags.
const objectMark = 1 << 1

// AppendObject appends the encoding of o to dst.
//
//	u8 2 | stamp | value | u32 n | n × (actor u64, time u64) | siblings
//	value    u32 0, or u32 1 + length and an envelope
//	sibling  actor u64 | time u64 | id u64 | value
func AppendObject(dst []byte, o *Object) []byte {
	dst = o.Base.Stamp.Append(append(dst, objectMark))
	dst = appendValue(dst, o.Base.Live, &o.Base.Envelope)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(o.seen)))
	dst = o.seen.append(dst)
	for i := range o.Siblings {
		s := &o.Siblings[i]
		dst = seen{s.Dot}.append(dst)
		dst = binary.BigEndian.AppendUint64(dst, s.ID)
		dst = appendValue(dst, true, &s.Envelope)
	}
	return dst
}

func appendValue(dst []byte, live bool, e *Envelope) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	if live {
		dst = AppendEnvelope(dst, e)
		binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4)+1)
	}
	return dst
}

// cutValue undoes appendValue.
func cutValue(b []byte) (live bool, e Envelope, rest []byte, ok bool) {
	if len(b) < 4 {
		return false, e, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if b = b[4:]; n == 0 {
		return false, e, b, true
	}
	if uint64(n)-1 > uint64(len(b)) {
		return false, e, nil, false
	}
	e, ok = cutEnvelope(b[:n-1])
	return true, e, b[n-1:], ok
}

// cutObject reads an Object that fills b, and holds that it is in the form in which
// every Object is left by its methods.
func cutObject(b []byte) (o Object, ok bool) {
	if len(b) < 1+wire.StampSize || b[0] != objectMark {
		return o, false
	}
	o.Base.Stamp, _ = wire.ParseStamp(b[1:])
	if o.Base.Live, o.Base.Envelope, b, ok = cutValue(b[1+wire.StampSize:]); !ok || len(b) < 4 {
		return o, false
	}
	n := uint64(binary.BigEndian.Uint32(b)) * dotSize
	if b = b[4:]; n > uint64(len(b)) {
		return o, false
	}
	if o.seen, ok = parseSeen(b[:n]); !ok {
		return o, false
	}
	for b = b[n:]; len(b) > 0; {
		var s Sibling
		if s, b, ok = cutSibling(b); !ok {
			return o, false
		}
		o.Siblings = append(o.Siblings, s)
	}
	return o, o.normal()
}

func cutSibling(b []byte) (s Sibling, rest []byte, ok bool) {
	const head = dotSize + 8
	if len(b) < head {
		return s, nil, false
	}
	s.Dot = Dot{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
	s.ID = binary.BigEndian.Uint64(b[dotSize:])
	live, e, rest, ok := cutValue(b[head:])
	s.Envelope = e
	return s, rest, ok && live
}

// normal reports whether o remembers nothing that Base hides, and has its siblings
// in order and among what it has seen.
func (o *Object) normal() bool {
	hidden := o.Base.Stamp.Time
	if o.Base.Live && o.Base.Stamp.IsZero() || slices.ContainsFunc(o.seen, func(d Dot) bool { return d.Time <= hidden }) {
		return false
	}
	for i := range o.Siblings {
		s := &o.Siblings[i]
		if s.Time <= hidden || !o.seen.covers(s.Dot) || i > 0 && compareSiblings(o.Siblings[i-1], *s) >= 0 {
			return false
		}
	}
	return true
}
