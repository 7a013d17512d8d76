package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/admin"
)

// membersAt is what p says of the members, by name.
func membersAt(t *testing.T, p *process) map[string]admin.MemberView {
	t.Helper()
	var list []admin.MemberView
	if err := p.get("/v1/members", &list); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]admin.MemberView)
	for _, m := range list {
		all[m.Name] = m
	}
	return all
}

// ownersAt are the lists of the ring as p knows it.
func ownersAt(t *testing.T, p *process) [][]string {
	t.Helper()
	var view admin.RingView
	if err := p.get("/v1/ring", &view); err != nil {
		t.Fatal(err)
	}
	return view.Owners
}

// planAt is the plan as p shows it.
func planAt(t *testing.T, p *process) admin.PlanView {
	t.Helper()
	var plan admin.PlanView
	if err := json.Unmarshal([]byte(p.ok("cluster", "plan", "-o", "json")), &plan); err != nil {
		t.Fatal(err)
	}
	return plan
}

// mustRefuse runs a command that must exit with 5 and say why.
func (p *process) mustRefuse(why string, args ...string) {
	p.t.Helper()
	if _, errOut, code := p.ringcore(args...); code != exitRefused || !strings.Contains(errOut, why) {
		p.t.Fatalf("%s at %s: exit %d: %s; want %d and %q", strings.Join(args, " "), p.name, code, errOut, exitRefused, why)
	}
}

// mustHave reads all fault keys at p.
func mustHave(t *testing.T, p *process, query string) {
	t.Helper()
	for k := range faultKeys {
		if status, body, err := kvRequest(p, http.MethodGet, fmt.Sprintf("key%d?%s", k, query), ""); err != nil || status != http.StatusOK || body != faultValue(k) {
			t.Fatalf("key %d at %s: %d %.80q %v", k, p.name, status, body, err)
		}
	}
}

// awaitMember waits until p says that a member has that status; "" if it is to be none.
func awaitMember(t *testing.T, p *process, name, status string) {
	t.Helper()
	until(t, name+" is "+status+" at "+p.name, func() error {
		if got := membersAt(t, p)[name].Status; got != status {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})
}

// mustEqualReplicas compares every record on all replicas: none differs, and none is missed.
func mustEqualReplicas(t *testing.T, p *process) {
	t.Helper()
	var started admin.RepairStarted
	if err := json.Unmarshal([]byte(p.ok("repair", "-o", "json")), &started); err != nil {
		t.Fatal(err)
	}
	until(t, "all replicas are compared", func() error {
		var view admin.RepairsView
		if err := p.get("/v1/repairs", &view); err != nil {
			return err
		}
		partitions, compared := 0, int64(0)
		for _, r := range view.Repairs {
			if r.ID != started.ID {
				continue
			}
			if r.Failed > 0 || r.Sent+r.Received > 0 || len(r.Unreached) > 0 {
				t.Fatalf("replicas differ: %+v", r)
			}
			partitions, compared = partitions+r.Done, compared+r.Compared
		}
		if partitions < started.Partitions || compared < faultKeys {
			return fmt.Errorf("%d of %d partitions, %d records", partitions, started.Partitions, compared)
		}
		return nil
	})
}

// riak_test's verify_staged_clustering, and the part of verify_build_cluster_caps_race and
// location that is ours: a plan is needed; join, replace and leave as planned; clear sends a
// joiner home; a zone that is only renamed moves nothing; who joins too early may try again.
func TestStagedClustering(t *testing.T) {
	long(t)
	n1 := startProcess(t, "n1", "--replicas", "2", "--partitions", "16", "--zone", "a")
	n1.mustRefuse("nothing is staged", "cluster", "commit")
	putFaultKeys(t, n1)
	n2 := startProcess(t, "n2", "--partitions", "16")
	if _, errOut, code := n2.ringcore("cluster", "join", "127.0.0.1:1"); code == exitOK || !strings.Contains(errOut, "no node answers at 127.0.0.1:1") {
		t.Fatalf("joined nobody: exit %d: %s", code, errOut)
	}

	// Staged and cleared: n2 is itself again, with its data, also if it was not there to hear of it.
	if status, _, err := kvRequest(n2, http.MethodPut, "mine", "own"); err != nil || status >= 300 {
		t.Fatalf("put: %d %v", status, err)
	}
	n2.mustRefuse("would be lost", "cluster", "join", n1.addr)
	for _, away := range []bool{false, true} {
		n2.ok("cluster", "join", n1.addr, "--discard")
		awaitMember(t, n1, "n2", "joining")
		if got := membersAt(t, n1)["n2"]; got.Slots+got.PendingSlots > 0 {
			t.Fatalf("staged only: %+v", got)
		}
		mustHave(t, n2, "r=1") // it serves what the others have
		if away {
			n2.kill()
		}
		n1.ok("cluster", "clear")
		if away {
			n2.start(n2.places()...)
		}
		until(t, "n2 is home", func() error {
			if status, body, err := kvRequest(n2, http.MethodGet, "mine", ""); err != nil || status != http.StatusOK || body != "own" {
				return fmt.Errorf("%d %s %v", status, body, err)
			}
			return nil
		})
		awaitMember(t, n1, "n2", "")
		settle(t, n2)
	}

	// Staged and committed, all at once; the plan survives the loss of all processes.
	n2.ok("cluster", "join", n1.addr, "--discard")
	n3 := startProcess(t, "n3")
	n3.ok("cluster", "join", n1.addr)
	n1.ok("cluster", "set", "zone", "n2", "b")
	n1.ok("cluster", "set", "zone", "n3", "c")
	n2.kill()
	n1.kill()
	n1.restart()
	n2.start(n2.places()...)
	var plan admin.PlanView
	until(t, "the sizes are known", func() error {
		plan = planAt(t, n1)
		for _, tr := range plan.Transfers {
			if tr.Records == nil || tr.Bytes == nil || tr.Kind == "add" && *tr.Records == 0 {
				return fmt.Errorf("%+v", tr)
			}
		}
		return nil
	})
	if len(plan.Changes) != 4 || len(plan.Transfers) == 0 {
		t.Fatalf("plan: %+v", plan)
	}
	n3.ok("cluster", "commit", "--plan", plan.Plan, "--wait")
	settle(t, n1, n2, n3)
	members := membersAt(t, n2)
	for _, m := range plan.Members {
		if got := members[m.Name]; got.Owned != m.Then.Owned || got.Slots != m.Then.Slots || got.Zone != m.Then.Zone {
			t.Errorf("planned %+v, got %+v", m.Then, got)
		}
	}

	for _, p := range []*process{n2, n3} { // where it could have gone back to is gone
		until(t, p.name+" keeps one cluster", func() error {
			folders, err := os.ReadDir(filepath.Join(p.args[3], "clusters"))
			if err != nil || len(folders) != 1 {
				return fmt.Errorf("%v, %v", folders, err)
			}
			return nil
		})
	}

	// A renamed zone alone moves nothing.
	before := ownersAt(t, n1)
	n1.ok("cluster", "set", "zone", "n1", "renamed")
	if plan := planAt(t, n1); len(plan.Transfers) > 0 {
		t.Errorf("a renamed zone moves %+v", plan.Transfers)
	}
	n1.ok("cluster", "commit", "--wait")
	if after := ownersAt(t, n1); !slices.EqualFunc(before, after, slices.Equal) {
		t.Error("a renamed zone has moved partitions")
	}

	// A replacement gets the very places.
	n4 := startProcess(t, "n4")
	n4.ok("cluster", "join", n1.addr)
	n1.ok("cluster", "replace", "n2", "n4")
	n1.ok("cluster", "commit", "--wait")
	n2.awaitExit(exitOK)
	settle(t, n1, n3, n4)
	for p, list := range ownersAt(t, n1) {
		want := slices.Clone(before[p])
		if i := slices.Index(want, "n2"); i >= 0 {
			want[i] = "n4"
		}
		if !slices.Equal(list, want) {
			t.Errorf("partition %d is on %v, want %v", p, list, want)
		}
	}
	mustHave(t, n4, "r=all")

	n1.ok("cluster", "leave", "n3")
	n1.ok("cluster", "set", "weight", "n4", "3")
	n1.ok("cluster", "commit", "--wait")
	n3.awaitExit(exitOK)
	settle(t, n1, n4)
	mustHave(t, n1, "r=all")
}

// A node that is dead keeps nobody from anything else: riak_test's verify_claimant, verify_down and the
// forced half of verify_leave and verify_staged_clustering.
func TestDeadNode(t *testing.T) {
	long(t)
	n1 := startProcess(t, "n1", "--replicas", "3", "--partitions", "16")
	n2, n3 := startProcess(t, "n2", "--join", n1.addr), startProcess(t, "n3", "--join", n1.addr)
	settle(t, n1, n2, n3)
	putFaultKeys(t, n1)
	n1.mustRefuse("n2 answers", "cluster", "down", "n2", "--commit")
	n1.mustRefuse("n2 answers", "cluster", "force-remove", "n2", "--stopped", "--commit")

	// The leader dies: another one leads, and the staged plan is still there.
	n1.ok("cluster", "set", "zone", "n2", "z2")
	plan := planAt(t, n1).Plan
	nodes := []*process{n1, n2, n3}
	lead := slices.IndexFunc(nodes, func(p *process) bool { return membersAt(t, n1)[p.name].Leader })
	dead := nodes[lead]
	alive := slices.Delete(slices.Clone(nodes), lead, lead+1)
	dead.kill()
	until(t, "the dead node is marked as down", func() error {
		if _, errOut, code := alive[0].ringcore("cluster", "down", dead.name, "--commit"); code != exitOK {
			return fmt.Errorf("exit %d: %s", code, errOut)
		}
		return nil
	})
	if got := planAt(t, alive[1]); got.Plan == plan || len(got.Changes) != 1 {
		t.Errorf("the plan after a member went down: %+v", got)
	}
	alive[1].mustRefuse("changed since", "cluster", "commit", "--plan", plan)
	alive[1].ok("cluster", "commit")
	until(t, "n2 is in its new zone", func() error {
		if got := membersAt(t, alive[0])["n2"].Zone; got != "z2" {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})

	// Another joins meanwhile, and works as far as nothing needs the dead one.
	n4 := startProcess(t, "n4", "--join", alive[0].addr)
	awaitMember(t, alive[1], "n4", "valid")
	putFaultKeys(t, n4)
	dead.start(dead.places()...)
	settle(t, n1, n2, n3, n4)
	mustHave(t, n4, "r=all")

	// One is lost for good, and another gets its very places: nothing else moves.
	before := ownersAt(t, n1)
	n3.kill()
	n5 := startProcess(t, "n5")
	until(t, "the dead node is noticed", func() error {
		if membersAt(t, n1)["n3"].Up {
			return fmt.Errorf("it is up")
		}
		return nil
	})
	n5.ok("cluster", "join", n1.addr)
	n1.mustRefuse("cannot hand over", "cluster", "replace", "n3", "n5")
	n1.mustRefuse("say that it is stopped", "cluster", "force-replace", "n3", "n5")
	n1.ok("cluster", "replace", "n3", "n5", "--stopped")
	if got := planAt(t, n2).Changes; len(got) != 2 || got[1].Kind != "force-replace" {
		t.Errorf("planned: %+v", got)
	}
	n2.ok("cluster", "commit", "--wait")
	settle(t, n1, n2, n4, n5)
	for p, list := range ownersAt(t, n2) {
		want := slices.Clone(before[p])
		if i := slices.Index(want, "n3"); i >= 0 {
			want[i] = "n5"
		}
		if !slices.Equal(list, want) {
			t.Errorf("partition %d is on %v, want %v", p, list, want)
		}
	}
	mustHave(t, n5, "r=all")
	mustEqualReplicas(t, n1)

	// Who was forced out and comes back finds out, serves nothing, and says why it stops.
	n3.start(n3.places()...)
	n3.awaitExit(exitFailed)
	if said := n3.said(); !strings.Contains(said, "removed from its cluster by force") {
		t.Errorf("n3 said: %s", said)
	}
	n3.start(n3.places()...)
	n3.awaitExit(exitRefused)

	// One is lost and nobody takes its place: the rest fill up what it had.
	n5.kill()
	until(t, "the lost node is removed", func() error {
		if _, errOut, code := n1.ringcore("cluster", "force-remove", "n5", "--stopped", "--commit"); code != exitOK {
			return fmt.Errorf("exit %d: %s", code, errOut)
		}
		return nil
	})
	settle(t, n1, n2, n4)
	mustHave(t, n2, "r=all")
	mustEqualReplicas(t, n2)
}

// Fewer replicas, and more again, under readers: nobody notices. Part of make topology.
func TestReplicasUpAndDown(t *testing.T) {
	if os.Getenv("RINGCORE_TEST_TOPOLOGY") == "" {
		t.Skip("takes a while: set RINGCORE_TEST_TOPOLOGY, or make topology")
	}
	n1 := startProcess(t, "n1", "--replicas", "3", "--partitions", "16")
	n2, n3 := startProcess(t, "n2", "--join", n1.addr), startProcess(t, "n3", "--join", n1.addr)
	nodes := []*process{n1, n2, n3}
	settle(t, nodes...)
	putFaultKeys(t, n1)
	readers := startFaultReaders(nodes)
	for _, n := range []string{"1", "2", "3", "1", "3"} {
		n1.ok("cluster", "set", "replicas", n)
		n1.ok("cluster", "commit", "--wait")
		until(t, n+" replicas", func() error {
			for p, list := range ownersAt(t, n2) {
				if fmt.Sprint(len(list)) != n {
					return fmt.Errorf("partition %d is on %v", p, list)
				}
			}
			return nil
		})
		settle(t, nodes...)
		mustHave(t, n3, "r=all")
		putFaultKeys(t, n2)
	}
	readers.end(t)
	mustEqualReplicas(t, n3)
}
