package ring_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ringcore/ringcore/metadata/ring"
)

// genRing draws any valid ring.
func genRing(t *rapid.T) *ring.Ring {
	r := &ring.Ring{
		Epoch: ring.Epoch(rapid.Uint64().Draw(t, "epoch")),
		N:     rapid.IntRange(1, ring.MaxReplicas).Draw(t, "n"),
	}
	rebuilds := rapid.Bool().Draw(t, "rebuilds")
	for range 8 << rapid.IntRange(0, 2).Draw(t, "log q") {
		a := ring.Assignment{Gen: ring.Gen(rapid.Uint64Min(1).Draw(t, "gen"))}
		if rebuilds {
			a.Rebuilt = ring.Gen(rapid.Uint64Max(uint64(a.Gen)).Draw(t, "rebuilt"))
		}
		for _, n := range genList(t, 1, "list") {
			a.Replicas = append(a.Replicas, ring.Replica{Node: n, CatchingUp: rapid.Bool().Draw(t, "catching up")})
		}
		r.Assignments = append(r.Assignments, a)
	}
	return r
}

func TestARingSurvivesJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// As a field by value and by pointer: both must take the compact form.
		type state struct {
			Ring ring.Ring
			Next *ring.Ring
		}
		s := state{*genRing(t), genRing(t)}
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back state
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(s, back); d != "" {
			t.Fatal(d)
		}
	})
}

func TestARingsJSONIsCompact(t *testing.T) {
	r := ringOf(3, ring.Claim(equals(3), 8, 2, nil)).WithEpoch(7)
	r.Assignments[2].Gen, r.Assignments[2].Rebuilt = 5, 4
	r.Assignments[2].Replicas[1].CatchingUp = true
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"epoch":7,"n":3,"nodes":["node000","node001","node002"],"gens":[1,1,5,1,1,1,1,1],"rebuilt":[0,0,4,0,0,0,0,0],"replicas":[`
	if got := string(data); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, `],"catching":[[2,1]]}`) {
		t.Errorf("got %s", got)
	}
}

func TestWhatNoRingMayBeIsNotDecoded(t *testing.T) {
	const good = `{"epoch":1,"n":1,"nodes":["a","b"],"gens":[1,1,1,1,1,1,1,1],"replicas":[[0],[0],[0],[0],[0],[0],[0],[0,1]]}`
	var r ring.Ring
	if err := json.Unmarshal([]byte(good), &r); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string][2]string{
		"no list of gens":      {`"gens":[1,1,1,1,1,1,1,1],`, ``},
		"one gen too many":     {`"gens":[1,`, `"gens":[1,1,`},
		"gen zero":             {`"gens":[1,`, `"gens":[0,`},
		"too few rebuilt":      {`"replicas"`, `"rebuilt":[1],"replicas"`},
		"rebuilt after gen":    {`"replicas"`, `"rebuilt":[2,0,0,0,0,0,0,0],"replicas"`},
		"seven partitions":     {`[0],[0],[0],[0],[0],[0],[0],`, `[0],[0],[0],[0],[0],[0],`},
		"empty list":           {`[[0],`, `[[],`},
		"node twice":           {`[0,1]`, `[0,0]`},
		"node of no table":     {`[0,1]`, `[0,2]`},
		"negative node":        {`[0,1]`, `[0,-1]`},
		"table with one twice": {`["a","b"]`, `["a","a"]`},
		"nameless node":        {`["a","b"]`, `["","b"]`},
		"list too long":        {`[0,1]`, `[0,1,0,1,0,1,0,1]`},
		"no replicas wanted":   {`"n":1`, `"n":0`},
		"catching beyond ring": {`"replicas"`, `"catching":[[8,0]],"replicas"`},
		"catching beyond list": {`"replicas"`, `"catching":[[0,1]],"replicas"`},
		"catching before ring": {`"replicas"`, `"catching":[[-1,0]],"replicas"`},
		"no object":            {good, `[]`},
	} {
		bad := strings.Replace(good, c[0], c[1], 1)
		if bad == good {
			t.Fatalf("%s: nothing replaced", what)
		}
		var r ring.Ring
		if err := json.Unmarshal([]byte(bad), &r); err == nil {
			t.Errorf("%s: decoded", what)
		} else if r.Assignments != nil {
			t.Errorf("%s: half decoded", what)
		}
	}
	if _, err := json.Marshal(&ring.Ring{}); err == nil {
		t.Error("an empty ring is encoded")
	}
}

func FuzzDecodeRing(f *testing.F) {
	for _, r := range []*ring.Ring{ring.New(8, 3, "a"), ringWith([]ring.NodeID{"a", "b", "c"})} {
		data, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"gens":[1],"replicas":[[0]],"catching":[[0]]}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r ring.Ring
		if json.Unmarshal(data, &r) != nil || r.Assignments == nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("decoded and cannot be encoded: %v", err)
		}
		var back ring.Ring
		if err := json.Unmarshal(again, &back); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r, back); d != "" {
			t.Fatal(d)
		}
	})
}
