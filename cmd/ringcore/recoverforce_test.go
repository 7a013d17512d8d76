package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestForceRemoveAfterRecover: two of three are lost and the third is recovered. One comes back and follows it;
// then the recovered one is down, so nobody leads, and the other follows all the same, by the
// one that did. Lost again, it is removed by force, and another takes its place.
func TestForceRemoveAfterRecover(t *testing.T) {
	long(t)
	t.Parallel()
	nodes := recoverable(t, 3)
	n1, n2, n3 := nodes[0], nodes[1], nodes[2]
	putFaultKeys(t, n1)
	n1.kill()
	n2.kill()
	n3.stop()
	n3.ok("recover", "--data-dir", n3.args[slices.Index(n3.args, "--data-dir")+1], "--yes")
	n3.again()
	n3.awaitReady()
	n2.again()
	n2.awaitReady()
	inGeneration(t, 1, n3, n2)

	n3.kill()
	n1.again()
	n1.awaitReady()
	until(t, "n1 follows, and nobody leads", func() error {
		epoch, _, voters, err := raftOf(n1)
		if err != nil || epoch.Generation() != 1 || !slices.Equal(voters, []string{"n3"}) {
			return fmt.Errorf("generation %d, voters %v, %w", epoch.Generation(), voters, err)
		}
		return getOne(n1, "key1", faultValue(1))
	})
	until(t, "a majority takes writes again", func() error {
		status, body, err := kvRequest(n1, http.MethodPut, "key1?w=2", faultValue(1))
		if err == nil && status/100 != 2 {
			err = fmt.Errorf("%d %s", status, body)
		}
		return err
	})
	n3.again()
	n3.awaitReady()
	inGeneration(t, 1, n3, n2, n1)
	settle(t, nodes...)

	n1.kill()
	until(t, "n1 is removed, by a script that says no more than it has to", func() error {
		status, body, err := n2.post("/v1/cluster/force-remove", `{"node":"n1","commit":true}`)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%d %s", status, body)
		}
		return err
	})
	n4 := startProcess(t, "n4", "--join", n2.addr)
	settle(t, n2, n3, n4)
	mustHave(t, n4, "r=all")
	mustEqualReplicas(t, n4)
	n1.again()
	n1.awaitExit(exitFailed)
	if said := n1.said(); !strings.Contains(said, "removed from its cluster by force") {
		t.Errorf("n1 said: %s", said)
	}
}

// TestForcedLossIsAccepted: with one replica a lost node takes data along. The forms that ask nobody to read a
// plan say so and do nothing, until that is accepted.
func TestForcedLossIsAccepted(t *testing.T) {
	t.Parallel()
	n1 := startProcess(t, "n1", "--replicas", "1", "--partitions", "16")
	n2 := startProcess(t, "n2", "--join", n1.addr)
	settle(t, n1, n2)
	held := membersAt(t, n1)["n2"].Owned
	n2.kill()
	until(t, "n2 is not up", func() error {
		if membersAt(t, n1)["n2"].Up {
			return fmt.Errorf("it is")
		}
		return nil
	})
	loss := fmt.Sprintf("%d partitions of service kv have no other copy", held)
	n1.mustRefuse(loss, "cluster", "force-remove", "n2", "--stopped", "--commit")
	status, body, err := n1.post("/v1/cluster/force-remove", `{"node":"n2","commit":true}`)
	var doc struct{ Code, Detail, Hint string }
	if err != nil || json.Unmarshal([]byte(body), &doc) != nil || status != http.StatusConflict || doc.Code != "data_loss" ||
		!strings.Contains(doc.Detail, loss) || !strings.Contains(doc.Hint, "accept_loss") {
		t.Errorf("force-remove: %d %s %v", status, body, err)
	}
	n1.ok("cluster", "force-remove", "n2", "--stopped")
	plan := planAt(t, n1)
	if !plan.LosesData || !slices.ContainsFunc(plan.Warnings, func(w string) bool { return strings.Contains(w, loss) }) {
		t.Errorf("plan: %+v", plan)
	}
	n1.mustRefuse("loses data for good", "cluster", "commit")
	if got := membersAt(t, n1)["n2"].Status; got != "valid" {
		t.Fatalf("n2 is %q, and nothing was accepted", got)
	}
	n1.ok("cluster", "clear")
	n1.ok("cluster", "force-remove", "n2", "--stopped", "--commit", "--accept-loss")
	settle(t, n1)
}

// post sends a change over HTTP, as scripts do.
func (p *process) post(path, body string) (status int, answer string, err error) {
	res, err := http.Post("http://"+p.http+path, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}
