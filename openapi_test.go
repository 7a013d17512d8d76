package ringcore

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// apiDocument is what a node serves at /v1/openapi.json.
type apiDocument struct {
	Paths      map[string]map[string]apiOperation
	Components struct {
		Schemas   map[string]map[string]any
		Responses map[string]apiReply
	}
}

type apiOperation struct {
	OperationID string
	Responses   map[string]apiReply
}

type apiReply struct {
	Ref     string `json:"$ref"`
	Content map[string]struct {
		Schema     map[string]any
		ItemSchema map[string]any `json:"x-itemSchema"`
	}
}

// apiCall is one request of the walk through the API.
type apiCall struct {
	node         *Node
	method, path string // with the query
	body         string
	headers      []string // name, value, ...
	want         int
}

// unlikely are the answers that the test does not wait for: of a node that is not ready, to who aborts
// a transfer before it has ended, and to who replaces a lost member by a new one.
var unlikely = []string{"getReadyz 503", "postTransfersAbort 200", "postClusterForceReplace 200"}

// TestAnswersAreAsDescribed calls every operation that a live node says it has:
// no answer has a field too many or too few, or of another type, and every answer that is described has come but the
// unlikely.
func TestAnswersAreAsDescribed(t *testing.T) {
	n1 := testNode(t, Config{Name: "n1", Storage: "disk", Partitions: 8})
	n2 := testNode(t, Config{Name: "n2", Join: []string{n1.Info().Addr}})
	n3 := testNode(t, Config{Name: "n3", Partitions: 8})
	settled(t, n1, n2)
	walk := newAPIWalk(t, n1)
	events, logs := walk.follow(n1, "/v1/events", "transfer"), walk.follow(n1, "/v1/logs", "log")

	for _, call := range slices.Concat(apiReads(n1, n3), apiKeys(n1), apiChanges(n1, n2, n3)) {
		walk.call(call)
	}
	plan, err := view{n1}.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	walk.call(apiCall{node: n1, method: "POST", path: "/v1/cluster/commit", body: `{"plan":"` + plan.Plan + `"}`, want: 200})
	events()
	logs()
	<-n2.Done() // it has handed over to n3
	settled(t, n1, n3)
	if err := n3.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n3 seen to be away", func() error {
		if n1.core.Load().live.Up(n3.core.Load().self.ID) {
			return errors.New("it is up")
		}
		return nil
	})
	for _, call := range apiForced(n1) {
		walk.call(call)
	}
	for path, operations := range walk.doc.Paths {
		for method, o := range operations {
			for status := range o.Responses {
				if answer := o.OperationID + " " + status; !slices.Contains(unlikely, answer) && status != "default" && !walk.seen[answer] {
					t.Errorf("%s %s: no answer %s has come", strings.ToUpper(method), path, status)
				}
			}
		}
	}
}

func apiReads(n, alone *Node) []apiCall {
	get := func(path string) apiCall { return apiCall{node: n, method: "GET", path: path, want: 200} }
	calls := []apiCall{{node: n, method: "GET", path: "/v1/ring", headers: []string{"If-None-Match", `"*"`}, want: 200}}
	for _, path := range []string{
		"/", "/livez", "/readyz", "/metrics", "/v1/openapi.json", "/v1/ring", "/v1/members", "/v1/capabilities", "/v1/transfers", "/v1/transfers/limits",
		"/v1/cluster/status", "/v1/cluster/plan", "/v1/repairs", "/v1/preflist?key=k&n=1", "/v1/load", "/v1/vnodes", "/v1/vnodes?node=n1&partition=3", "/v1/explain?key=k",
		"/v1/ping?key=k", "/v1/buckets/b", "/v1/buckets", "/v1/backup", "/debug/pprof/",
	} {
		calls = append(calls, get(path))
	}
	for _, path := range []string{"/v1/preflist", "/v1/explain", "/v1/vnodes?partition=x", "/v1/kv/b?list=cats", "/v1/ping?timeout=never"} {
		calls = append(calls, apiCall{node: n, method: "GET", path: path, want: 400})
	}
	epoch := alone.core.Load().meta.State().Epoch // of a cluster in which nothing happens
	return append(calls, apiCall{node: alone, method: "GET", path: "/v1/ring", headers: []string{"If-None-Match", fmt.Sprintf(`"%d"`, epoch)}, want: 304})
}

func apiKeys(n *Node) []apiCall {
	call := func(method, path, body string, want int, headers ...string) apiCall {
		return apiCall{n, method, path, body, headers, want}
	}
	var noRecords strings.Builder
	_ = wire.NewBlockWriter(&noRecords).End() // to memory
	return []apiCall{
		call("PUT", "/v1/buckets/b", `{"siblings":true,"w":"all","sloppy":false}`, 200),
		call("PUT", "/v1/buckets/b", `{"cats":1}`, 400),
		call("GET", "/v1/kv/b/k", "", 404),
		call("PUT", "/v1/kv/b/k?w=all", "v", 204),
		call("PUT", "/v1/kv/b/k", "v", 412, "If-None-Match", "*"),
		call("GET", "/v1/kv/b/k?r=one", "", 200),
		call("GET", "/v1/kv/b?list=keys", "", 200),
		call("GET", "/v1/kv/b?list=values", "", 200),
		call("PUT", "/v1/kv/b/k", "w", 204), // of nobody who has seen the first
		call("GET", "/v1/kv/b/k", "", 300),
		call("GET", "/v1/explain?bucket=b&key=k", "", 200),
		call("DELETE", "/v1/kv/b/k", "", 300),
		call("PUT", "/v1/kv/b/k", "x", 204),
		call("DELETE", "/v1/kv/b/k", "", 200),
		call("DELETE", "/v1/kv/b", "", 200),
		call("POST", "/v1/backup/kv/0", "", 200),
		call("POST", "/v1/restore/kv/0?of=8", noRecords.String(), 200),
		call("POST", "/v1/restore/kv/0", "", 400),
	}
}

func apiChanges(n1, n2, n3 *Node) []apiCall {
	post := func(n *Node, path, body string, want int) apiCall {
		return apiCall{node: n, method: "POST", path: path, body: body, want: want}
	}
	return []apiCall{
		post(n1, "/v1/cluster/set", `{"node":"n1","weight":2}`, 200),
		post(n1, "/v1/cluster/set", `{"partitions":16}`, 409),
		post(n1, "/v1/cluster/leave", `{"node":"n2"}`, 200),
		{node: n1, method: "GET", path: "/v1/cluster/plan", want: 200},
		{node: n1, method: "DELETE", path: "/v1/cluster/plan", want: 200},
		post(n1, "/v1/cluster/commit", `{"plan":"0"}`, 409),
		post(n1, "/v1/cluster/replace", `{"old":"n2","new":"n3"}`, 409),
		post(n1, "/v1/cluster/set", `{"node":"n1","zone":"z","commit":true}`, 200),
		post(n1, "/v1/transfers/limits", `{"in":3,"node":"n2"}`, 200),
		post(n1, "/v1/transfers/limits", `{"in":0}`, 400),
		post(n1, "/v1/repair", `{}`, 202),
		{node: n1, method: "GET", path: "/v1/repairs", want: 200},
		post(n2, "/v1/node/drain", `{}`, 200),
		post(n2, "/v1/node/resume", `{"node":"n2"}`, 200),
		post(n2, "/v1/node/resume", `{"node":"n1"}`, 409),
		post(n1, "/v1/transfers/abort", `{"session":"0"}`, 404),
		post(n3, "/v1/cluster/join", `{"seed":"`+n1.Info().Addr+`"}`, 200),
		post(n1, "/v1/cluster/replace", `{"old":"n2","new":"n3"}`, 200),
		{node: n1, method: "GET", path: "/v1/cluster/plan", want: 200},
		{node: n1, method: "GET", path: "/v1/cluster/status", want: 200},
	}
}

// apiForced are what is asked for a node that is away, n3.
func apiForced(n *Node) []apiCall {
	var calls []apiCall
	for _, x := range []struct {
		path, body string
		want       int
	}{
		{"down", `{"node":"n3"}`, 200}, {"force-remove", `{"node":"n3","stopped":true}`, 200}, {"force-replace", `{"old":"n3","new":"n4"}`, 409},
	} {
		calls = append(calls, apiCall{node: n, method: "POST", path: "/v1/cluster/" + x.path, body: x.body, want: x.want},
			apiCall{node: n, method: "GET", path: "/v1/cluster/plan", want: 200}, apiCall{node: n, method: "DELETE", path: "/v1/cluster/plan", want: 200})
	}
	return append(calls, apiCall{node: n, method: "GET", path: "/v1/cluster/status", want: 200}, apiCall{node: n, method: "GET", path: "/v1/vnodes", want: 200})
}

// apiWalk calls a node and holds its answers against what it says of them.
type apiWalk struct {
	t    *testing.T
	doc  apiDocument
	seen map[string]bool // operation and status
}

func newAPIWalk(t *testing.T, n *Node) *apiWalk {
	w := &apiWalk{t: t, seen: map[string]bool{}}
	res := w.do(apiCall{node: n, method: "GET", path: "/v1/openapi.json"})
	defer func() { _ = res.Body.Close() }()
	if err := json.NewDecoder(res.Body).Decode(&w.doc); err != nil || len(w.doc.Paths) < 30 {
		t.Fatalf("%d paths, %v", len(w.doc.Paths), err)
	}
	return w
}

func (w *apiWalk) do(c apiCall) *http.Response {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), c.method, "http://"+c.node.Info().HTTPAddr+c.path, strings.NewReader(c.body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(c.headers); i += 2 {
		req.Header.Set(c.headers[i], c.headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

// call makes one request and checks its answer.
func (w *apiWalk) call(c apiCall) {
	w.t.Helper()
	res := w.do(c)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != c.want {
		w.t.Errorf("%s %s: %d %s (%v), want %d", c.method, c.path, res.StatusCode, body, err, c.want)
		return
	}
	if err := w.check(c.method, c.path, res, body); err != nil {
		w.t.Errorf("%s %s: %d: %v\n%s", c.method, c.path, res.StatusCode, err, body)
	}
}

// check compares an answer with what is said of it.
func (w *apiWalk) check(method, path string, res *http.Response, body []byte) error {
	o, reply, err := w.described(method, path, res.StatusCode)
	if err != nil {
		return err
	}
	w.seen[fmt.Sprint(o.OperationID, " ", res.StatusCode)] = true
	media, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	if len(reply.Content) == 0 {
		if len(body) > 0 {
			return fmt.Errorf("an answer with a body")
		}
		return nil
	}
	content, ok := reply.Content[media]
	switch {
	case !ok:
		return fmt.Errorf("the content type is %q", media)
	case content.ItemSchema != nil:
		for line := range strings.Lines(string(body)) {
			if err := w.doc.valid([]byte(line), content.ItemSchema); err != nil {
				return err
			}
		}
	case content.Schema != nil:
		return w.doc.valid(body, content.Schema)
	}
	return nil
}

// described finds what is said of an answer.
func (w *apiWalk) described(method, path string, status int) (apiOperation, apiReply, error) {
	path, _, _ = strings.Cut(path, "?")
	for template, operations := range w.doc.Paths {
		pattern := regexp.MustCompile(`\{\w+\}`).ReplaceAllString(regexp.QuoteMeta(template), `[^/]+`)
		pattern = regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(pattern, `[^/]+`)
		o, ok := operations[strings.ToLower(method)]
		if !ok || !regexp.MustCompile("^"+pattern+"$").MatchString(path) {
			continue
		}
		reply, ok := o.Responses[fmt.Sprint(status)]
		if !ok {
			name := o.Responses["default"].Ref
			reply = w.doc.Components.Responses[name[strings.LastIndex(name, "/")+1:]]
		}
		return o, reply, nil
	}
	return apiOperation{}, apiReply{}, fmt.Errorf("the operation is not described")
}

// follow opens a stream and returns a function that waits for an event of that name and checks it.
func (w *apiWalk) follow(n *Node, path, name string) (check func()) {
	w.t.Helper()
	res := w.do(apiCall{node: n, method: "GET", path: path})
	w.t.Cleanup(func() { _ = res.Body.Close() })
	o, reply, err := w.described("GET", path, res.StatusCode)
	content := reply.Content["text/event-stream"]
	if err != nil || content.ItemSchema == nil || res.Header.Get("Content-Type") != "text/event-stream" {
		w.t.Fatalf("%s: %d %s: %v", path, res.StatusCode, res.Header.Get("Content-Type"), err)
	}
	w.seen[o.OperationID+" 200"] = true
	return func() {
		w.t.Helper()
		lines := bufio.NewScanner(res.Body)
		for event := ""; lines.Scan(); {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "event":
				event = value
			case "data":
				if err := w.doc.valid([]byte(value), content.ItemSchema); err != nil {
					w.t.Errorf("%s: %s: %v", path, value, err)
				}
				if event == name {
					return
				}
			}
		}
		w.t.Errorf("%s ended without an event %s: %v", path, name, lines.Err())
	}
}
