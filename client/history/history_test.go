package history

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// parse reads operations on key k, one a line: "put 1 0-10 ok", "get 1 20-30",
// "get none 20-30", "delete 5-8 maybe". Times are milliseconds.
func parse(t *testing.T, text string) []Op {
	t.Helper()
	var ops []Op
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		o := Op{Client: i, Key: "k"}
		f := strings.Fields(line)
		switch f[0] {
		case "put":
			o.Kind = Put
		case "delete":
			o.Kind = Delete
		}
		if o.Kind != Delete {
			if f[1] != "none" {
				if _, err := fmt.Sscan(f[1], &o.Value); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
			}
			f = f[1:]
		}
		var from, to int
		if _, err := fmt.Sscanf(f[1], "%d-%d", &from, &to); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		o.Start, o.End = time.Duration(from)*time.Millisecond, time.Duration(to)*time.Millisecond
		if len(f) > 2 {
			o.Outcome = map[string]Outcome{"ok": OK, "failed": Failed, "maybe": Maybe}[f[2]]
		}
		ops = append(ops, o)
	}
	return ops
}

// Each fault is found in a history that has it, and none where there is none.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name, ops string
		want      Fault
	}{
		{"one after the other", "put 1 0-10\nget 1 20-30\nput 2 40-50\nget 2 60-70\ndelete 80-90\nget none 100-110", ""},
		{"before all", "get none 0-5\nput 1 10-20\nget 1 30-40", ""},
		{"read while written, old and new and old", "put 1 0-10\nput 2 20-60\nget 2 21-25\nget 1 30-40\nget 2 41-50", ""},
		{"maybe: later, then not, then again", "put 1 0-10\nput 2 20-30 maybe\nput 3 40-50\nget 3 60-61\nget 2 62-63\nget 3 64-65\nget 2 66-67", ""},
		{"maybe: a delete", "put 1 0-10\ndelete 20-30 maybe\nget 1 40-50\nget none 60-70\nget 1 80-90", ""},
		{"a put that failed is not there", "put 1 0-10\nput 2 20-30 failed\nget 1 40-50", ""},
		{"two at once: either", "put 1 0-50\nput 2 10-40\nget 1 60-70\nget 1 80-90", ""},
		{"a read that overlaps the write after", "put 1 0-10\nget 1 15-40\nput 2 20-30", ""},
		{"a delete of nothing", "delete 0-10\nget none 20-30\ndelete 40-50\nget none 60-70", ""},
		{"at one moment they overlap", "put 1 0-10\nput 2 20-30\nget 1 30-40", ""},

		{"not found", "put 1 0-10\nget none 20-30", NotFound},
		{"not found after a delete and a put", "put 1 0-10\ndelete 20-30\nput 2 40-50\nget none 60-70", NotFound},
		{"not found: the delete was before what is read", "put 1 0-50\ndelete 5-45\nget 1 60-70\nget none 80-90", NotFound},
		{"stale", "put 1 0-10\nput 2 20-30\nget 1 40-50", Stale},
		{"stale for long", "put 1 0-10\nput 2 20-30\nput 3 40-50\nget 3 60-70\nput 4 80-90\nget 1 100-110", Stale},
		{"back after a delete", "put 1 0-10\ndelete 20-30\nget 1 40-50", Resurrected},
		{"back after the new one was read", "put 1 0-10\nput 2 20-30\nget 2 40-50\nget 1 60-70", Resurrected},
		{"two at once, read one way and the other", "put 1 0-50\nput 2 10-40\nget 1 60-70\nget 2 80-90", Resurrected},
		{"two at once, read both ways at once", "put 1 0-50\nput 2 10-40\nget 1 60-90\nget 2 61-80", Stale},
		{"read maybe, replaced by what was acknowledged", "put 1 0-10\nput 2 20-30 maybe\nget 2 40-50\nput 3 60-70\nget 1 80-90", Stale},
		{"never written", "put 1 0-10\nget 7 20-30", Phantom},
		{"never written, nothing was", "get 7 20-30", Phantom},
		{"written later", "get 1 0-10\nput 1 20-30", Phantom},
		{"surely failed", "put 1 0-10\nput 2 20-30 failed\nget 2 40-50", Phantom},
		{"surely failed, and read before that was known", "put 1 0-10\nput 2 20-50 failed\nget 2 30-40", Phantom},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Check(parse(t, c.ops))
			var got Fault
			for f := range r.Faults {
				got = f
			}
			if got != c.want || len(r.Faults) > 1 || len(r.Violations) > 1 {
				t.Errorf("want %q: %v %v", c.want, r.Faults, r.Violations)
			}
			for _, v := range r.Violations {
				t.Log(v.String())
			}
		})
	}
}

// tick lets a moment pass in a bubble.
func tick() { time.Sleep(time.Millisecond) }

func do(h *History, kind Kind, key string, value Value, outcome Outcome) Value {
	tick()
	c := h.Begin(1, key, kind)
	if kind == Get {
		c.Value = value
	}
	tick()
	c.Done(outcome)
	return c.Value
}

// After Final, an acknowledged Put that is not read is lost, whatever is read instead.
func TestFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New()
		one := do(h, Put, "a", None, OK)
		two := do(h, Put, "a", None, OK)
		do(h, Put, "b", None, OK)
		do(h, Put, "c", None, OK)
		do(h, Delete, "c", None, OK)
		last := do(h, Put, "d", None, Maybe)
		h.Final()
		for _, g := range []struct {
			key   string
			value Value
		}{{"a", one}, {"b", None}, {"c", None}, {"a", two}, {"d", last}, {"d", None}} {
			do(h, Get, g.key, g.value, OK)
		}
		r := h.Report()
		if r.Faults[Lost] != 2 || len(r.Faults) != 1 {
			t.Errorf("%v %v", r.Faults, r.Violations)
		}
		if r.Puts != 5 || r.Deletes != 1 || r.Gets != 6 || r.Maybe != 1 || r.Failed != 0 {
			t.Errorf("%+v", r)
		}
	})
}

// list is a listing during which a Put of key "new" begins, is acknowledged, and is
// followed by a Delete.
func list(h *History, complete bool, keys ...string) {
	tick()
	l := h.List(9)
	do(h, Put, "new", None, OK)
	do(h, Delete, "new", None, OK)
	do(h, Delete, "going", None, OK)
	for _, k := range keys {
		l.Key(k)
	}
	tick()
	l.End(complete)
}

func TestListing(t *testing.T) {
	for _, c := range []struct {
		name     string
		keys     string
		complete bool
		want     Fault
	}{
		{"as it should be", "there going", true, ""},
		{"with what came meanwhile", "there new", true, ""},
		{"not complete", "going", false, ""},
		{"others' keys", "there somebody's", true, ""},
		{"twice", "there there", true, Duplicate},
		{"missing", "going", true, Missing},
		{"deleted", "there gone", true, Resurrected},
		{"deleted, not complete", "gone", false, Resurrected},
		{"never there", "there read", true, Phantom},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := New()
				do(h, Put, "there", None, OK)
				do(h, Put, "gone", None, OK)
				do(h, Put, "going", None, OK)
				do(h, Put, "maybe", None, Maybe)
				do(h, Delete, "gone", None, OK)
				do(h, Get, "read", None, OK)
				list(h, c.complete, strings.Fields(c.keys)...)
				r := h.Report()
				if len(r.Faults) > 1 || c.want != "" && r.Faults[c.want] != 1 || c.want == "" && len(r.Faults) > 0 {
					t.Errorf("want %q: %v %v", c.want, r.Faults, r.Violations)
				}
				// Nothing is kept for a listing that is over: the next one knows as much.
				list(h, true, "there")
				if again := h.Report(); again.Listings != 2 || len(again.Violations) != len(r.Violations) {
					t.Errorf("%v", again.Violations)
				}
			})
		})
	}
}

// What is kept of a key does not grow with its history.
func TestBoundedMemory(t *testing.T) {
	h := New()
	for range 10_000 {
		v := do0(h, Put, None)
		do0(h, Get, v)
		do0(h, Delete, None)
		do0(h, Get, None)
	}
	r := h.register("k")
	if len(r.writes) > 2 || len(r.flight)+len(r.maybe)+len(r.failed) > 0 {
		t.Errorf("%d writes, %d under way", len(r.writes), len(r.flight))
	}
	if rep := h.Report(); len(rep.Faults) > 0 {
		t.Errorf("%v", rep.Violations)
	}
}

func do0(h *History, kind Kind, value Value) Value {
	c := h.Begin(1, "k", kind)
	if kind == Get {
		c.Value = value
	}
	c.Done(OK)
	return c.Value
}

func ExampleHistory() {
	store := map[string]Value{} // stands for what is tested
	h := New()

	put := h.Begin(1, "key", Put)
	store["key"] = put.Value
	put.Done(OK)

	delete(store, "key") // the fault

	get := h.Begin(2, "key", Get)
	get.Value = store["key"]
	get.Done(OK)

	fmt.Println(h.Report().Faults)
	// Output: map[not_found:1]
}
