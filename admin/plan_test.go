package admin_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// TestStaging: without commit a change is staged, and the answer says so.
func TestStaging(t *testing.T) {
	node := &fakeNode{}
	base := serve(t, node, admin.Options{})
	for _, x := range [][2]string{
		{"leave", `{"node":"n2"}`},
		{"down", `{"node":"n2"}`},
		{"force-remove", `{"node":"n2","stopped":true}`},
		{"replace", `{"old":"n2","new":"n3"}`},
		{"force-replace", `{"old":"n2","new":"n3","stopped":true}`},
		{"set", `{"node":"n1","weight":2}`},
		{"set", `{"node":"n1","zone":""}`},
		{"set", `{"replicas":2}`},
	} {
		got := do(t, "POST", base+"/v1/cluster/"+x[0], x[1])
		if got.status != 200 || got.body != `{"committed":false,"staged":true,"plan":"5a5a"}`+"\n" {
			t.Errorf("%s %s: %d %s", x[0], x[1], got.status, got.body)
		}
	}
	want := []admin.ChangeRequest{
		{Kind: "leave", Node: "n2"},
		{Kind: "down", Node: "n2"},
		{Kind: "force-remove", Node: "n2", Stopped: new(true)},
		{Kind: "replace", Old: "n2", New: "n3"},
		{Kind: "force-replace", Old: "n2", New: "n3", Stopped: new(true)},
		{Kind: "set", Node: "n1", Weight: new(2)},
		{Kind: "set", Node: "n1", Zone: new("")},
		{Kind: "set", Replicas: new(2)},
	}
	if diff := cmp.Diff(want, node.changes); diff != "" {
		t.Error(diff)
	}
	if got := do(t, "POST", base+"/v1/cluster/join", `{"seed":"a:1"}`); got.status != 200 || node.joins[0].Commit {
		t.Errorf("join: %d %s, asked %v", got.status, got.body, node.joins)
	}
}

// TestPlan: what is not known is null, absent lists are empty, refusals keep their code.
func TestPlan(t *testing.T) {
	node := &fakeNode{}
	base := serve(t, node, admin.Options{})
	const empty = `{"plan":"","changes":[],"members":[],"warnings":[],"transfers":[]}` + "\n"
	if got := do(t, "GET", base+"/v1/cluster/plan", ""); got.status != 200 || got.body != empty {
		t.Errorf("empty plan: %d %s", got.status, got.body)
	}
	node.plan.Transfers = []admin.PlannedTransfer{{Kind: "move", From: "n1", To: "n2", Partitions: 3, Records: new(int64(7))}}
	const planned = `{"plan":"","changes":[],"members":[],"warnings":[],"transfers":[{"kind":"move","from":"n1","to":"n2","partitions":3,"records":7,"bytes":null}]}` + "\n"
	if got := do(t, "GET", base+"/v1/cluster/plan", ""); got.body != planned {
		t.Errorf("plan: %s", got.body)
	}
	if got := do(t, "POST", base+"/v1/cluster/commit", `{"plan":"5a5a"}`); got.status != 200 || got.body != `{"committed":true}`+"\n" {
		t.Errorf("commit: %d %s", got.status, got.body)
	}
	if diff := cmp.Diff([]string{"5a5a"}, node.commits); diff != "" {
		t.Error(diff)
	}
	if got := do(t, "DELETE", base+"/v1/cluster/plan", ""); got.status != 200 || !node.cleared {
		t.Errorf("clear: %d %s", got.status, got.body)
	}
	node.err = wire.Errorf(wire.Conflict, "the plan has changed")
	checkProblem(t, do(t, "POST", base+"/v1/cluster/commit", `{"plan":"old"}`), 409, "conflict")
}
