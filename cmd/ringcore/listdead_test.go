package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// deadList is a cluster of five and a bucket whose keys are listed while nodes are dead.
type deadList struct {
	t     *testing.T
	nodes []*process
	dead  map[string]bool
	keys  []string
	ring  struct {
		Partitions int
		Owners     [][]string
	}
}

func newDeadList(t *testing.T, replicas string) *deadList {
	t.Helper()
	n1 := startProcess(t, "n1", "--replicas", replicas, "--partitions", "32", "--log-level", "warn")
	d := &deadList{t: t, nodes: []*process{n1}, dead: map[string]bool{}}
	for i := 2; i <= 5; i++ {
		d.nodes = append(d.nodes, startProcess(t, fmt.Sprint("n", i), "--join", n1.addr, "--log-level", "warn"))
	}
	settle(t, d.nodes...)
	for i := range 300 {
		key := fmt.Sprintf("key%03d", i)
		put(t, d.nodes[i%5], key, "v")
		d.keys = append(d.keys, key)
	}
	if err := n1.get("/v1/ring", &d.ring); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *deadList) kill(names ...string) {
	for _, p := range d.nodes {
		if slices.Contains(names, p.name) {
			p.kill()
			d.dead[p.name] = true
		}
	}
}

// missing are the partitions all of whose owners are dead.
func (d *deadList) missing() map[int]bool {
	out := map[int]bool{}
	for p, owners := range d.ring.Owners {
		if !slices.ContainsFunc(owners, func(name string) bool { return !d.dead[name] }) {
			out[p] = true
		}
	}
	return out
}

// check lists the keys at every living node, as soon as the others are dead: each key
// of a partition that has an owner is there, once, and the others' partitions are named.
func (d *deadList) check() {
	d.t.Helper()
	missing := d.missing()
	var want []string
	for _, key := range d.keys {
		if !missing[int(ring.Locate(ring.HashKey(codec.DefaultBucket, []byte(key)), d.ring.Partitions))] {
			want = append(want, key)
		}
	}
	for _, p := range d.nodes {
		if d.dead[p.name] {
			continue
		}
		out, stderr, code := p.ringcore("kv", "keys", "-o", "json", "--timeout", "30s")
		var l listing
		if err := json.Unmarshal([]byte(out), &l); err != nil {
			d.t.Fatalf("keys at %s: exit %d, %v: %s %s", p.name, code, err, out, stderr)
		}
		var got []string
		for _, part := range l.Items {
			for _, item := range part.Items {
				got = append(got, item.(string))
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			d.t.Errorf("%s lists %d keys, want %d", p.name, len(got), len(want))
		}
		slices.Sort(l.Missing)
		if all := slices.Sorted(maps.Keys(missing)); l.Complete != (len(missing) == 0) || !slices.Equal(l.Missing, all) {
			d.t.Errorf("%s: complete %v, missing %v; of partitions %v both owners are dead", p.name, l.Complete, l.Missing, all)
		}
		if (code == exitOK) != l.Complete || !l.Complete && !strings.Contains(stderr, "are missing") {
			d.t.Errorf("%s: exit %d: %s", p.name, code, stderr)
		}
	}
}

// Five nodes, one is dead: the list of keys is complete.
func TestListWithDeadNode(t *testing.T) {
	d := newDeadList(t, "3")
	d.kill("n2")
	d.check()
	if len(d.missing()) > 0 {
		t.Errorf("%v has no living owner", d.missing())
	}
}

// Five nodes with two replicas, two are dead: the list says which partitions are
// missing, and is whole again when they are back.
func TestListNamesMissingPartitions(t *testing.T) {
	long(t)
	d := newDeadList(t, "2")
	d.check()
	var pair []string // owners of one partition, so that there is something to miss
	for _, owners := range d.ring.Owners {
		if !slices.Contains(owners, "n1") {
			pair = owners
		}
	}
	d.kill(pair...)
	if len(d.missing()) == 0 {
		t.Fatalf("%v are dead, and no partition was theirs alone", pair)
	}
	d.check()
	for _, p := range d.nodes {
		if d.dead[p.name] {
			p.restart()
		}
	}
	clear(d.dead)
	settle(t, d.nodes...)
	d.check()
}
