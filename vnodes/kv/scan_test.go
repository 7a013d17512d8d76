package kv

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// scanAll follows the cursors and returns how often each key came, and the most in one step.
func scanAll(t *testing.T, k *KV, count int, between func(step int)) (seen map[string]int, most int) {
	t.Helper()
	seen = map[string]int{}
	for cursor, step := uint64(0), 0; ; step++ {
		keys, next, err := k.Scan(t.Context(), "b", cursor, count, Options{})
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		for _, key := range keys {
			seen[string(key)]++
		}
		most = max(most, len(keys))
		if next == 0 {
			return seen, most
		}
		if next>>50 != 0 {
			t.Fatalf("cursor %d has more than 50 bits", next)
		}
		if step > 10_000 {
			t.Fatal("the scan does not end")
		}
		cursor = next
		between(step)
	}
}

func TestScanSeesEveryKeyOnce(t *testing.T) {
	for _, n := range []int{0, 1, 10, 500, 12_000} {
		k := newFake(1).kv()
		for i := range n {
			put(t, k, fmt.Sprint(i), "v")
		}
		for _, count := range []int{1, 10, 5000} {
			seen, most := scanAll(t, k, count, func(int) {})
			if len(seen) != n {
				t.Fatalf("%d keys, count %d: %d seen", n, count, len(seen))
			}
			for key, times := range seen {
				if times != 1 {
					t.Fatalf("%d keys, count %d: key %q came %d times", n, count, key, times)
				}
			}
			if most > 3*max(count, scanMinKeys) {
				t.Errorf("%d keys, count %d: %d at once", n, count, most)
			}
		}
	}
}

// Keys that are there throughout are seen once, whatever comes and goes meanwhile.
func TestScanWhileKeysComeAndGo(t *testing.T) {
	k := newFake(1).kv()
	for i := range 6000 {
		put(t, k, fmt.Sprintf("stay %d", i), "v")
		if i%3 == 0 {
			put(t, k, fmt.Sprintf("go %d", i), "v")
		}
	}
	seen, _ := scanAll(t, k, 100, func(step int) {
		for i := range 300 {
			put(t, k, fmt.Sprintf("come %d %d", step, i), "v")
			_, err := k.Delete(t.Context(), "b", fmt.Appendf(nil, "go %d", 3*(step*300+i)), Options{})
			if err != nil && !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
		}
	})
	for i := range 6000 {
		if n := seen[fmt.Sprintf("stay %d", i)]; n != 1 {
			t.Fatalf("key %d came %d times", i, n)
		}
	}
}

func TestScanWindowKeepsTheFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		positions := rapid.SliceOfN(rapid.Uint64Range(0, 50), 0, 60).Draw(t, "positions")
		n := rapid.IntRange(1, 20).Draw(t, "max")
		w := scanWindow{end: 51}
		for _, x := range positions {
			w.keys = append(w.keys, scanKey{position: x})
		}
		w.trim(n)
		below := 0
		for _, x := range positions {
			if x < w.end {
				below++
			}
		}
		if len(w.keys) != below || below < min(n, len(positions)) {
			t.Fatalf("%d kept, %d lie below the end %d, %d asked for", len(w.keys), below, w.end, n)
		}
	})
}

func TestScanRefusesWhatItCannotAnswer(t *testing.T) {
	f := newFake(1)
	k := f.kv()
	for _, c := range []uint64{1<<64 - 1, 63, 1 << 50} {
		if _, _, err := k.Scan(t.Context(), "b", c, 10, Options{}); !errors.Is(err, &wire.Error{Code: wire.BadRequest}) {
			t.Errorf("cursor %d: %v", c, err)
		}
	}
	f.down[1] = true
	if _, _, err := k.Scan(t.Context(), "b", 0, 10, Options{}); !errors.Is(err, &wire.Error{Code: wire.Unavailable}) {
		t.Errorf("with a partition down: %v", err)
	}
}
