//go:build linux

package main

import "testing"

// What is worse than the baseline says is told, what is better or noise is not, and
// neither is anything left out silently.
func TestGuardWorse(t *testing.T) {
	was := guardFigures{CPU: 10, Allocs: 20}
	for name, c := range map[string]struct {
		is   guardFigures
		want int
	}{
		"same":      {was, 0},
		"noise":     {guardFigures{CPU: 11.4, Allocs: 22.9}, 0},
		"better":    {guardFigures{CPU: 1}, 0},
		"dearer":    {guardFigures{CPU: 11.6, Allocs: 20}, 1},
		"allocates": {guardFigures{CPU: 10, Allocs: 24}, 1},
		"both":      {guardFigures{CPU: 13, Allocs: 26}, 2},
	} {
		if got := guardWorse(map[string]guardFigures{"put": was}, map[string]guardFigures{"put": c.is}); len(got) != c.want {
			t.Errorf("%s: %q, want %d", name, got, c.want)
		}
	}
	if got := guardWorse(map[string]guardFigures{"put": was}, map[string]guardFigures{"get": was}); len(got) != 2 {
		t.Errorf("one is not measured, one has no baseline: %q", got)
	}
}

// The yardstick does what it says: every frame comes back.
func TestYardstick(t *testing.T) {
	y := newYardstick(t, 8)
	get := y.target().Get
	done := make(chan error)
	for caller := range 8 {
		go func() {
			var err error
			for range 100 {
				err = get(t.Context(), caller, []byte("key"))
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if err := y.close(); err != nil {
		t.Error(err)
	}
}
