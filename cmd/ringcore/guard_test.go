//go:build linux

package main

import "testing"

// What is worse than the baseline says is told, what is better or noise is not, and
// neither is anything left out silently.
func TestGuardWorse(t *testing.T) {
	was := guardFigures{CPU: 10, ServerAllocs: 20, ClientAllocs: 0}
	for name, c := range map[string]struct {
		is   guardFigures
		want int
	}{
		"same":       {was, 0},
		"noise":      {guardFigures{CPU: 11.4, ServerAllocs: 22.9, ClientAllocs: 0.009}, 0},
		"better":     {guardFigures{CPU: 1}, 0},
		"dearer":     {guardFigures{CPU: 11.6, ServerAllocs: 20}, 1},
		"allocates":  {guardFigures{CPU: 10, ServerAllocs: 24, ClientAllocs: 1}, 2},
		"everything": {guardFigures{CPU: 13, ServerAllocs: 26, ClientAllocs: 0.1}, 3},
	} {
		if got := guardWorse(map[string]guardFigures{"put": was}, map[string]guardFigures{"put": c.is}); len(got) != c.want {
			t.Errorf("%s: %q, want %d", name, got, c.want)
		}
	}
	if got := guardWorse(map[string]guardFigures{"put": was}, map[string]guardFigures{"get": was}); len(got) != 2 {
		t.Errorf("one is not measured, one has no baseline: %q", got)
	}
}

// The yardstick does what it says: every frame comes back, with and without a file.
func TestYardstick(t *testing.T) {
	for _, synced := range []bool{false, true} {
		y := newYardstick(t, 8, synced)
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
			t.Errorf("synced %v: %v", synced, err)
		}
	}
}
