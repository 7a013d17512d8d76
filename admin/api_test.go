package admin_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestViews holds the JSON shapes that scripts rely on against golden files.
func TestViews(t *testing.T) {
	base := serve(t, &fakeNode{}, admin.Options{})
	for name, path := range map[string]string{
		"ring": "/v1/ring", "members": "/v1/members", "transfers": "/v1/transfers", "readyz": "/readyz",
		"preflist": "/v1/preflist?key=k", "repairs": "/v1/repairs", "status": "/v1/cluster/status", "capabilities": "/v1/capabilities",
		"load": "/v1/load", "vnodes": "/v1/vnodes", "explain": "/v1/explain?key=k",
	} {
		t.Run(name, func(t *testing.T) {
			got := do(t, "GET", base+path, "")
			if got.status != 200 || got.header.Get("Content-Type") != "application/json" {
				t.Fatalf("%d %s", got.status, got.header.Get("Content-Type"))
			}
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, []byte(got.body), "", "  "); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "golden", name+".json")
			if *update {
				if err := os.WriteFile(file, pretty.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), pretty.String()); diff != "" {
				t.Errorf("changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRingETag(t *testing.T) {
	base := serve(t, &fakeNode{}, admin.Options{})
	first := do(t, "GET", base+"/v1/ring", "")
	if first.header.Get("ETag") != `"12"` {
		t.Fatalf("ETag %q, want the epoch", first.header.Get("ETag"))
	}
	if again := do(t, "GET", base+"/v1/ring", "", "If-None-Match", `"12"`); again.status != 304 || again.body != "" {
		t.Errorf("known epoch: %d %q, want 304 without a body", again.status, again.body)
	}
	if other := do(t, "GET", base+"/v1/ring", "", "If-None-Match", `"11"`); other.status != 200 {
		t.Errorf("old epoch: %d, want 200", other.status)
	}
}

func TestPreflistArguments(t *testing.T) {
	node := &fakeNode{}
	base := serve(t, node, admin.Options{})
	do(t, "GET", base+"/v1/preflist?bucket=b&key=a%2Fb&n=5", "")
	if want := (preflistArgs{"b", "a/b", 5}); node.preflist != want {
		t.Errorf("asked %+v, want %+v", node.preflist, want)
	}
	do(t, "GET", base+"/v1/preflist?key=k", "")
	if want := (preflistArgs{"default", "k", 0}); node.preflist != want {
		t.Errorf("asked %+v, want %+v", node.preflist, want)
	}
}

func TestChanges(t *testing.T) {
	node := &fakeNode{}
	base := serve(t, node, admin.Options{})
	for path, body := range map[string]string{
		"/v1/cluster/join":  `{"seed":"127.0.0.1:7400","commit":true,"discard":true}`,
		"/v1/cluster/leave": `{"node":"n2","commit":true}`,
	} {
		if got := do(t, "POST", base+path, body); got.status != 200 || got.body != "{\"committed\":true}\n" {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if diff := cmp.Diff([]admin.JoinRequest{{Seed: "127.0.0.1:7400", Commit: true, Discard: true}}, node.joins); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]admin.ChangeRequest{{Kind: "leave", Node: "n2", Commit: true}}, node.changes); diff != "" {
		t.Error(diff)
	}
}

func TestRepair(t *testing.T) {
	node := &fakeNode{}
	base := serve(t, node, admin.Options{})
	for _, body := range []string{`{"partition":0}`, `{"node":"n2"}`, `{}`} {
		got := do(t, "POST", base+"/v1/repair", body)
		if want := `{"id":"12ab","partitions":64,"nodes":["n1","n2"],"skipped":[]}` + "\n"; got.status != 202 || got.body != want {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
	first := 0
	if diff := cmp.Diff([]admin.RepairRequest{{Partition: &first}, {Node: "n2"}, {}}, node.repairs); diff != "" {
		t.Error(diff)
	}
	for _, body := range []string{"", `{"partition":"x"}`, `{"all":true}`} {
		if got := do(t, "POST", base+"/v1/repair", body); got.status != 400 {
			t.Errorf("%q: %d %s", body, got.status, got.body)
		}
	}
}

func TestBuckets(t *testing.T) {
	base := serve(t, &fakeNode{}, admin.Options{})
	if got := do(t, "GET", base+"/v1/buckets", ""); got.status != 200 || got.body != "[]\n" {
		t.Errorf("none: %d %s", got.status, got.body)
	}
	if got := do(t, "PUT", base+"/v1/buckets/b", `{"siblings":true,"w":2,"r":"one","sloppy":false}`); got.status != 200 {
		t.Errorf("set: %d %s", got.status, got.body)
	}
	want := `{"r":1,"w":2,"pr":"default","pw":"default","sloppy":false,"siblings":true}` + "\n"
	if got := do(t, "GET", base+"/v1/buckets/b", ""); got.status != 200 || got.body != want {
		t.Errorf("get: %d %s", got.status, got.body)
	}
	if got := do(t, "GET", base+"/v1/buckets", ""); got.status != 200 || got.body != `[{"bucket":"b",`+want[1:len(want)-1]+"]\n" {
		t.Errorf("list: %d %s", got.status, got.body)
	}
}

// TestProblems: every refusal is a problem document with a stable code, and what
// is refused does not reach the node.
func TestProblems(t *testing.T) {
	node := &fakeNode{}
	base := serve(t, node, admin.Options{})
	tests := []struct {
		name, request, body string
		status              int
		code                string
	}{
		{"no such path", "GET /v2/ring", "", 404, "not_found"},
		{"pprof off", "GET /debug/pprof/", "", 404, "not_found"},
		{"wrong method", "DELETE /v1/ring", "", 405, "method_not_allowed"},
		{"preflist without key", "GET /v1/preflist", "", 400, "bad_request"},
		{"preflist of 0", "GET /v1/preflist?key=k&n=0", "", 400, "bad_request"},
		{"preflist of 8", "GET /v1/preflist?key=k&n=8", "", 400, "bad_request"},
		{"join: no body", "POST /v1/cluster/join", "", 400, "bad_request"},
		{"join: no seed", "POST /v1/cluster/join", `{"commit":true}`, 400, "bad_request"},
		{"join: unknown field", "POST /v1/cluster/join", `{"seed":"a:1","commit":true,"force":true}`, 400, "bad_request"},
		{"join: two documents", "POST /v1/cluster/join", `{"seed":"a:1","commit":true}{}`, 400, "bad_request"},
		{"join: wrong type", "POST /v1/cluster/join", `{"seed":1}`, 400, "bad_request"},
		{"join: too long", "POST /v1/cluster/join", `{"seed":"` + strings.Repeat("a", 70_000) + `"}`, 413, "too_large"},
		{"limits: none", "POST /v1/transfers/limits", `{"in":0}`, 400, "bad_request"},
		{"leave: no node", "POST /v1/cluster/leave", `{"commit":true}`, 400, "bad_request"},
		{"down: no node", "POST /v1/cluster/down", `{}`, 400, "bad_request"},
		{"force-remove: no node", "POST /v1/cluster/force-remove", `{}`, 400, "bad_request"},
		{"replace: by whom", "POST /v1/cluster/replace", `{"old":"n1"}`, 400, "bad_request"},
		{"force-replace: whom", "POST /v1/cluster/force-replace", `{"new":"n1"}`, 400, "bad_request"},
		{"set: nothing", "POST /v1/cluster/set", `{}`, 400, "bad_request"},
		{"set: weight of nobody", "POST /v1/cluster/set", `{"weight":2}`, 400, "bad_request"},
		{"set: replicas of one node", "POST /v1/cluster/set", `{"node":"n1","replicas":2}`, 400, "bad_request"},
		{"set: two things", "POST /v1/cluster/set", `{"node":"n1","weight":2,"zone":"a"}`, 400, "bad_request"},
		{"set: partitions", "POST /v1/cluster/set", `{"partitions":128}`, 409, "refused"},
		{"commit: no hash", "POST /v1/cluster/commit", `{}`, 400, "bad_request"},
		{"drain of another node", "POST /v1/node/drain", `{"node":"n2"}`, 409, "refused"},
		{"drain: no document", "POST /v1/node/drain", ``, 400, "bad_request"},
		{"bucket without a word", "PUT /v1/buckets/b", ``, 400, "bad_request"},
		{"bucket with an unknown property", "PUT /v1/buckets/b", `{"n_val":3}`, 400, "bad_request"},
		{"bucket with no quorum", "PUT /v1/buckets/b", `{"w":"some"}`, 400, "bad_request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			method, path, _ := strings.Cut(tt.request, " ")
			checkProblem(t, do(t, method, base+path, tt.body), tt.status, tt.code)
		})
	}
	if len(node.joins)+len(node.changes) > 0 {
		t.Errorf("the node was asked: %v %v", node.joins, node.changes)
	}
}

func checkProblem(t *testing.T, got answer, status int, code string) {
	t.Helper()
	var p struct {
		Status int
		Code   string
		Detail string
	}
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		t.Fatalf("%v in %q", err, got.body)
	}
	if ct := got.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("content type %q", ct)
	}
	if got.status != status || p.Status != status || p.Code != code || p.Detail == "" {
		t.Errorf("%d %+v, want %d %s with a detail", got.status, p, status, code)
	}
}

// TestNodeErrors: what the node answers keeps its code.
func TestNodeErrors(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		code   string
	}{
		{wire.Errorf(wire.Refused, "this node holds data"), 409, "refused"},
		{wire.Errorf(wire.NotLeader, "no leader now"), 503, "not_leader"},
		{errors.New("a bug"), 500, "internal"},
	} {
		base := serve(t, &fakeNode{err: tt.err}, admin.Options{})
		for _, path := range []string{"/v1/ring", "/v1/members", "/v1/transfers", "/v1/preflist?key=k"} {
			checkProblem(t, do(t, "GET", base+path, ""), tt.status, tt.code)
		}
		checkProblem(t, do(t, "POST", base+"/v1/cluster/join", `{"seed":"a:1","commit":true}`), tt.status, tt.code)
		checkProblem(t, do(t, "POST", base+"/v1/cluster/leave", `{"node":"n1","commit":true}`), tt.status, tt.code)
	}
}

func TestWrongMethodNamesTheRightOnes(t *testing.T) {
	base := serve(t, &fakeNode{}, admin.Options{})
	got := do(t, "POST", base+"/v1/cluster/plan", "")
	if allow := got.header.Get("Allow"); got.status != 405 || allow != "DELETE, GET, HEAD" {
		t.Errorf("%d, Allow %q", got.status, allow)
	}
}

// TestCrossOrigin: a page of another site can write neither members nor keys.
func TestCrossOrigin(t *testing.T) {
	node := &fakeNode{}
	base := serve(t, node, admin.Options{})
	for _, h := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
		got := do(t, "POST", base+"/v1/cluster/leave", `{"node":"n1","commit":true}`, h[0], h[1])
		checkProblem(t, got, 403, "cross_origin")
		got = do(t, "PUT", base+"/v1/kv/b/k", "v", h[0], h[1])
		checkProblem(t, got, 403, "cross_origin")
		if saw := got.header.Get("X-Saw"); saw != "" {
			t.Errorf("kv saw %q", saw)
		}
	}
	if len(node.changes) > 0 {
		t.Error("the node was asked to leave")
	}
	if got := do(t, "GET", base+"/v1/members", "", "Sec-Fetch-Site", "cross-site"); got.status != 200 {
		t.Errorf("reading: %d", got.status)
	}
}

func TestHealth(t *testing.T) {
	node := &fakeNode{notReady: true}
	base := serve(t, node, admin.Options{})
	if got := do(t, "GET", base+"/livez", ""); got.status != 200 || got.body != "ok\n" {
		t.Errorf("livez: %d %q", got.status, got.body)
	}
	got := do(t, "GET", base+"/readyz", "")
	want := `{"ready":false,"node":"n1","checks":[{"name":"ring","ok":false,"detail":"the join has not committed"}]}` + "\n"
	if got.status != 503 || got.body != want {
		t.Errorf("readyz: %d %s", got.status, got.body)
	}
}

func TestMetrics(t *testing.T) {
	base := serve(t, &fakeNode{}, admin.Options{})
	do(t, "GET", base+"/v1/ring", "")
	do(t, "GET", base+"/nothing/here", "")
	got := do(t, "GET", base+"/metrics", "")
	for _, line := range []string{
		`ringcore_vnodes{service="kv"} 64`,
		"# TYPE ringcore_commands_total counter",
		"ringcore_commands_total 7",
		`ringcore_http_requests_total{route="GET /v1/ring",status="200"} 1`,
		`ringcore_http_requests_total{route="none",status="404"} 1`,
		"go_goroutines ",
		"process_open_fds ",
	} {
		if !strings.Contains(got.body, line) {
			t.Errorf("no %q", line)
		}
	}
}

func TestKVIsMounted(t *testing.T) {
	base := serve(t, &fakeNode{}, admin.Options{})
	got := do(t, "PUT", base+"/v1/kv/b/a%2Fb", "value")
	if saw := got.header.Get("X-Saw"); saw != "PUT /v1/kv/b/a%2Fb value" {
		t.Errorf("kv saw %q", saw)
	}
	got = do(t, "GET", base+"/v1/ping?key=k", "")
	if saw := got.header.Get("X-Saw"); saw != "GET /v1/ping" {
		t.Errorf("kv saw %q", saw)
	}
}

func TestIndexListsRoutes(t *testing.T) {
	base := serve(t, &fakeNode{}, admin.Options{Pprof: true})
	got := do(t, "GET", base+"/", "")
	for _, want := range []string{"ringcore node n1", "GET     /v1/ring ", "PUT     /v1/kv/{bucket}/{key}", "GET     /debug/pprof/"} {
		if !strings.Contains(got.body, want) {
			t.Errorf("no %q in\n%s", want, got.body)
		}
	}
	if got := do(t, "GET", base+"/debug/pprof/cmdline", ""); got.status != 200 {
		t.Errorf("pprof: %d", got.status)
	}
}
