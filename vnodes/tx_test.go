package vnodes

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// scripted runs what a test tells it.
type scripted struct {
	command func(tx *Tx) ([]byte, error)
	query   func(tx *Tx) ([]byte, error)
}

func (s *scripted) Command(tx *Tx, _ []byte) ([]byte, error) { return s.command(tx) }
func (s *scripted) Query(tx *Tx, _ []byte) ([]byte, error)   { return s.query(tx) }

func scriptedNode(t *testing.T) (*simNode, *scripted) {
	t.Helper()
	s := &scripted{}
	_, n := oneNode(t, 1, func(ring.Partition) Vnode { return s })
	return n, s
}

func (n *simNode) run(s *scripted, f func(tx *Tx) ([]byte, error)) answer {
	s.command = f
	return n.command("a", "")
}

// A command sees its own writes; all of them are there afterwards, each key once, in
// its last version, under one write id.
func TestTxSeesItsWrites(t *testing.T) {
	n, s := scriptedNode(t)
	got := n.run(s, func(tx *Tx) ([]byte, error) {
		value := []byte("first")
		tx.Put([]byte("x"), value)
		copy(value, "XXXXX") // it was copied
		if v, ok := tx.Get([]byte("x")); !ok || string(v) != "first" {
			t.Errorf("own write: %q, %v", v, ok)
		}
		tx.Put([]byte("x"), []byte("second"))
		tx.Put([]byte("y"), nil)
		tx.Delete([]byte("y"))
		if _, ok := tx.Get([]byte("y")); ok {
			t.Error("deleted and found")
		}
		if r, ok := tx.Record([]byte("y")); !ok || !r.Deleted() {
			t.Errorf("the tombstone: %+v, %v", r, ok)
		}
		if tx.Partition() != partitionOf("a") || string(tx.Key()) != "a" || tx.Bucket() != "" || tx.Err() != nil {
			t.Errorf("addressed to %d %q %q, %v", tx.Partition(), tx.Bucket(), tx.Key(), tx.Err())
		}
		tx.Ascend(nil, func(key []byte, _ Record) bool { t.Errorf("Ascend sees %q", key); return true })
		return []byte("done"), nil
	})
	writes, err := ParseWrites(got.effect)
	if got.code != wire.OK || string(got.body) != "done" || err != nil || len(writes) != 2 {
		t.Fatalf("%v, effect %+v, %v", got, writes, err)
	}
	if w := writes[0]; string(w.Key) != "x" || string(w.Record.Value) != "second" || w.Record.Stamp.ID == 0 || w.Record.Stamp.ID != writes[1].Record.Stamp.ID {
		t.Errorf("%+v", writes)
	}
	n.run(s, func(tx *Tx) ([]byte, error) {
		if r, ok := tx.Record([]byte("x")); !ok || r.Stamp != writes[0].Record.Stamp {
			t.Errorf("the next command sees %+v, %v", r, ok)
		}
		return nil, nil
	})
}

// A tombstone may say what it stands for; on a fallback, what is not held is no failure
// for who asks what is.
func TestTxBuryAndHeld(t *testing.T) {
	n, s := scriptedNode(t)
	got := n.run(s, func(tx *Tx) ([]byte, error) {
		if r, ok := tx.Held([]byte("x")); ok || tx.Err() != nil {
			t.Errorf("held before: %+v, %v", r, tx.Err())
		}
		tx.Bury([]byte("x"), []byte("what was there"))
		r, ok := tx.Held([]byte("x"))
		if _, found := tx.Get([]byte("x")); !ok || found || !r.Deleted() || string(r.Value) != "what was there" {
			t.Errorf("held: %+v, %v, found %v", r, ok, found)
		}
		return nil, nil
	})
	if writes, err := ParseWrites(got.effect); err != nil || len(writes) != 1 || !writes[0].Record.Deleted() || string(writes[0].Record.Value) != "what was there" {
		t.Errorf("effect %+v, %v", writes, err)
	}
	store := &memStore{file: &memFile{number: 7}, storage: &memoryStorage{}}
	tx := &Tx{store: store, partial: true, stamp: func(Stamp) (Stamp, error) { return Stamp{}, nil }, rename: func(id uint64) uint64 { return id + 1 }}
	if _, ok := tx.Held([]byte("none")); ok || tx.Err() != nil {
		t.Errorf("held by a fallback: %v, %v", ok, tx.Err())
	}
	if a := tx.Actor(); a != 8 {
		t.Errorf("actor %d", a)
	}
	if _, ok := tx.Record([]byte("none")); ok || tx.Err() == nil {
		t.Errorf("record of a fallback: %v, %v", ok, tx.Err())
	}
}

// The first failure sticks, whatever the command returns, and nothing is written.
func TestTxFailureSticks(t *testing.T) {
	n, s := scriptedNode(t)
	long := bytes.Repeat([]byte("k"), maxKeySize+1)
	for name, c := range map[string]struct {
		fail func(tx *Tx)
		want wire.Code
	}{
		"empty key": {func(tx *Tx) { tx.Put(nil, []byte("x")) }, wire.BadRequest},
		"long key":  {func(tx *Tx) { tx.Delete(long) }, wire.TooLarge},
	} {
		got := n.run(s, func(tx *Tx) ([]byte, error) {
			tx.Put([]byte("before"), []byte("x"))
			c.fail(tx)
			err := tx.Err()
			if asError(err).Code != c.want {
				t.Errorf("%s: %v", name, err)
			}
			tx.Put([]byte("after"), []byte("x"))
			if _, ok := tx.Get([]byte("before")); ok {
				t.Errorf("%s: reads find something after the failure", name)
			}
			tx.Ascend(nil, func([]byte, Record) bool { t.Errorf("%s: so does Ascend", name); return true })
			if tx.Err() != err {
				t.Errorf("%s: %v became %v", name, err, tx.Err())
			}
			return []byte("all well"), nil
		})
		if got.code != c.want || got.effect != nil {
			t.Errorf("%s: %v, effect %q", name, got, got.effect)
		}
	}
	n.run(s, func(tx *Tx) ([]byte, error) {
		tx.Ascend(nil, func(key []byte, _ Record) bool { t.Errorf("%q was written", key); return true })
		return nil, nil
	})
}

// An error of the command undoes its writes, and reaches the caller with its code.
func TestTxUndone(t *testing.T) {
	n, s := scriptedNode(t)
	for _, c := range []struct {
		err  error
		want wire.Code
		text string
	}{
		{wire.Errorf(wire.Refused, "not today"), wire.Refused, "not today"},
		{errors.New("some trouble"), wire.Internal, "some trouble"},
	} {
		got := n.run(s, func(tx *Tx) ([]byte, error) {
			tx.Put([]byte("x"), []byte("x"))
			return nil, c.err
		})
		if got.code != c.want || !strings.Contains(string(got.body), c.text) || got.effect != nil {
			t.Errorf("%v: %v, effect %q", c.err, got, got.effect)
		}
	}
	n.run(s, func(tx *Tx) ([]byte, error) {
		if _, ok := tx.Record([]byte("x")); ok {
			t.Error("an undone write is there")
		}
		return nil, nil
	})
}

// A query refuses writes and sees what is durable.
func TestTxOfQueryIsReadOnly(t *testing.T) {
	n, s := scriptedNode(t)
	n.run(s, func(tx *Tx) ([]byte, error) { tx.Put(tx.Key(), []byte("1")); return nil, nil })
	s.query = func(tx *Tx) ([]byte, error) {
		v, _ := tx.Get(tx.Key())
		tx.Put(tx.Key(), []byte("2"))
		if !errors.Is(tx.Err(), errReadOnly) {
			t.Errorf("%v", tx.Err())
		}
		return v, nil
	}
	read := request(wire.OpRead, n.w.ring(), "kv", "a", "")
	if got := n.ask(read); got.code != wire.Internal {
		t.Errorf("a query that writes: %v", got)
	}
	s.query = func(tx *Tx) ([]byte, error) { v, _ := tx.Get(tx.Key()); return v, nil }
	if got := n.ask(request(wire.OpRead, n.w.ring(), "kv", "a", "")); string(got.body) != "1" {
		t.Errorf("%v", got)
	}
}

// Commands can name their vnode's copy and moments of it.
func TestTxNames(t *testing.T) {
	n, s := scriptedNode(t)
	var actors []uint64
	var stamps []Stamp
	for range 2 {
		n.run(s, func(tx *Tx) ([]byte, error) {
			actors = append(actors, tx.Actor())
			stamps = append(stamps, tx.NewStamp(Stamp{}), tx.NewStamp(Stamp{}))
			return nil, tx.Err()
		})
		n.stop()
		n.start()
	}
	if len(actors) != 2 || actors[0] == 0 || actors[1] != actors[0] {
		t.Errorf("actors %d: want one name, also after a restart", actors)
	}
	for i := 1; i < len(stamps); i++ {
		if stamps[i].Compare(stamps[i-1]) <= 0 {
			t.Errorf("stamp %v after %v", stamps[i], stamps[i-1])
		}
	}
	s.query = func(tx *Tx) ([]byte, error) {
		return nil, errors.Join(errIf(tx.Actor() != 0), errIf(!tx.NewStamp(Stamp{}).IsZero()))
	}
	if got := n.ask(request(wire.OpRead, n.w.ring(), "kv", "a", "")); got.code != wire.Internal || !strings.Contains(string(got.body), errReadOnly.Error()) {
		t.Errorf("a query that names: %v", got)
	}
}

func errIf(wrong bool) error {
	if wrong {
		return errors.New("a query was given a name")
	}
	return nil
}

// A command without writes has no effect for the others.
func TestTxWithoutWrites(t *testing.T) {
	n, s := scriptedNode(t)
	if got := n.run(s, func(*Tx) ([]byte, error) { return []byte("read"), nil }); got.code != wire.OK || got.effect != nil {
		t.Errorf("%v, effect %q", got, got.effect)
	}
}
