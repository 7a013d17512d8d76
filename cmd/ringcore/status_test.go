package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/admin"
)

// awaitStatus waits until p's status is as wanted. Then the command line must say so too, in
// lines with each of texts, and with its exit code.
func awaitStatus(p *process, what string, ok func(s *admin.StatusView) bool, texts ...string) {
	p.t.Helper()
	until(p.t, what, func() error {
		var s admin.StatusView
		if err := p.get("/v1/cluster/status", &s); err != nil {
			return err
		}
		if !ok(&s) {
			return fmt.Errorf("it is %+v", s)
		}
		table, _, code := p.ringcore("cluster", "status")
		if want := map[bool]int{true: exitOK, false: exitUnhealthy}[s.Healthy]; code != want {
			return fmt.Errorf("exit %d; healthy: %v", code, s.Healthy)
		}
		for _, text := range texts {
			if !strings.Contains("\n"+table, text) {
				return fmt.Errorf("%q is not in\n%s", text, table)
			}
		}
		return nil
	})
}

// TestStatusTellsTheStoryOfADeadNode: all is well; one dies, and status says that, for whom hints
// are kept, and when another joins meanwhile, what waits for the dead one and what helps; it comes back, and all is
// well again.
func TestStatusTellsTheStoryOfADeadNode(t *testing.T) {
	long(t)
	nodes := threeNodes(t)
	n1, n3 := nodes[0], nodes[2]
	awaitStatus(n1, "all is well", func(s *admin.StatusView) bool {
		return s.Healthy && len(s.Waiting)+len(s.Hints)+len(s.Slots)+len(s.Checks)+len(s.Silent) == 0
	}, "\nhealthy\n")

	n3.kill()
	awaitStatus(n1, "n3 is missed", func(s *admin.StatusView) bool {
		return slices.Contains(s.Reasons, "n3 cannot be reached") && s.Live.Short == 64 && len(s.Live.Minority) == 0
	}, "\nwaiting    for n3: 64 replicas away until it is back", "ringcore cluster force-replace n3 NEW")
	const keys = 40
	for i := range keys {
		n1.ok("kv", "put", fmt.Sprint("key-", i), "value")
	}
	awaitStatus(n1, "the hints for n3 are counted", func(s *admin.StatusView) bool {
		return len(s.Hints) == 1 && s.Hints[0].For == "n3" && s.Hints[0].Records == keys && len(s.Hints[0].Holders) > 0
	}, "\nhints      for n3: 40 records")

	n4 := startProcess(t, "n4", "--join", n1.addr, "--log-level", "warn")
	awaitStatus(n1, "what needs n3 waits, and nothing else", func(s *admin.StatusView) bool {
		return len(s.Transfers.Active) == 0 && len(s.Waiting) == 1 && s.Waiting[0].For == "n3" && s.Waiting[0].Partitions > 0
	}, "cannot move on without it")

	n3.restart()
	settle(t, n1, nodes[1], n3, n4)
	awaitStatus(n1, "all is well again", func(s *admin.StatusView) bool {
		return s.Healthy && len(s.Waiting)+len(s.Hints)+s.Moving.Waiting == 0 && len(s.Members) == 4
	}, "\nhealthy\n")
	simulationComesTrue(t, n1)
}

// simulationComesTrue saves the ring and the members, simulates that n4 leaves, lets it
// leave, and compares what the cluster is to become.
func simulationComesTrue(t *testing.T, p *process) {
	t.Helper()
	ringFile, membersFile := filepath.Join(t.TempDir(), "ring.json"), filepath.Join(t.TempDir(), "members.json")
	for file, args := range map[string][]string{ringFile: {"ring", "status", "-o", "json"}, membersFile: {"cluster", "members", "-o", "json"}} {
		if err := os.WriteFile(file, []byte(p.ok(args...)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var sim simResult
	out := p.ok("ring", "simulate", "--ring", ringFile, "--members", membersFile, "--leave", "n4", "-o", "json")
	if err := json.Unmarshal([]byte(out), &sim); err != nil {
		t.Fatal(err)
	}
	p.ok("cluster", "leave", "n4", "--commit")
	until(t, "the members become what was simulated", func() error {
		var members []admin.MemberView
		if err := p.get("/v1/members", &members); err != nil {
			return err
		}
		for _, m := range members {
			i := slices.IndexFunc(sim.Steps[0].Members, func(x simMember) bool { return x.Name == m.Name })
			x := sim.Steps[0].Members[i]
			if m.PendingOwned != x.PendingOwned || m.PendingSlots != x.PendingSlots {
				return fmt.Errorf("%s is to own %d and hold %d; simulated: %d and %d", m.Name, m.PendingOwned, m.PendingSlots, x.PendingOwned, x.PendingSlots)
			}
		}
		return nil
	})
}
