package admin_test

import (
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/admin/console"
)

const browserAccepts = "text/html,application/xhtml+xml,*/*;q=0.8"

// TestConsoleAtTheRoot: browsers get the console, programs the list of the API.
func TestConsoleAtTheRoot(t *testing.T) {
	base := serve(t, &fakeNode{}, admin.Options{})
	page := do(t, "GET", base+"/", "", "Accept", browserAccepts)
	if page.status != 200 || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") || page.header.Get("Vary") != "Accept" || !strings.Contains(page.body, "/console/app.js") {
		t.Errorf("browser: %d %v", page.status, page.header)
	}
	list := do(t, "GET", base+"/", "", "Accept", "*/*")
	if list.status != 200 || !strings.HasPrefix(list.header.Get("Content-Type"), "text/plain") || !strings.Contains(list.body, "/v1/explain") {
		t.Errorf("curl: %d %v", list.status, list.header)
	}
	if again := do(t, "GET", base+"/", "", "Accept", browserAccepts, "If-None-Match", page.header.Get("ETag")); again.status != 304 {
		t.Errorf("again: %d", again.status)
	}
}

// TestMissing: under /v1 the answer is a problem document for everybody; elsewhere people get a page.
func TestMissing(t *testing.T) {
	base := serve(t, &fakeNode{}, admin.Options{})
	for _, x := range []struct{ path, accept, kind string }{
		{"/v1/nothing", browserAccepts, "application/problem+json"},
		{"/nothing", "*/*", "application/problem+json"},
		{"/nothing", browserAccepts, "text/html; charset=utf-8"},
		{"/console/nothing.js", "*/*", "application/problem+json"},
		{"/console/", browserAccepts, "text/html; charset=utf-8"},
		{"/console/%2e%2e/%2e%2e/etc/passwd", "*/*", "application/problem+json"},
	} {
		got := do(t, "GET", base+x.path, "", "Accept", x.accept)
		if got.status != 404 || got.header.Get("Content-Type") != x.kind {
			t.Errorf("%s for %s: %d %s", x.path, x.accept, got.status, got.header.Get("Content-Type"))
		}
	}
}

// asked are the API's paths that the console's modules name: by their method, where it is said.
var asked = regexp.MustCompile("(post|put|del|get|Stream|path:)[^\"`\\n]*[\"`](/(?:v1/|readyz|metrics|livez)[^\"`?]*)")

// named are all of them.
var named = regexp.MustCompile("[\"`](/v1/[^\"`?]+)")

// TestConsoleAsksForWhatThereIs: each path that the console asks for is in the routing table, under its method.
func TestConsoleAsksForWhatThereIs(t *testing.T) {
	base := serve(t, &fakeNode{}, admin.Options{})
	index := do(t, "GET", base+"/", "").body
	var seen []string
	for _, name := range console.New().Names() {
		text := do(t, "GET", base+console.Prefix+name, "").body
		for _, m := range asked.FindAllStringSubmatch(text, -1) {
			method := map[string]string{"post": "POST", "put": "PUT", "del": "DELETE"}[m[1]]
			if method == "" {
				method = "GET"
			}
			line := regexp.MustCompile(`(?m)^` + method + ` +` + regexp.QuoteMeta(m[2]) + ` `)
			if seen = append(seen, method+" "+m[2]); !line.MatchString(index) {
				t.Errorf("%s asks for %s %s, which there is not", name, method, m[2])
			}
		}
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(index, " "+m[1]+" ") && !(strings.HasSuffix(m[1], "/") && strings.Contains(index, " "+m[1]+"{")) {
				t.Errorf("%s names %s, which there is not", name, m[1])
			}
		}
	}
	slices.Sort(seen)
	if seen = slices.Compact(seen); len(seen) < 20 {
		t.Errorf("only %d requests are seen: %v", len(seen), seen)
	}
}

// TestVnodesAndExplainArguments: what is asked for reaches the node, and nonsense is refused.
func TestVnodesAndExplainArguments(t *testing.T) {
	node := &fakeNode{}
	base := serve(t, node, admin.Options{})
	do(t, "GET", base+"/v1/vnodes?node=n1&service=kv&partition=7", "")
	if q := node.vnodes; q.Node != "n1" || q.Service != "kv" || q.Partition == nil || *q.Partition != 7 {
		t.Errorf("asked %+v", q)
	}
	for _, path := range []string{"/v1/vnodes?partition=x", "/v1/vnodes?partition=-1", "/v1/explain", "/v1/explain?bucket=b&key="} {
		if got := do(t, "GET", base+path, ""); got.status != 400 {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

// TestOtherHosts: a node on loopback does not answer to the names of other machines, which
// is how pages of other sites come by when their names point here.
func TestOtherHosts(t *testing.T) {
	api := admin.Handler(&fakeNode{}, nil, admin.Options{Loopback: true})
	for host, want := range map[string]int{
		"127.0.0.1:7402": 200, "localhost:7402": 200, "LOCALHOST": 200, "[::1]:7402": 200, "n1.localhost:7402": 200, "10.0.0.1:7402": 200,
		"evil.example": 403, "evil.example:7402": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example:7402": 403,
	} {
		r := httptest.NewRequest("GET", "/v1/ring", nil)
		r.Host = host
		w := httptest.NewRecorder()
		if api.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%s: %d, want %d", host, w.Code, want)
		}
	}
}
