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
