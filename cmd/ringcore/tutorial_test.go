package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// tutorialCluster makes three nodes the way the tutorial does: each alone at
// first, then nodes 2 and 3 join node 1.
func tutorialCluster(t *testing.T, replicas string) []*process {
	t.Helper()
	n1 := startProcess(t, "n1", "--replicas", replicas)
	status := n1.ok("ring", "status")
	if !strings.Contains(status, "Node a: 64 (100.0%) n1") || !strings.Contains(status, strings.Repeat("aaaa|", 16)) {
		t.Fatalf("one node alone: ring status says\n%s", status)
	}
	n2, n3 := startProcess(t, "n2"), startProcess(t, "n3")
	n2.ok("cluster", "join", n1.addr, "--commit")
	n3.ok("cluster", "join", n1.addr, "--commit")
	settle(t, n1, n2, n3)
	return []*process{n1, n2, n3}
}

// shares reads "Node a: 21 ( 32.8%) n1" lines.
func shares(t *testing.T, status string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?m)^Node \w: +(\d+) \( *([\d.]+)%\) (\S+)$`).FindAllStringSubmatch(status, -1) {
		found[m[3]] = m[1] + " " + m[2]
	}
	return found
}

// The figure of a settled three-node ring: 21, 22 and 21 partitions in some
// order, and sixteen groups of four letters.
func TestTutorialRing(t *testing.T) {
	nodes := tutorialCluster(t, "1")
	status := nodes[2].ok("ring", "status")
	got := slices.Sorted(maps.Values(shares(t, status)))
	if !slices.Equal(got, []string{"21 32.8", "21 32.8", "22 34.4"}) {
		t.Errorf("shares %v in\n%s", got, status)
	}
	if !regexp.MustCompile(`(?m)^([abc]{4}\|){16}$`).MatchString(status) {
		t.Errorf("no ring of 16 groups in\n%s", status)
	}
	for _, rule := range []string{"==================================== Nodes ====================================", "==================================== Ring ====================================="} {
		if !strings.Contains(status, rule) {
			t.Errorf("%q is missing in\n%s", rule, status)
		}
	}
}

// The tutorial's own test suite, with one replica as there and with three.
func TestTutorialSuite(t *testing.T) {
	for _, replicas := range []string{"1", "3"} {
		t.Run("replicas"+replicas, func(t *testing.T) {
			nodes := tutorialCluster(t, replicas)
			t.Run("ping", func(t *testing.T) { pingTest(t, nodes) })
			t.Run("key_value", func(t *testing.T) { keyValueTest(t, nodes) })
			t.Run("coverage", func(t *testing.T) { coverageTest(t, nodes) })
		})
	}
}

func pingTest(t *testing.T, nodes []*process) {
	for _, p := range nodes {
		if out := p.ok("ping"); !regexp.MustCompile(`^pong \d+ n[123]$`).MatchString(out) {
			t.Errorf("ping at %s: %q", p.name, out)
		}
	}
	index := nodes[0].ok("ping", "somekey")
	for _, p := range nodes { // the same key goes to the same partition, whoever is asked
		if out := p.ok("ping", "somekey"); strings.Fields(out)[1] != strings.Fields(index)[1] {
			t.Errorf("ping somekey at %s: %q, elsewhere %q", p.name, out, index)
		}
	}
}

func keyValueTest(t *testing.T, nodes []*process) {
	for i := 1; i <= 3; i++ {
		nodes[0].ok("kv", "put", fmt.Sprint("k", i), fmt.Sprint("v", i))
	}
	for _, p := range nodes {
		for i := 1; i <= 3; i++ {
			if got := p.ok("kv", "get", fmt.Sprint("k", i)); got != fmt.Sprint("v", i) {
				t.Errorf("k%d at %s: %q", i, p.name, got)
			}
		}
		notFound(t, p, "kv", "get", "k10")
	}
	nodes[1].ok("kv", "put", "k2", "v2b")
	for _, p := range nodes {
		if got := p.ok("kv", "get", "k2"); got != "v2b" {
			t.Errorf("k2 at %s after it was put again: %q", p.name, got)
		}
	}
	if old := nodes[2].ok("kv", "delete", "k2"); old != "v2b" {
		t.Errorf("delete answers %q, not the newest value", old)
	}
	for _, p := range nodes {
		notFound(t, p, "kv", "get", "k2")
	}
	notFound(t, nodes[0], "kv", "delete", "k2")
	nodes[0].ok("kv", "put", "k2", "v2c")
	for _, p := range nodes {
		if got := p.ok("kv", "get", "k2"); got != "v2c" {
			t.Errorf("k2 at %s after delete and put: %q", p.name, got)
		}
	}
}

func notFound(t *testing.T, p *process, args ...string) {
	t.Helper()
	out, errOut, code := p.ringcore(args...)
	if code != 1 || out != "" || !strings.Contains(errOut, "not found") {
		t.Errorf("%v at %s: exit %d, %q, %q; want not found", args, p.name, code, out, errOut)
	}
}

// keyListing is the JSON of kv keys and kv values.
type keyListing struct {
	Complete bool
	Missing  []int
	Items    []struct {
		Partition int
		Node      string
		Items     []string
	}
}

func list(t *testing.T, p *process, what string) (all []string) {
	t.Helper()
	var l keyListing
	if err := json.Unmarshal([]byte(p.ok("-o", "json", "kv", what)), &l); err != nil {
		t.Fatal(err)
	}
	if !l.Complete || len(l.Missing) > 0 {
		t.Errorf("kv %s at %s: complete %v, missing %v", what, p.name, l.Complete, l.Missing)
	}
	for _, group := range l.Items {
		all = append(all, group.Items...)
	}
	slices.Sort(all)
	return all
}

func coverageTest(t *testing.T, nodes []*process) {
	nodes[0].ok("kv", "clear", "--yes")
	var keys, values []string
	for i := 1; i <= 100; i++ {
		keys, values = append(keys, fmt.Sprint("key", i)), append(values, fmt.Sprint("value", i))
		put(t, nodes[i%3], keys[i-1], values[i-1])
	}
	slices.Sort(keys)
	slices.Sort(values)
	for _, p := range nodes {
		if got := list(t, p, "keys"); !slices.Equal(got, keys) {
			t.Errorf("keys at %s: %v", p.name, got)
		}
		if got := list(t, p, "values"); !slices.Equal(got, values) {
			t.Errorf("values at %s: %v", p.name, got)
		}
	}
	nodes[1].ok("kv", "clear", "--yes")
	if got := list(t, nodes[1], "keys"); len(got) > 0 {
		t.Errorf("keys after clear: %v", got)
	}
}

// The tutorial's experiments with data that moves and a holder that dies
// (with one replica): nothing that exists is ever "not found".
func TestTutorialHandoff(t *testing.T) {
	nodes := tutorialCluster(t, "1")
	byName := map[string]*process{"n1": nodes[0], "n2": nodes[1], "n3": nodes[2]}
	for i := range 100 {
		put(t, nodes[i%3], fmt.Sprint("key", i), fmt.Sprint("value", i))
	}
	leaver := byName[owner(t, nodes[0], "key0")]
	partition := strings.Fields(nodes[0].ok("ping", "key0"))[1]
	stay := slices.DeleteFunc(slices.Clone(nodes), func(p *process) bool { return p == leaver })

	stay[0].ok("cluster", "leave", leaver.name, "--commit")
	leaver.awaitExit(0)
	settle(t, stay...)
	status := stay[0].ok("ring", "status")
	if got := slices.Sorted(maps.Values(shares(t, status))); !slices.Equal(got, []string{"32 50.0", "32 50.0"}) {
		t.Errorf("shares %v after the leave in\n%s", got, status)
	}
	for i := range 100 {
		if got := get(t, stay[i%2], fmt.Sprint("key", i)); got != fmt.Sprint("value", i) {
			t.Errorf("key%d after the leave: %q", i, got)
		}
	}
	if now := strings.Fields(stay[0].ok("ping", "key0"))[1]; now != partition {
		t.Errorf("key0 has moved from partition %s to %s", partition, now)
	}
	leaver.start(leaver.places()...)
	leaver.awaitExit(5)
	if said := leaver.said(); !strings.Contains(said, "has left its cluster") {
		t.Errorf("a node that has left says, when it is started again:\n%s", said)
	}

	holder := byName[owner(t, stay[0], "key0")]
	other := stay[0]
	if other == holder {
		other = stay[1]
	}
	holder.kill()
	out, errOut, code := other.ringcore("--timeout", "1s", "kv", "get", "key0")
	if code == 0 || strings.Contains(errOut, "not found") || !strings.Contains(errOut, "unavailable") {
		t.Errorf("get of a key whose only holder is dead: exit %d, %q, %q", code, out, errOut)
	}
	other.ok("kv", "put", "key0", "newvalue")
	if got := other.ok("kv", "get", "key0"); got != "newvalue" {
		t.Errorf("get from the fallback: %q", got)
	}
	holder.restart()
	for range 20 {
		for _, p := range stay {
			if got := p.ok("kv", "get", "key0"); got != "newvalue" {
				t.Fatalf("get at %s after the owner is back: %q", p.name, got)
			}
		}
	}
	until(t, "the hint is delivered", func() error {
		settle(t, stay...)
		for _, line := range strings.Split(other.ok("kv", "keys"), "\n") {
			if f := strings.Fields(line); len(f) == 3 && f[2] == "key0" && f[1] == holder.name {
				return nil
			}
		}
		return fmt.Errorf("keys does not show key0 on %s", holder.name)
	})
}
