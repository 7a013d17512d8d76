package vnodes

import (
	"context"
	"fmt"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// A fold is a coverage query that the toolkit answers itself, whatever the service: with
// the vnode's records as they are at one moment, so that a backup of them can be made. Its
// body is one of
//
//	'T' tree            in which leaves does this copy differ from a copy with that tree: one item
//	'R' leaves          the records in these leaves
//	'R' leaves | tree   the same, if in all others it equals a copy with that tree, at the same moment; else CONFLICT
//
// A merge of items makes of the former the union, of the latter the merged record.
const (
	foldDiffer  = 'T'
	foldRecords = 'R'
)

// Leaves is a set of leaves of a Tree. It can be stored: a bit for each leaf.
type Leaves = leafSet

// AllLeaves are those of a whole store.
func AllLeaves() Leaves { return allLeaves() }

// Holds reports whether key falls to one of s.
func (s *leafSet) Holds(key []byte) bool { return s.has(leafOf(key)) }

// Empty reports whether s has no leaf.
func (s *leafSet) Empty() bool { return s.empty() }

// Add adds the leaves of o to s.
func (s *leafSet) Add(o *Leaves) {
	for i := range s {
		s[i] |= o[i]
	}
}

// ParseLeaves reads a stored set.
func ParseLeaves(b []byte) (s Leaves, ok bool) {
	return s, copy(s[:], b) == len(s) && len(b) == len(s)
}

// TreeSize is the length of a Tree's encoding in bytes.
const TreeSize = 8 << treeBits

// Note counts the live record under key.
func (t *Tree) Note(key []byte, r *Record) { t.add(key, recordDigest(key, r)) }

// Take makes the leaves in s those of o.
func (t *Tree) Take(o *Tree, s *Leaves) {
	for i := range t {
		if s.has(i) {
			t[i] = o[i]
		}
	}
}

// Append appends the encoding of t to dst.
func (t *Tree) Append(dst []byte) []byte { return t.append(dst) }

// ParseTree undoes Append.
func ParseTree(b []byte) (t Tree, ok bool) { return t, t.parse(b) }

// FoldDiffer is the body of a fold whose one item's value is the set of leaves in which
// a partition differs from what has the tree t; see ParseLeaves.
func FoldDiffer(t *Tree) []byte { return t.append([]byte{foldDiffer}) }

// FoldRecords is the body of a fold whose items are a partition's records in leaves. If
// rest is not nil, the partition must equal what has that tree in all others: the fold fails
// with the code Conflict if a command has changed one of them meanwhile.
func FoldRecords(leaves *Leaves, rest *Tree) []byte {
	body := append([]byte{foldRecords}, leaves[:]...)
	if rest != nil {
		body = rest.append(body)
	}
	return body
}

// fold answers c from the vnode's store.
func (v *vnode) fold(ctx context.Context, c *wire.CoverCall, emit func(*wire.Item) error) error {
	question, body := byte(0), c.Body
	if len(body) > 0 {
		question, body = body[0], body[1:]
	}
	switch question {
	case foldDiffer:
		var theirs Tree
		if !theirs.parse(body) {
			return wire.Errorf(wire.BadRequest, "a hash tree of %d bytes", len(body))
		}
		leaves := allLeaves() // of hints: they are few, and tombstones among them are in no tree
		if c.For == "" {
			own, err := v.store.Tree()
			if err != nil {
				return err
			}
			leaves = differing(&theirs, &own)
		}
		return emit(&wire.Item{Key: []byte{foldDiffer}, Value: leaves[:]})
	case foldRecords:
		leaves := body[:min(len(body), len(Leaves{}))]
		m := &moment{v: v, had: make(map[string]*Record)}
		var ok bool
		if m.leaves, ok = ParseLeaves(leaves); !ok {
			return wire.Errorf(wire.BadRequest, "a set of leaves of %d bytes", len(leaves))
		}
		if body = body[len(leaves):]; len(body) > 0 {
			if m.rest = new(Tree); !m.rest.parse(body) {
				return wire.Errorf(wire.BadRequest, "a hash tree of %d bytes", len(body))
			}
		}
		if len(c.After) > 0 {
			return wire.Errorf(wire.BadRequest, "records of one moment are not read in pieces")
		}
		return v.foldMoment(ctx, m, emit)
	}
	return wire.Errorf(wire.NotSupported, "a fold of kind %q is of another version", question)
}

// foldMoment emits the records in m's leaves as they are at one moment of the call.
func (v *vnode) foldMoment(ctx context.Context, m *moment, emit func(*wire.Item) error) error {
	defer m.end()
	if err := v.await(ctx, m.begin); err != nil {
		return err
	}
	if err := m.broken(); err != nil {
		return err
	}
	if err := v.store.Sync(); err != nil { // what came before is to be seen
		return err
	}
	var failed error
	err := v.store.Ascend(nil, func(key []byte, r Record) bool {
		if failed = ctx.Err(); failed != nil {
			return false
		}
		if !m.leaves.Holds(key) {
			return true
		}
		if r, there := m.pass(key, r); there {
			failed = emit(&wire.Item{Key: key, Stamp: r.Stamp, Deleted: r.Deleted(), Value: r.Value})
		}
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	return m.whole()
}

// mergeFold merges what two copies have answered to a fold.
func (s *service) mergeFold(body []byte, a, b *Item) (merged Item, err error) {
	defer func() {
		if why := recover(); why != nil {
			err = fmt.Errorf("%w: %v", errPanicked, why)
		}
	}()
	if len(body) > 0 && body[0] == foldDiffer {
		x, okX := ParseLeaves(a.Value)
		y, okY := ParseLeaves(b.Value)
		if !okX || !okY {
			return merged, wire.ErrBody
		}
		x.Add(&y)
		return Item{Key: a.Key, Value: x[:]}, nil
	}
	r := s.merge(a.Key, recordOfItem(a), recordOfItem(b))
	return Item{Key: a.Key, Stamp: r.Stamp, Deleted: r.Deleted(), Value: r.Value}, nil
}

// recordOfItem is the record that a fold has emitted as it, whose memory it shares.
func recordOfItem(it *Item) Record {
	r := Record{Stamp: it.Stamp, Value: it.Value}
	if it.Deleted {
		r.Flags = FlagTombstone
	}
	if len(r.Value) == 0 {
		r.Value = nil
	}
	return r
}
