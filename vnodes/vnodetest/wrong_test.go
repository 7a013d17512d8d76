package vnodetest

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes"
)

// forgetful counts in memory: its replies and records begin anew with each restart.
type forgetful struct{ n int }

func (v *forgetful) Command(tx *vnodes.Tx, _ []byte) ([]byte, error) {
	v.n++
	tx.Put(tx.Key(), strconv.AppendInt(nil, int64(v.n), 10))
	return nil, nil
}

// keeper keeps its last command, whose bytes are not its own.
type keeper struct{ last []byte }

func (v *keeper) Command(_ *vnodes.Tx, cmd []byte) ([]byte, error) {
	old := bytes.Clone(v.last)
	v.last = cmd
	return old, nil
}

// writingQuery writes where it may only read.
type writingQuery struct{ count }

func (writingQuery) Query(tx *vnodes.Tx, _ []byte) ([]byte, error) {
	tx.Put(tx.Key(), nil)
	return nil, nil
}

// countingQuery has state that queries change.
type countingQuery struct {
	count
	asked int
}

func (v *countingQuery) Query(*vnodes.Tx, []byte) ([]byte, error) {
	v.asked++
	return strconv.AppendInt(nil, int64(v.asked), 10), nil
}

// cover stores each command under its own words, and covers them wrongly as its fields say.
type cover struct {
	order                                              func([]vnodes.Item)
	twice, unstamped, undead, forgets, goesOn, noError bool
}

func (cover) Blind([]byte) bool { return true }

func (cover) Command(tx *vnodes.Tx, cmd []byte) ([]byte, error) {
	if word, ok := bytes.CutPrefix(cmd, []byte("delete ")); ok {
		tx.Delete(word)
		return nil, nil
	}
	tx.Put(cmd, cmd)
	return nil, nil
}

func (v cover) Cover(tx *vnodes.Tx, _ []byte, emit func(vnodes.Item) error) error {
	var items []vnodes.Item
	tx.Ascend(nil, func(key []byte, r vnodes.Record) bool {
		if v.forgets && r.Deleted() {
			return true
		}
		it := vnodes.Item{Key: bytes.Clone(key), Stamp: r.Stamp, Deleted: r.Deleted() && !v.undead}
		if v.unstamped {
			it.Stamp = vnodes.Stamp{}
		}
		items = append(items, it)
		if v.twice {
			items = append(items, it)
		}
		return true
	})
	if v.order != nil {
		v.order(items)
	}
	for _, it := range items {
		switch err := emit(it); {
		case err != nil && v.noError:
			return nil
		case err != nil && !v.goesOn:
			return err
		}
	}
	return nil
}

// merger merges values by a rule that breaks a law.
type merger struct {
	rule func(a, b vnodes.Record) []byte
}

func (merger) Command(tx *vnodes.Tx, cmd []byte) ([]byte, error) {
	tx.Put(tx.Key(), cmd)
	return nil, nil
}

func (m merger) Merge(_ []byte, have, incoming vnodes.Record) vnodes.Record {
	merged := have
	if incoming.Stamp.Compare(have.Stamp) > 0 {
		merged = incoming
	}
	merged.Value = m.rule(have, incoming)
	return merged
}

func concatenate(a, b vnodes.Record) []byte { return append(bytes.Clone(a.Value), b.Value...) }

func latecomer(_, b vnodes.Record) []byte { return b.Value }

// average is idempotent and commutative.
func average(a, b vnodes.Record) []byte {
	x, y := a.Value, b.Value
	if len(x) == 0 || len(y) == 0 {
		return nil
	}
	return []byte{byte((int(x[0]) + int(y[0])) / 2)}
}

// scribble keeps the newer one, and spoils the other.
func scribble(a, b vnodes.Record) []byte {
	if a.Stamp.Compare(b.Stamp) > 0 {
		a, b = b, a
	}
	if a.Stamp != b.Stamp && len(a.Value) > 0 {
		a.Value[0] ^= 1
	}
	return b.Value
}

// greatest keeps the greater value: what a command puts in its place may be less.
func greatest(a, b vnodes.Record) []byte {
	if bytes.Compare(a.Value, b.Value) > 0 {
		return a.Value
	}
	return b.Value
}

// stamper is a set whose merged records have the older stamp, or none.
type stamper struct {
	set
	older bool
}

func (v stamper) Merge(key []byte, have, incoming vnodes.Record) vnodes.Record {
	merged := v.set.Merge(key, have, incoming)
	switch {
	case have.Stamp == incoming.Stamp:
	case !v.older:
		merged.Stamp = vnodes.Stamp{}
	case have.Stamp.Compare(incoming.Stamp) < 0:
		merged.Stamp = have.Stamp
	default:
		merged.Stamp = incoming.Stamp
	}
	return merged
}

// moody is a set that lists its words as they come out of a map.
type moody struct{ set }

func (v moody) Merge(key []byte, have, incoming vnodes.Record) vnodes.Record {
	merged := v.set.Merge(key, have, incoming)
	if sameRecord(&have, &incoming) {
		return merged
	}
	words := make(map[string]bool)
	for _, w := range bytes.Fields(merged.Value) {
		words[string(w)] = true
	}
	merged.Value = nil
	for w := range words {
		merged.Value = append(append(merged.Value, w...), ' ')
	}
	return merged
}

// reviver lets a value win over a deletion, whichever came first.
type reviver struct{ cover }

func (reviver) Command(tx *vnodes.Tx, cmd []byte) ([]byte, error) {
	if bytes.HasPrefix(cmd, []byte("delete ")) {
		tx.Delete(tx.Key())
		return nil, nil
	}
	tx.Put(tx.Key(), []byte("v"))
	return nil, nil
}

func (reviver) Merge(_ []byte, have, incoming vnodes.Record) vnodes.Record {
	newer, older := have, incoming
	if incoming.Stamp.Compare(have.Stamp) > 0 {
		newer, older = incoming, have
	}
	if newer.Deleted() && !older.Deleted() {
		older.Stamp = newer.Stamp
		return older
	}
	return newer
}

// lateSet keeps what came last.
type lateSet struct{ set }

func (v lateSet) Merge(key []byte, have, incoming vnodes.Record) vnodes.Record {
	merged := v.set.Merge(key, have, incoming)
	merged.Value = incoming.Value
	return merged
}

// lastWord is a set whose coverage items are those of the newest record.
type lastWord struct{ wordless }

// wordless is a set without a merge of items.
type wordless struct{ inner set }

func (v wordless) Command(tx *vnodes.Tx, cmd []byte) ([]byte, error) { return v.inner.Command(tx, cmd) }

func (v wordless) Cover(tx *vnodes.Tx, req []byte, emit func(vnodes.Item) error) error {
	return v.inner.Cover(tx, req, emit)
}

func (v wordless) Merge(key []byte, have, incoming vnodes.Record) vnodes.Record {
	return v.inner.Merge(key, have, incoming)
}

// coverMerger is a set that merges its items by a rule.
type coverMerger struct {
	wordless
	rule func(a, b vnodes.Item) vnodes.Item
}

func (v coverMerger) MergeItems(_ []byte, a, b vnodes.Item) (vnodes.Item, error) {
	return v.rule(a, b), nil
}

// sumResolver is a set of which two replicas' replies resolve to the longer one.
type sumResolver struct{ set }

func (sumResolver) Resolve(_ []byte, replies [][]byte) ([]byte, error) {
	best := replies[0]
	for _, r := range replies {
		if len(r) > len(best) || len(r) == len(best) && bytes.Compare(r, best) > 0 {
			best = r
		}
	}
	return best, nil
}

// resolver resolves replies by a rule.
type resolver struct {
	rule func(replies [][]byte) []byte
}

func (resolver) Blind([]byte) bool { return true }

func (resolver) Command(tx *vnodes.Tx, cmd []byte) ([]byte, error) {
	tx.Put(tx.Key(), cmd)
	return nil, nil
}

func (resolver) Query(tx *vnodes.Tx, _ []byte) ([]byte, error) {
	value, _ := tx.Get(tx.Key())
	return append(value, '.'), nil
}

func (v resolver) Resolve(_ []byte, replies [][]byte) ([]byte, error) { return v.rule(replies), nil }

// sighted reads what it replaces, and says that it does not.
type sighted struct{ count }

func (sighted) Blind([]byte) bool { return true }

// fragile trusts that a command does not end in a zero byte.
type fragile struct{}

func (fragile) Command(_ *vnodes.Tx, cmd []byte) ([]byte, error) {
	if bytes.HasSuffix(cmd, []byte{0}) {
		panic("a zero byte")
	}
	return nil, nil
}

// uncoded refuses commands by an error that says nothing to programs.
type uncoded struct{}

func (uncoded) Command(_ *vnodes.Tx, cmd []byte) ([]byte, error) {
	switch {
	case len(cmd) > 100:
		return nil, errors.New("too long")
	case len(cmd) == 0:
		return nil, wire.Errorf(wire.BadRequest, "a command without body")
	}
	return nil, nil
}
