package vnodes

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A table is like a map of versions, whatever is asked of it in between.
func TestTableLikeModel(t *testing.T) {
	pool := newBlockPool()
	defer pool.close()
	rapid.Check(t, func(rt *rapid.T) {
		tab := newTable(pool)
		defer tab.free()
		type versions []struct {
			at position
			r  Record
		}
		model := make(map[string]versions)
		now, durable := position(1), position(1)
		// seen is the newest version before a position, nil if there is none.
		seen := func(key string, before position) *Record {
			all := model[key]
			for i := range slices.Backward(all) {
				if all[i].at < before {
					return &all[i].r
				}
			}
			return nil
		}
		rt.Repeat(map[string]func(*rapid.T){
			"set": func(rt *rapid.T) {
				for range rapid.IntRange(1, 60).Draw(rt, "count") {
					key, r := drawStoreKey(rt), drawRecord(rt)
					if rapid.IntRange(0, 20).Draw(rt, "large") == 0 {
						r.Value = bytes.Repeat([]byte("x"), blockSize/4+rapid.IntRange(-100, 100_000).Draw(rt, "size"))
					}
					tab.set(key, &r, now, durable)
					model[string(key)] = append(model[string(key)], struct {
						at position
						r  Record
					}{now, r})
					now++
				}
			},
			"sync": func(*rapid.T) { durable = now },
			"find": func(rt *rapid.T) {
				key := drawStoreKey(rt)
				for _, before := range []position{durable, now} {
					v, ok := tab.visible(key, before)
					want := seen(string(key), before)
					if ok != (want != nil) {
						rt.Fatalf("%s before %v: %v", shortKey(key), before, ok)
					}
					if !ok {
						continue
					}
					if got, err := v.record(key); err != nil || !equalRecords(got, *want) {
						rt.Fatalf("%s before %v: %+v, %v, not %+v", shortKey(key), before, got, err, want)
					}
				}
			},
			"from": func(rt *rapid.T) {
				for !tab.ordered() {
					tab.order()
				}
				from := drawStoreKey(rt)
				var want []string
				for _, key := range slices.Sorted(maps.Keys(model)) {
					if key >= string(from) && seen(key, durable) != nil {
						want = append(want, key)
					}
				}
				p := tab.from(from, durable)
				if !p.cut && len(p.items) != len(want) || p.cut && len(p.items) == 0 {
					rt.Fatalf("%d of %d keys, cut %v", len(p.items), len(want), p.cut)
				}
				for i, k := range p.items {
					got, err := parseRecord(k.key, k.stored)
					if string(k.key) != want[i] || err != nil || !equalRecords(got, *seen(want[i], durable)) {
						rt.Fatalf("number %d: %s, %v", i, shortKey(k.key), err)
					}
				}
			},
			"sorted": func(rt *rapid.T) {
				var keys []string
				if len(model) > 0 {
					for _, number := range tab.sorted(0, len(tab.keys)) {
						keys = append(keys, string(tab.key(number)))
					}
				}
				if !slices.Equal(keys, slices.Sorted(maps.Keys(model))) {
					rt.Fatalf("%d keys of %d, or in another order", len(keys), len(model))
				}
			},
		})
	})
}

// Memory of tables is used again, and goes when it is not needed.
func TestBlocksComeBack(t *testing.T) {
	pool := newBlockPool()
	defer pool.close()
	for range 10 {
		tab := newTable(pool)
		for i := range 2000 {
			r := Record{Value: make([]byte, 1000)}
			tab.set([]byte{byte(i >> 8), byte(i)}, &r, position(i+1), 0)
		}
		r := Record{Value: make([]byte, 1<<20)}
		tab.set([]byte("large"), &r, 9999, 0)
		tab.free()
	}
	if n := len(pool.regions) * regionBlocks * blockSize; n > 4<<20 || len(pool.large) != 0 {
		t.Errorf("%d bytes for tables of 2 MB, and %d large ones", n, len(pool.large))
	}
	for range 300 {
		pool.shrink()
	}
	if len(pool.free) != 0 {
		t.Errorf("%d blocks kept for nobody", len(pool.free))
	}
}
