package codec

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// twins are one copy's Object in two worlds: in one, what is settled is forgotten.
type twins struct{ forgets, remembers Object }

func values(o *Object) []string {
	var all []string
	for _, v := range o.Values() {
		all = append(all, string(v.Value))
	}
	return all
}

// With what is settled forgotten, all copies hold the same values at any time as without:
// nothing replaced comes back, nothing is replaced that nobody has seen. Each write is one
// of a new copy, as after a loss, so that lists grow as fast as they can.
func TestSettleChangesNoValue(t *testing.T) {
	longest := 0
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 1))
		var copies [3]twins
		now, settled := uint64(0), uint64(0)
		contexts := [][2]Context{{}} // of reads at any time before, in both worlds
		for step := range 400 {
			now++
			c := &copies[r.IntN(len(copies))]
			switch op := r.IntN(20); {
			case op < 12: // a put, or a delete, with what some reader has seen
				seen := contexts[len(contexts)-1-r.IntN(min(len(contexts), 8))]
				c.forgets.Forget(seen[0])
				c.remembers.Forget(seen[1])
				if op < 10 {
					s := Sibling{Dot: Dot{Actor: now, Time: now}, ID: now, Envelope: Envelope{Value: fmt.Append(nil, now)}}
					c.forgets.Put(s)
					c.remembers.Put(s)
				}
				c.forgets.Settle(settled)
			case op < 15:
				contexts = append(contexts, [2]Context{c.forgets.Context(), c.remembers.Context()})
			case op < 19: // two copies meet, one way or both
				other := &copies[r.IntN(len(copies))]
				c.forgets = MergeObjects(&c.forgets, &other.forgets)
				c.remembers = MergeObjects(&c.remembers, &other.remembers)
			case r.IntN(3) == 0: // all compare: what is this old is with all of them
				for range 2 {
					for i := range copies {
						for j := range copies {
							copies[i].forgets = MergeObjects(&copies[i].forgets, &copies[j].forgets)
							copies[i].remembers = MergeObjects(&copies[i].remembers, &copies[j].remembers)
						}
					}
				}
				settled = now
			}
			for i := range copies {
				c := &copies[i]
				longest = max(longest, len(c.forgets.seen))
				if got, want := values(&c.forgets), values(&c.remembers); !slices.Equal(got, want) {
					t.Fatalf("seed %d, step %d, copy %d: %q, and %q where nothing is forgotten", seed, step, i, got, want)
				}
				if !c.forgets.normal() {
					t.Fatalf("seed %d, step %d: %+v is in no normal form", seed, step, c.forgets)
				}
			}
		}
		if len(copies[0].remembers.seen) <= MaxActors/2 {
			t.Fatalf("seed %d: only %d actors: too few to prove anything", seed, len(copies[0].remembers.seen))
		}
	}
	t.Logf("at most %d actors are remembered", longest)
	if longest > MaxActors {
		t.Errorf("%d actors are remembered", longest)
	}
}
